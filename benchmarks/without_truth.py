"""Denoising without truth, by gvtzoo and by CAREamics' Noise2Void, in the same minutes.

    python benchmarks/without_truth.py SERIES.tif -o RESULTS --careamics PYTHON
        [--minutes 5] [--seeds 3] [--model gvtnet-denoising-nuclei]
        [--recipe denoising/without_truth]

SERIES is a time series (t z y x) without truth. Networks learn from all frames but the first two;
r of frame 0, denoised, with frame 1 as it is, is what counts: noise in the two is independent.
PYTHON is the interpreter of an environment with CAREamics 0.3; its default 3D U-Net is trained
with N2V2 switched off and on. Every training has the same time by the clock, on one thread, one
after the other. RESULTS gets a JSON file for each, and those that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import tifffile

import gvtzoo
from gvtzoo.core.files import write_atomically
from gvtzoo.metrics.pair import pearson_r
from gvtzoo.prediction.filters import GAUSSIAN_SIGMAS, gaussian

CAREAMICS = """
import sys
import numpy as np
import tifffile
from careamics import CAREamist
from careamics.config.factories import create_n2v_config
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Timer
images, image, output, folder, minutes, seed, n2v2, patch, batch = sys.argv[1:]
seed_everything(int(seed))
config = create_n2v_config(
    experiment_name="n2v", data_type="array", axes="SZYX",
    patch_size=[int(size) for size in patch.split()], batch_size=int(batch),
    num_epochs=10_000, num_steps=50, use_n2v2=n2v2 == "True",
)
timer = Timer(duration={"seconds": 60 * float(minutes)}, interval="step")
careamist = CAREamist(config, work_dir=folder, callbacks=[timer], enable_progress_bar=False)
careamist.train(train_data=tifffile.imread(images).astype(np.float32))
stack = tifffile.imread(image).astype(np.float32)
padding = [(0, -size % 8) for size in stack.shape]
padded = np.pad(stack, padding, mode="reflect")
found, _ = careamist.predict(padded, data_type="array", axes="ZYX", batch_size=1)
prediction = np.asarray(found[0]).reshape(padded.shape)
tifffile.imwrite(output, prediction[tuple(slice(0, size) for size in stack.shape)])
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PATCH, BATCH = (16, 64, 64), 2
LEFT_OUT = 2  # frames: the one that is denoised, and the one that it is compared with


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("series", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--careamics", help="its environment's interpreter")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", default="gvtnet-denoising-nuclei")
    parser.add_argument("--recipe", default="denoising/without_truth")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for seed, name in product(range(arguments.seeds), ways(arguments)):
        path = arguments.output / f"{name}_{seed}.json"
        if not path.is_file():
            row = {"way": name, "seed": seed, "r": measure(name, seed, arguments)}
            with write_atomically(path) as temporary:
                temporary.write_text(json.dumps(row) + "\n", encoding="utf-8")
            print(*row.values(), file=sys.stderr, flush=True)
    for line in table(arguments):
        print(line)


def ways(arguments: argparse.Namespace) -> list[str]:
    """What is compared, by names that files can have."""
    theirs = ["careamics-n2v", "careamics-n2v2"] if arguments.careamics else []
    return [*theirs, "gvtzoo-blind-spots", "gvtzoo-frames", "gvtzoo-finetune-frames"]


def measure(name: str, seed: int, arguments: argparse.Namespace) -> float:
    """r of the first frame as one way denoises it."""
    series = tifffile.imread(arguments.series)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write(folder / "series.tif", series[LEFT_OUT:], "TZYX")
        write(folder / "first.tif", series[0], "ZYX")
        if name.startswith("careamics"):
            run([arguments.careamics, "-c", CAREAMICS, *careamics(name, folder, arguments, seed)])
            denoised = tifffile.imread(folder / "denoised.tif")
        else:
            run([sys.executable, "-m", "gvtzoo", *ours(name, series, folder, arguments, seed)])
            denoised = gvtzoo.load(folder / "run").predict(series[0], axes="ZYX").to_numpy()
    return pearson_r(series[1].astype(np.float32), denoised)


def careamics(name: str, folder: Path, arguments: argparse.Namespace, seed: int) -> list[str]:
    """Arguments of the script above."""
    files = [str(folder / name) for name in ("series.tif", "first.tif", "denoised.tif")]
    settings = [arguments.minutes, seed, name.endswith("n2v2"), " ".join(map(str, PATCH)), BATCH]
    return [*files, str(folder), *map(str, settings)]


def ours(
    name: str, series: np.ndarray, folder: Path, arguments: argparse.Namespace, seed: int
) -> list[str]:
    """A command of gvtzoo."""
    if name == "gvtzoo-blind-spots":  # images of their own: no frame knows its neighbours
        images = [folder / f"frame_{number}.tif" for number in range(len(series) - LEFT_OUT)]
        for path, image in zip(images, series[LEFT_OUT:], strict=True):
            write(path, image, "ZYX")
    else:
        images = [folder / "series.tif"]
    settings = {"minutes": arguments.minutes, "seed": seed, "steps": 100_000}
    what = ["finetune", arguments.model]
    if name != "gvtzoo-finetune-frames":
        what = ["train", arguments.recipe]
        settings |= {"patch": list(PATCH), "batch_size": BATCH}
    changed = [f"--set=training.{key}={value}" for key, value in settings.items()]
    return [*what, *(f"--noisy={path}" for path in images), "-o", str(folder / "run"), *changed]


def write(path: Path, image: np.ndarray, axes: str) -> None:
    """A TIFF with named axes."""
    tifffile.imwrite(path, image, imagej=True, metadata={"axes": axes})


def run(command: list[str]) -> None:
    """A command, on one thread; its messages where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")


def table(arguments: argparse.Namespace) -> Iterator[str]:
    """Lines of Markdown: what needs no training, then means over seeds, and each of them."""
    series = tifffile.imread(arguments.series).astype(np.float32)
    model = gvtzoo.load(arguments.model).predict(series[0], axes="ZYX").to_numpy()
    best = max(pearson_r(series[1], gaussian(series[0], sigma=s)) for s in GAUSSIAN_SIGMAS)
    fixed = {
        "frame 0 as it is": pearson_r(series[1], series[0]),
        "the best Gaussian": best,
        arguments.model: pearson_r(series[1], model),
    }
    yield "| | r with frame 1 | seeds |"
    yield "| --- | --- | --- |"
    for name, r in fixed.items():
        yield f"| {name} | {r:.4f} | |"
    for name in ways(arguments):
        paths = sorted(arguments.output.glob(f"{name}_[0-9]*.json"))
        found = [json.loads(path.read_text(encoding="utf-8"))["r"] for path in paths]
        if found:
            values = ", ".join(f"{r:.4f}" for r in found)
            yield f"| {name}, {arguments.minutes:g} min | {statistics.mean(found):.4f} | {values} |"


if __name__ == "__main__":
    main()
