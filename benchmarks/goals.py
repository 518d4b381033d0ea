"""The goals of ``docs/speed.md`` as ratios within one run: a table in Markdown.

    python benchmarks/goals.py [--rows whole,exact,start,...] [--rounds 3] [--small]
                               [--careamics PYTHON]

Every measurement is a process of its own with one thread; those of one ratio take turns, and the
median counts. Times are processor time, since the cores may be shared (the load is printed first).
With an interpreter that has CAREamics, predictions are compared with its too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = ("denoising", "label_free", "gvtnet-denoising-nuclei")
EXACT_NETWORKS = ("denoising", "gvtnet-denoising-nuclei")


@dataclass(frozen=True)
class Extent:
    """How much is measured: sizes (z, y, x) of images, steps of training, and how often.

    Attributes
    ----------
    whole, memory : tuple of int
        Of images that are predicted whole, for time and for memory.
    exact : tuple of tuple of int
        Of each of `EXACT_NETWORKS`.
    estimate : tuple of tuple of int
    steps, rounds : int
    """

    whole: tuple[int, ...] = (32, 160, 160)
    memory: tuple[int, ...] = (32, 256, 256)
    exact: tuple[tuple[int, ...], ...] = ((32, 256, 256), (32, 512, 512))
    estimate: tuple[tuple[int, ...], ...] = ((16, 128, 128), (32, 192, 192))
    steps: int = 100
    rounds: int = 3


TINY = Extent(
    whole=(8, 32, 32),
    memory=(8, 48, 48),
    exact=((8, 48, 48), (8, 64, 64)),
    estimate=((8, 32, 32), (8, 48, 48)),
    steps=2,
    rounds=1,
)


def main() -> None:
    """Print the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--small", action="store_true", help="Tiny sizes, to try the script.")
    parser.add_argument("--careamics", help="an interpreter of an environment with CAREamics")
    arguments = parser.parse_args()
    extent = TINY if arguments.small else Extent()
    extent = replace(extent, rounds=arguments.rounds or extent.rounds)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| | network | ratio | goal | |\n|---|---|---|---|---|")
    for row in arguments.rows.split(","):
        for what, network, value, note in ROWS[row](extent):
            print(f"| {what} | {network} | {value:.2f} | {GOALS[what]} | {note} |", flush=True)
    if arguments.careamics:
        import against_careamics

        for what, network, value, note in against_careamics.measure(
            arguments.careamics, extent.rounds
        ):
            print(f"| {what} | {network} | {value:.2f} | ≤ 0.15 | {note} |", flush=True)


def ratio(first: list[str], second: list[str], rounds: int) -> tuple[float, dict, dict]:
    """Median of the first's seconds over the second's, and the last results of both."""
    values = []
    for _ in range(rounds):
        one, other = worker(first), worker(second)
        values.append(one["seconds"] / other["seconds"])
    return statistics.median(values), one, other


def worker(arguments: list[str]) -> dict:
    """A measurement in a process of its own."""
    command = [sys.executable, __file__, "worker", *arguments]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def text(size: tuple[int, ...]) -> str:
    return ",".join(map(str, size))


def shown(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))


WHOLE_CONVOLUTIONS = "whole, float32 / its convolutions in PyTorch"
WHOLE_TORCH = "whole, float32 / in PyTorch"
WHOLE_HALF = "whole, bfloat16 / float32 in PyTorch"
MEMORY_WHOLE, MEMORY_AUTO = "peak memory, whole / a map", "peak memory, auto / a map"
EXACT, FILES = "exact / whole", "file to file / in memory"
TINY_IMAGE, INFO = "predict a tiny image / import torch", "info / import torch"
ESTIMATE, TRAINING = "estimate / time", "training / bare loop"
GOALS = {
    WHOLE_CONVOLUTIONS: "≤ 1.1",
    WHOLE_TORCH: "",
    WHOLE_HALF: "≤ 0.25",
    MEMORY_WHOLE: "≤ 1.5 GB at 32×256×256",
    MEMORY_AUTO: "",
    EXACT: "≤ 1.0",
    FILES: "≤ 1.15",
    TINY_IMAGE: "≤ 1.0",
    INFO: "≤ 0.4 s",
    ESTIMATE: "0.75 to 1.25",
    TRAINING: "≥ 0.97",
}


