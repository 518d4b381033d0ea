"""What fine-tuning does to a model whose images have changed: shifts × numbers of pairs × seeds.

    python benchmarks/finetuning.py --data FOLDER --output RESULTS [--jobs 4] [--minutes 60]
    python benchmarks/finetuning.py --output RESULTS --table

FOLDER holds clean stacks, nuclei_3d/nuclei.tif and stacks_3d/ with ovule_membranes.tif, pollen.tif
and neuron.tif, and real pairs, exposure_pairs/val/. Each shift makes noisy sources of them, and
their targets; the model is fine-tuned on 1, 3 or 10 pairs, and measured before and after on images
of another part of the specimen, as is the best simple filter, which is chosen with the truth.
RESULTS gets a JSON file for each fine-tuning, and those that are there are not made again: so the
benchmark goes on where it stopped, also on another computer.

A 2D model gets planes, a 3D one stacks (and no real pairs). The bundled 3D model has learned from
rows 0 to 143 of the nuclei, in 5, 8 and 12 photons with white noise. --steering takes rows of the
nuclei that the reported numbers do not come from: to choose settings by.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gvtzoo.prediction.model import Model

PAIRS = (1, 3, 10)
SIZES = {2: (1, 128, 80), 3: (16, 48, 48)}  # of images, at most
TESTS = 6
GAP = 4  # columns left out on both sides between pairs and tests
APART = 3  # planes from one 2D image to the next
# Rows of the nuclei: for choosing settings, and for what is reported (not those that the 3D model
# has learned from).
STEERED = {2: slice(0, 120), 3: slice(144, 180)}
UNSEEN = {2: slice(128, None), 3: slice(184, None)}
METRICS = ("nrmse", "ssim", "r")
AXES = {2: "YX", 3: "ZYX"}
ENOUGH = 0.03  # a share by which NRMSE shall fall

Stack = np.ndarray
Generator = np.random.Generator
Pair = tuple[Stack, Stack]


@dataclass(frozen=True)
class Shift:
    """Another kind of images than the model knows.

    Attributes
    ----------
    stack : str
        The clean stack, a file below the data folder; of real pairs, their folder.
    record : callable, optional
        (relative intensity, generator) → source and target, counts; None for real pairs.
    zoom : float
        Voxels of the clean stack are this much larger in its image.
    """

    stack: str
    record: Callable[[Stack, Generator], Pair] | None
    zoom: float = 1.0


def camera(
    intensity: Stack,
    generator: Generator,
    *,
    photons: float,
    read_noise: float = 2.0,
    offset: float = 100.0,
    correlation: float = 0.0,
    stripes: float = 0.0,
    blur: float = 0.0,
    gain: float = 1.0,
    target_gain: float = 1.0,
    target_offset: float = 0.0,
) -> tuple[Stack, Stack]:
    """Counts of a camera, and what a long exposure would give.

    `correlation` and `blur` are standard deviations in voxels; `stripes` is that of each row's
    offset, in photo-electrons; the target is `target_gain` times as bright as the source, and
    `target_offset` higher.
    """
    from scipy.ndimage import gaussian_filter

    seen = gaussian_filter(intensity, blur) if blur else intensity
    counts = generator.poisson(seen * photons).astype(np.float64)
    counts += generator.normal(0, read_noise, counts.shape)
    if correlation:
        noise = counts - seen * photons
        smooth = gaussian_filter(noise, correlation, axes=(-2, -1))
        counts = seen * photons + smooth * noise.std() / smooth.std()
    if stripes:
        counts += generator.normal(0, stripes, (*counts.shape[:-1], 1))
    source = gain * counts + offset
    target = target_gain * (gain * intensity * photons + offset) + target_offset
    return as_counts(source), target.astype(np.float32)


def as_counts(image: Stack) -> Stack:
    """As a camera of 16 bits gives them."""
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)


def recorded(**settings: float) -> Callable[[Stack, Generator], tuple[Stack, Stack]]:
    """`camera` with these settings."""
    return lambda intensity, generator: camera(intensity, generator, **settings)


NUCLEI, MEMBRANES = "nuclei_3d/nuclei.tif", "stacks_3d/ovule_membranes.tif"
POLLEN, NEURON = "stacks_3d/pollen.tif", "stacks_3d/neuron.tif"
SHIFTS = {
    "hardly any (15 photons)": Shift(NUCLEI, recorded(photons=15)),
    "fewer photons (2)": Shift(NUCLEI, recorded(photons=2)),
    "more photons (80)": Shift(NUCLEI, recorded(photons=80)),
    "correlated noise": Shift(NUCLEI, recorded(photons=10, correlation=0.8)),
    "stripes": Shift(NUCLEI, recorded(photons=10, stripes=3)),
    "other gain and offset": Shift(
        NUCLEI,
        recorded(photons=15, read_noise=5, correlation=0.6, target_gain=60, target_offset=500),
    ),
    "another structure (membranes)": Shift(MEMBRANES, recorded(photons=10)),
    "blur": Shift(NUCLEI, recorded(photons=30, blur=1.2)),
    "another voxel size (half)": Shift(NUCLEI, recorded(photons=10), zoom=2.0),
    "another laboratory (pollen)": Shift(
        POLLEN, recorded(photons=20, read_noise=1, offset=30, gain=4)
    ),
    "another laboratory (neuron)": Shift(
        NEURON, recorded(photons=40, read_noise=4, offset=400, gain=0.5)
    ),
    "another microscope (real)": Shift("exposure_pairs/val", None),
}


def images_of(
    shift: Shift, data: Path, dimensions: int, steering: bool, generator: Generator
) -> tuple[list[Pair], list[Pair]]:
    """Sources and targets to learn from, and those to test on, of other parts of the specimen."""
    import tifffile

    from gvtzoo.training.data.camera import relative_intensity

    if shift.record is None:
        return real_pairs(data / shift.stack)
    stack = relative_intensity(tifffile.imread(data / shift.stack))
    if shift.stack == NUCLEI:
        stack = stack[:, (STEERED if steering else UNSEEN)[dimensions]]
    if dimensions == 2:
        stack = stack[::APART]
    middle = stack.shape[2] // 2
    learned, tested = (
        [shift.record(crop, noise) for crop in crops(half, SIZES[dimensions], shift.zoom)[:count]]
        for half, count, noise in (
            (stack[:, :, : middle - GAP], max(PAIRS), generator),
            (stack[:, :, middle + GAP :], TESTS, np.random.default_rng(7)),
        )
    )
    return learned, tested


def crops(stack: Stack, size: tuple[int, ...], factor: float) -> list[Stack]:
    """Crops that overlap by half, first those with most structure: nobody records empty pairs."""
    from scipy.ndimage import zoom

    size = tuple(min(pair) for pair in zip(size, stack.shape, strict=True))
    factors = tuple(factor if length > 1 else 1.0 for length in size)
    cut = [-(-length // round(f)) for length, f in zip(size, factors, strict=True)]
    starts = [
        range(0, length - wanted + 1, max(1, wanted // 2))
        for length, wanted in zip(stack.shape, cut, strict=True)
    ]
    found = [
        stack[tuple(slice(f, f + s) for f, s in zip(first, cut, strict=True))]
        for first in product(*starts)
    ]
    ranked = sorted(found, key=lambda crop: -float(crop.std()))
    return [(zoom(crop, factors, order=1) if factor != 1 else crop).squeeze() for crop in ranked]


def real_pairs(folder: Path) -> tuple[list[Pair], list[Pair]]:
    """Quarters of tiles, of the first half of them to learn from, of the others to test on.

    Those with most structure, as of `crops`.
    """
    import tifffile

    paths = sorted((folder / "source").iterdir())
    found = []
    for half, count in ((paths[: len(paths) // 2], max(PAIRS)), (paths[len(paths) // 2 :], TESTS)):
        quarters = [
            tuple(image[rows, columns] for image in pair)
            for path in half
            for pair in [[tifffile.imread(folder / k / path.name) for k in ("source", "target")]]
            for rows, columns in product((slice(0, 128), slice(128, 256)), repeat=2)
        ]
        found.append(sorted(quarters, key=lambda pair: -float(pair[1].std()))[:count])
    return found[0], found[1]


def run_one(
    name: str, pairs: int, seed: int, data: Path, output: Path, options: dict[str, Any]
) -> dict[str, Any]:
    """One fine-tuning: its result, which is also written as JSON."""
    import logging

    import tifffile
    import torch

    from gvtzoo.core.files import write_atomically
    from gvtzoo.hub.load import load_own
    from gvtzoo.training.finetune import finetune

    logging.getLogger("gvtzoo").setLevel(logging.ERROR)
    torch.set_num_threads(options["threads"])
    torch.set_float32_matmul_precision("high")
    start = time.perf_counter()
    parent = load_own(options["model"])
    dimensions = parent.config.network.dimensions
    generator = np.random.default_rng([seed, pairs, list(SHIFTS).index(name)])
    learned, tests = images_of(SHIFTS[name], data, dimensions, options["steering"], generator)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for number, chosen in enumerate(generator.permutation(len(learned))[:pairs]):
            for kind, image in zip(("source", "target"), learned[chosen], strict=True):
                (place / kind).mkdir(exist_ok=True)
                path = place / kind / f"{number}.tif"
                metadata = {"axes": AXES[dimensions]}
                tifffile.imwrite(path, image, metadata=metadata, imagej=True)
        settings = [f"training.seed={seed}", *options["settings"]]
        device = options["device"]
        result = finetune(options["model"], place, place / "run", settings=settings, device=device)
        report = json.loads((place / "run" / "finetuning.json").read_text())
        tuned = load_own(place / "run")
    row: dict[str, Any] = {"shift": name, "pairs": pairs, "seed": seed}
    row |= {"before": measured(parent, tests, device), "after": measured(tuned, tests, device)}
    row |= {"filter": best_filter(tests)} if not options["steering"] else {}
    row |= {"helped": result.helped, "held_out": [result.before, result.after], "report": report}
    row |= {"seconds": time.perf_counter() - start, "device": device_name(device)}
    with write_atomically(path_of(output, name, pairs, seed)) as temporary:
        temporary.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    return row


def measured(model: Model, tests: list[Pair], device: str) -> dict[str, float]:
    """Mean metrics of a model."""
    from gvtzoo.metrics.pair import evaluate_pair

    options = {"device": device, "engine": "torch"}
    scores = [
        evaluate_pair(target, model.predict(source, AXES[source.ndim], **options).to_numpy())
        for source, target in tests
    ]
    return {key: float(np.mean([score[key] for score in scores])) for key in METRICS}


def best_filter(tests: list[Pair]) -> dict[str, Any]:
    """The simple filter and setting with the lowest mean NRMSE, chosen with the truth."""
    from gvtzoo.metrics.pair import evaluate_pair
    from gvtzoo.prediction.filters import CLASSICAL

    found = {}
    for name, method in CLASSICAL.items():
        for setting in method.settings:
            scores = [
                evaluate_pair(target, method.denoise(source, **setting))["nrmse"]
                for source, target in tests
            ]
            found[name, tuple(setting.items())] = float(np.mean(scores))
    (name, setting), nrmse = min(found.items(), key=lambda item: item[1])
    return {"name": name, "setting": dict(setting), "nrmse": nrmse}


def device_name(device: str) -> str:
    """What the network ran on."""
    import platform

    import torch

    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return torch.cuda.get_device_name()
    return platform.processor() or platform.machine()


def path_of(output: Path, name: str, pairs: int, seed: int) -> Path:
    """The file of one fine-tuning's result."""
    short = "".join(c if c.isalnum() else "-" for c in name).strip("-")
    return output / f"{short}_{pairs}_{seed}.json"


def read_results(output: Path) -> list[dict[str, Any]]:
    """Everything that has been measured."""
    return [json.loads(path.read_text()) for path in sorted(output.glob("*_*_*.json"))]


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A line of Markdown for each shift and number of pairs, means over seeds; then a verdict."""
    yield (
        "| shift | pairs | seeds | best filter | NRMSE before | after | change | SSIM before "
        "| after | original kept |"
    )
    yield f"|{' --- |' * 10}"
    changes = {}
    for name, pairs in product(SHIFTS, PAIRS):
        found = [row for row in rows if (row["shift"], row["pairs"]) == (name, pairs)]
        if not found:
            continue
        means = {
            (when, key): float(np.mean([row[when][key] for row in found]))
            for when in ("before", "after")
            for key in METRICS
        }
        change = means["after", "nrmse"] / means["before", "nrmse"] - 1
        changes[f"{name}, {pairs} {'pair' if pairs == 1 else 'pairs'}"] = change
        yield (
            f"| {name} | {pairs} | {len(found)} | {filter_of(found)} | "
            f"{means['before', 'nrmse']:.4f} | {means['after', 'nrmse']:.4f} | {change:+.1%} | "
            f"{means['before', 'ssim']:.3f} | {means['after', 'ssim']:.3f} | "
            f"{sum(not row['helped'] for row in found)} of {len(found)} |"
        )
    if not changes:
        return
    good = sum(change <= -ENOUGH for change in changes.values())
    risen = sum(change > 0 for change in changes.values())
    worst = max(changes, key=lambda row: changes[row])
    single = [row["after"]["nrmse"] / row["before"]["nrmse"] - 1 for row in rows]
    yield ""
    yield (
        f"NRMSE falls by {ENOUGH:.0%} or more in {good} of {len(changes)} rows, and rises in "
        f"{risen}; the worst row is {worst}: {changes[worst]:+.1%}. Of the {len(rows)} single "
        f"fine-tunings it rises in {sum(change > 0 for change in single)}, by "
        f"{max(0.0, *single):.1%} at most."
    )


def filter_of(rows: list[dict[str, Any]]) -> str:
    """NRMSE of the best simple filter, where it was measured."""
    found = [row["filter"]["nrmse"] for row in rows if "filter" in row]
    return f"{np.mean(found):.4f}" if found else ""


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", default="gvtnet-denoising-nuclei")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="start no further fine-tuning after these")
    parser.add_argument("--shift", action="append", help="only those that contain this")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--steering", action="store_true", help="images to choose settings by")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    arguments = parser.parse_args()
    if not arguments.table:
        if arguments.data is None:
            parser.error("--data is needed")
        measure(arguments)
    for line in table(read_results(arguments.output)):
        print(line)


def measure(arguments: argparse.Namespace) -> None:
    """Everything that is not in the output folder yet, one seed after the other."""
    from gvtzoo.hub.load import load_own

    arguments.output.mkdir(parents=True, exist_ok=True)
    cores = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    options = {
        "model": arguments.model,
        "device": arguments.device,
        "settings": arguments.settings,
        "steering": arguments.steering,
        "threads": max(1, cores // arguments.jobs),
    }
    is_2d = load_own(arguments.model).config.network.dimensions == 2
    names = [
        name
        for name, shift in SHIFTS.items()
        if not arguments.shift or any(s in name for s in arguments.shift)
        if shift.record is not None or is_2d
    ]
    missing = [
        (name, pairs, seed)
        for seed, pairs, name in product(range(arguments.seeds), PAIRS, names)
        if not path_of(arguments.output, name, pairs, seed).is_file()
    ]
    end = time.monotonic() + 60 * (arguments.minutes or 1e9)
    context = multiprocessing.get_context("spawn")
    failed = 0
    with ProcessPoolExecutor(arguments.jobs, context) as pool:
        tasks = {
            pool.submit(run_in_time, end, *case, arguments.data, arguments.output, options): case
            for case in missing
        }
        for number, task in enumerate(as_completed(tasks), 1):
            try:
                row = task.result()
            except Exception as error:  # one that fails must not end the others
                failed += 1
                print(f"{tasks[task]}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            if row is not None:
                print(
                    f"{number}/{len(tasks)} {row['shift']}, {row['pairs']} pairs, seed "
                    f"{row['seed']}: NRMSE {row['before']['nrmse']:.4f} → "
                    f"{row['after']['nrmse']:.4f} ({row['seconds']:.0f} s)",
                    file=sys.stderr,
                    flush=True,
                )
    if failed:
        print(f"{failed} failed: run it again", file=sys.stderr)


def run_in_time(end: float, *arguments: Any) -> dict[str, Any] | None:
    """`run_one`, unless time is over."""
    return None if time.monotonic() > end else run_one(*arguments)


if __name__ == "__main__":
    main()