def whole_rows(extent: Extent) -> Any:
    """Whole images against the network's convolutions alone, and against PyTorch."""
    size, rounds = extent.whole, extent.rounds
    for name in NETWORKS:
        ours = ["predict", name, text(size), "openvino", "float32", "whole", "0"]
        value, *_ = ratio(ours, ["convolutions", name, text(size)], rounds)
        yield WHOLE_CONVOLUTIONS, name, value, shown(size)
        torch = ["predict", name, text(size), "torch", "float32", "whole", "0"]
        value, *_ = ratio(ours, torch, rounds)
        yield WHOLE_TORCH, name, value, shown(size)
        half = ["predict", name, text(size), "openvino", "bfloat16", "whole", "0"]
        value, *_ = ratio(half, torch, rounds)
        yield WHOLE_HALF, name, value, shown(size)


def memory_rows(extent: Extent) -> Any:
    """Peak memory of a whole image, in maps of its size with 32 channels."""
    size = extent.memory
    one_map = 4 * 32 * np.prod(size)
    for what, tiling in ((MEMORY_WHOLE, "whole"), (MEMORY_AUTO, "auto")):
        found = worker(["predict", "denoising", text(size), "openvino", "float32", tiling, "0"])
        note = f"{found['peak'] / 1e9:.2f} GB beyond the start, {shown(size)}"
        yield what, "denoising", found["peak"] / one_map, note


def exact_rows(extent: Extent) -> Any:
    """Exact tiles in a quarter of the memory, and from file to file."""
    for name, size in zip(EXACT_NETWORKS, extent.exact, strict=True):
        whole = ["predict", name, text(size), "openvino", "float32", "whole", "0"]
        memory = str(worker(whole)["peak"] // 4)
        exact = ["predict", name, text(size), "openvino", "float32", "exact", memory]
        value, one, other = ratio(exact, whole, extent.rounds)
        share = one["peak"] / other["peak"]
        note = f"--memory {int(memory) / 1e9:.2f}GB, took {share:.2f} of the memory, {shown(size)}"
        yield EXACT, name, value, note
        value, *_ = ratio(["files", name, text(size), memory], exact, extent.rounds)
        yield FILES, name, value, shown(size)


def start_rows(extent: Extent) -> Any:
    """What starts against what imports."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "tiny.npy"
        np.save(image, np.random.default_rng(0).poisson(9, (8, 32, 32)).astype(np.uint16))
        predict = ["predict", "gvtnet-denoising-nuclei", str(image), "-o"]
        command = [*predict, str(Path(folder) / "out.npy"), "--overwrite", "--device", "cpu"]
        imports = ["command", "-c", "import torch"]
        value, one, _ = ratio(["command", *command], imports, extent.rounds)
        yield TINY_IMAGE, "nuclei", value, f"{one['seconds']:.2f} s"
    info = ["command", "info", "gvtnet-denoising-nuclei"]
    value, one, _ = ratio(info, imports, extent.rounds)
    yield INFO, "nuclei", value, f"{one['seconds']:.2f} s"


def estimate_rows(extent: Extent) -> Any:
    """What is said before the start against what it takes."""
    small, large = extent.estimate
    for name in ("gvtnet-denoising-nuclei", "denoising"):
        for size, tiling, memory in (
            (small, "whole", 0),
            (large, "whole", 0),
            (large, "exact", 200_000_000),
        ):
            arguments = ["estimated", name, text(size), tiling, str(memory)]
            found = [worker(arguments) for _ in range(extent.rounds)]
            value = statistics.median(row["estimated"] / row["seconds"] for row in found)
            yield ESTIMATE, name, value, f"{tiling}, {shown(size)}"


def training_rows(extent: Extent) -> Any:
    """`gvtzoo train` against bare loops, in its layout and in PyTorch's."""
    script = Path(__file__).with_name("training.py")
    amount = ["--rounds", str(extent.rounds), "--steps", str(extent.steps)]
    done = subprocess.run(
        [sys.executable, str(script), *amount], capture_output=True, text=True, check=True
    )
    amount_of_both = f"{extent.rounds} rounds of {extent.steps} steps"
    layouts = ("exposures, channels last", "exposures")
    for layout, text in zip(layouts, done.stdout.split("makes ")[1:], strict=True):
        yield TRAINING, layout, float(text.split("%")[0]) / 100, amount_of_both


ROWS: dict[str, Callable[[Extent], Any]] = {
    "whole": whole_rows,
    "memory": memory_rows,
    "exact": exact_rows,
    "start": start_rows,
    "estimate": estimate_rows,
    "training": training_rows,
}


def model_of(name: str) -> Any:
    """A preset with random weights, or a model of the zoo."""
    import gvtzoo
    from gvtzoo.images.normalization import NormalizationConfig
    from gvtzoo.networks import PRESETS
    from gvtzoo.packages.config import PackageConfig
    from gvtzoo.prediction.model import Model
    from gvtzoo.recipes.metadata import default_metadata

    if name not in PRESETS:
        return gvtzoo.load(name)
    config = PackageConfig(
        task="denoising",
        network=PRESETS[name],
        normalization=NormalizationConfig(),
        metadata=default_metadata(name, "denoising"),
    )
    return Model(PRESETS[name].build(), config)


def random_image(size: str) -> np.ndarray:
    shape = tuple(map(int, size.split(",")))
    return np.random.default_rng(0).poisson(20, shape).astype(np.uint16)


def measured(run: Callable[[], Any], repeats: int = 2) -> dict:
    """Best seconds after a first run, and the peak beyond what was there before, in bytes.

    Seconds are those of the processor.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(seconds), "peak": 1024 * (peak - before)}


def predict(name: str, size: str, engine: str, dtype: str, tiling: str, memory: str) -> dict:
    """gvtzoo's prediction, in memory."""
    model, image = model_of(name), random_image(size)
    options = {"memory": int(memory)} if int(memory) else {}
    return measured(
        lambda: model.predict(
            image, axes="ZYX", engine=engine, dtype=dtype, tiling=tiling, device="cpu", **options
        )
    )


def estimated(name: str, size: str, tiling: str, memory: str) -> dict:
    """What a first prediction was said to take, and what it took."""
    from gvtzoo.images.lazy import LazyImage
    from gvtzoo.prediction import estimate as module
    from gvtzoo.prediction.settings import Settings, as_data_array

    module.time.perf_counter = time.process_time  # type: ignore[attr-defined] # as measured here
    model, image = model_of(name), random_image(size)
    options: dict[str, Any] = {"device": "cpu", "tiling": tiling, "memory": int(memory) or None}
    lazy = LazyImage.of(as_data_array(image, "ZYX", ()))
    said = module.estimate(model, lazy, Settings(**options), to_file=False)
    start = time.process_time()
    model.predict(image, axes="ZYX", **options)
    return {"estimated": said.seconds, "seconds": time.process_time() - start, "peak": 0}


def files(name: str, size: str, memory: str) -> dict:
    """From OME-Zarr to OME-Zarr."""
    import xarray as xr

    from gvtzoo.images.files import open_image, write_image
    from gvtzoo.prediction.exact.out_of_core import Output, predict_large
    from gvtzoo.prediction.settings import Settings

    model = model_of(name)
    settings = Settings(device="cpu", tiling="exact", memory=int(memory))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.zarr", Path(folder) / "out.zarr"
        write_image(source, xr.DataArray(random_image(size), dims=("z", "y", "x")))
        output = Output(target, overwrite=True)
        return measured(
            lambda: predict_large(model, open_image(source), output, settings, identity="")
        )


def convolutions(name: str, size: str) -> dict:
    """The network's convolutions, one after the other, by oneDNN with channels last."""
    import torch
    from torch import nn

    network = model_of(name).network
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    calls: list[tuple[nn.Module, torch.Size]] = []
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given: calls.append((layer, given[0].shape)))
        for layer in layers
    ]
    with torch.inference_mode():
        network(torch.zeros(1, 1, *map(int, size.split(","))))
        for hook in hooks:
            hook.remove()
        network.to(memory_format=torch.channels_last_3d)

        def run() -> None:
            for layer, shape in calls:
                x = inputs[shape]
                if isinstance(layer, nn.Conv3d):
                    arguments = (layer.padding, layer.stride, layer.dilation, layer.groups)
                    torch.mkldnn_convolution(x, layer.weight, layer.bias, *arguments)
                else:
                    layer(x)

        inputs = {
            shape: torch.randn(shape).to(memory_format=torch.channels_last_3d)
            for shape in {shape for _, shape in calls}
        }
        return measured(run)


def command(*arguments: str) -> dict:
    """A command from its start to its end."""
    module = arguments if arguments[0] == "-c" else ("-m", "gvtzoo", *arguments)
    subprocess.run([sys.executable, *module], check=True, capture_output=True)
    taken = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": taken.ru_utime + taken.ru_stime, "peak": 0}


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        workers = {f.__name__: f for f in (predict, estimated, files, convolutions, command)}
        print(json.dumps(workers[sys.argv[2]](*sys.argv[3:]), default=float))
    else:
        main()
