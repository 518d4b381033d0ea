"""What a GPU makes of the networks: first whether results are right, then how fast they come.

    python benchmarks/gpu.py [--output gpu.json] [--seconds 280]
    python benchmarks/gpu.py --device cpu --small          # the same steps, tiny, anywhere

Runs from a checkout; needs PyTorch, NumPy, pydantic and xarray (and Lightning for the training,
Dask and Zarr for the worker; what is missing is said and left out). One table is printed last, and
everything is written as JSON. Each measurement is started only while there is time.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks import GVTO, PRESETS
from gvtzoo.networks.baselines import CAREUNet, FNet
from gvtzoo.prediction.blocks import predict_blocks
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.execution import LocalExecutor, Runner

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FAILURES = (RuntimeError, ValueError, ImportError, OSError, GvtzooError, subprocess.SubprocessError)
INDEX_LIMIT = 2**31  # elements, beyond which kernels with 32 bit indices fail


@dataclass
class Row:
    """One measurement."""

    network: str
    what: str
    size: tuple[int, ...]
    seconds: float | None = None
    memory: float | None = None  # GB beyond the weights
    error: float | None = None  # largest difference, as a share of the range
    note: str = ""

    @property
    def speed(self) -> float | None:
        """Million voxels (or, for trainings, steps) a second."""
        return math.prod(self.size) / self.seconds / 1e6 if self.seconds else None


@dataclass
class Report:
    """All measurements, and the time that is left for more."""

    device: str
    end: float
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(line(row), flush=True)

    def time_left(self) -> float:
        return self.end - time.perf_counter()

    def attempt(self, row: Row, measure: Callable[[Row], None], seconds: float = 5) -> None:
        """Measure into a row; what fails, or has no time left, is noted there."""
        if self.time_left() < seconds:
            row.note = "left out: no time"
        else:
            try:
                measure(row)
            except FAILURES as error:
                row.note = f"failed: {str(error).strip().splitlines()[0][:90]}"
        release()
        self.add(row)


def main() -> None:
    """Measure, print the table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="Tiny sizes, to try the script.")
    parser.add_argument("--seconds", type=float, default=280, help="Time for all of it.")
    parser.add_argument("--steps", default=",".join(STEPS), help="Which, in this order.")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    report = Report(arguments.device, time.perf_counter() + arguments.seconds)
    sizes = SMALL if arguments.small else LARGE
    torch.backends.cudnn.benchmark = False
    for step in arguments.steps.split(","):
        STEPS[step](report, device, sizes)
    written = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "rows": [asdict(row) | {"speed": row.speed} for row in report.rows],
    }
    arguments.output.write_text(json.dumps(written, indent=1) + "\n")
    print("\n" + table(report.rows))


@dataclass(frozen=True)
class Sizes:
    """(z, y, x) of what is measured."""

    sub_volume: tuple[int, ...]
    huge: tuple[int, ...]
    huge_tile: tuple[int, ...]
    speed: tuple[int, ...]
    tile: tuple[int, ...]
    patch: tuple[int, ...]
    steps: int
    repeats: int


LARGE = Sizes(
    sub_volume=(16, 128, 128),
    huge=(64, 1024, 1056),  # × 32 features: beyond 2³¹ elements
    huge_tile=(64, 256, 264),
    speed=(64, 512, 512),
    tile=(64, 256, 256),
    patch=(16, 64, 64),
    steps=100,
    repeats=3,
)
SMALL = Sizes(
    sub_volume=(8, 16, 16),
    huge=(8, 32, 32),
    huge_tile=(8, 16, 16),
    speed=(16, 32, 32),
    tile=(16, 16, 16),
    patch=(8, 16, 16),
    steps=2,
    repeats=1,
)


def build(name: str, device: torch.device, dtype: torch.dtype = torch.float32) -> nn.Module:
    """One of the paper's networks, with attention that matters, or one that it is compared with."""
    torch.manual_seed(0)
    others = {"fnet": FNet, "care": CAREUNet}
    network = (others[name]() if name in others else PRESETS[name].build()).eval()
    for module in network.modules():
        if isinstance(module, GVTO):
            module.value.convolution.weight.data.mul_(3)
            module.output.convolution.weight.data.mul_(3)
    return network.requires_grad_(False).to(device, dtype)


def random_image(size: tuple[int, ...]) -> np.ndarray:
    """(1, z, y, x), as normalized images are."""
    return np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)


def on_device(image: np.ndarray, network: nn.Module) -> torch.Tensor:
    """(1, 1, z, y, x), on the network's device and of its type."""
    return torch.from_numpy(image)[None].to(next(network.parameters()))


@contextmanager
def tensor_float32(allowed: bool) -> Iterator[None]:
    """Whether float32 products may be computed with 10 bit mantissas."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def release() -> None:
    """Give memory back, so that each measurement has its own peak."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest, as a share of the range."""
    return float(np.abs(found.astype(np.float64) - expected).max() / np.ptp(expected))


def timed(
    predict: Callable[[], Any], device: torch.device, repeats: int
) -> tuple[float, float, Any]:
    """Best seconds, peak GB, and the result."""
    result = predict()
    synchronize(device)
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        result = predict()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() - before if device.type == "cuda" else 0
    return best, peak / 1e9, result


VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32", "tf32": False},
    "float32, TF32": {"dtype": "float32", "tf32": True},
    "bfloat16": {"dtype": "bfloat16", "tf32": False},
    "float16": {"dtype": "float16", "tf32": False},
}


def correctness(report: Report, device: torch.device, sizes: Sizes) -> None:
    """Every arithmetic, and exact tiles, against float64 on a sub-volume."""
    image = random_image(sizes.sub_volume)
    for name in ("denoising", "label_free"):
        exact = build(name, torch.device("cpu"), torch.float64)
        with torch.inference_mode():
            expected = exact(on_device(image, exact))[0].numpy()
        for what, variant in VARIANTS.items():

            def measure(row: Row, name=name, variant=variant, expected=expected) -> None:
                network = build(name, device, DTYPES[variant["dtype"]])
                with torch.inference_mode(), tensor_float32(variant["tf32"]):
                    found = network(on_device(image, network))[0].float().cpu().numpy()
                    tile = tuple(max(8, s // 2) for s in sizes.sub_volume)
                    (tiled,) = predict_exact(network, image, tile=tile)
                row.error = difference(found, expected)
                row.note = f"exact tiles {difference(tiled, expected):.1e}"

            report.attempt(Row(name, f"{what} against float64", sizes.sub_volume), measure)


def huge_tensors(report: Report, device: torch.device, sizes: Sizes) -> None:
    """Tensors beyond 2³¹ elements: the whole image against tiles far below."""
    image = random_image(sizes.huge)
    beyond = 32 * math.prod(sizes.huge) > INDEX_LIMIT
    for what in ("float16", "bfloat16"):

        def measure(row: Row, what: str = what) -> None:
            network = build("denoising", device, DTYPES[what])
            (expected,) = predict_exact(network, image, tile=sizes.huge_tile)
            with torch.inference_mode():
                found = network(on_device(image, network))[0].float().cpu().numpy()
            row.error = difference(found, expected)
            row.note = "tensors beyond 2³¹ elements" if beyond else ""

        report.attempt(Row("denoising", f"{what}, whole against tiles", sizes.huge), measure, 15)


def speed(report: Report, device: torch.device, sizes: Sizes) -> None:
    """Whole images in every arithmetic; then exact tiles and blocks; then how it is computed."""
    image = random_image(sizes.speed)
    # CPUs emulate float16, which takes a hundred times as long: `correctness` has it on them.
    timed_variants = [what for what in VARIANTS if device.type != "cpu" or what != "float16"]
    for name in ("label_free", "denoising"):
        for what in timed_variants:
            variant = VARIANTS[what]
            for layout in ("", ", channels last"):

                def measure(row: Row, name=name, variant=variant, layout=layout) -> None:
                    network = prepared(name, device, variant["dtype"], bool(layout))
                    x = on_device(image, network)
                    with torch.inference_mode(), tensor_float32(variant["tf32"]):
                        taken = timed(lambda: network(x), device, sizes.repeats)
                    row.seconds, row.memory, _ = taken

                report.attempt(Row(name, f"whole, {what}{layout}", sizes.speed), measure)
        for what in ("float32", "bfloat16"):
            for mode in ("exact", "blocks"):

                def measure(row: Row, name=name, what=what, mode=mode) -> None:
                    network = prepared(name, device, what, False)
                    tile = sizes.tile

                    def predict() -> Any:
                        if mode == "exact":
                            return predict_exact(network, image, tile=tile)
                        return predict_blocks(
                            lambda part: (run(network, part),),
                            image,
                            block=tile,
                            overlap=(0, *(t // 4 for t in tile[1:])),
                        )

                    row.seconds, row.memory, _ = timed(predict, device, 1)
                    row.note = "with transfers"

                report.attempt(Row(name, f"{mode}, {what}", sizes.speed), measure)

        def measure_run(row: Row, name=name) -> None:
            network = prepared(name, device, "bfloat16", False)
            row.seconds, row.memory, _ = timed(lambda: run(network, image), device, sizes.repeats)
            row.note = "with transfers"

        report.attempt(Row(name, "whole, bfloat16, with transfers", sizes.speed), measure_run)
    for how in ("CUDA graph", "compiled"):

        def measure_how(row: Row, how=how) -> None:
            network = prepared("label_free", device, "bfloat16", False)
            x = on_device(image, network)
            with torch.inference_mode():
                call = recorded(network, x) if how == "CUDA graph" else compiled(network, x)
                row.seconds, row.memory, _ = timed(call, device, sizes.repeats)

        report.attempt(Row("label_free", f"whole, bfloat16, {how}", sizes.speed), measure_how, 45)


def prepared(name: str, device: torch.device, dtype: str, channels_last: bool) -> nn.Module:
    """The network in a type and a memory layout."""
    network = build(name, device, DTYPES[dtype])
    return network.to(memory_format=torch.channels_last_3d) if channels_last else network


def run(network: nn.Module, image: np.ndarray) -> np.ndarray:
    """From array to array, transfers included."""
    with torch.inference_mode():
        return network(on_device(image, network))[0].float().cpu().numpy()


def recorded(network: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """The network as a CUDA graph, which is replayed without Python."""
    if x.device.type != "cuda":
        raise RuntimeError("CUDA graphs need CUDA")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        network(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(x)
    return graph.replay


def compiled(network: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    """The network through `torch.compile`."""
    if x.device.type != "cuda":
        raise RuntimeError("measured on CUDA only")
    fast = torch.compile(network)
    return lambda: fast(x)


def others(report: Report, device: torch.device, sizes: Sizes) -> None:
    """The label-free U-Net of 23 million parameters, and CARE's."""
    image = random_image(sizes.speed)
    for name in ("fnet", "care"):
        for what in ("float32", "float32, TF32", "bfloat16"):

            def measure(row: Row, name=name, variant=VARIANTS[what]) -> None:
                network = build(name, device, DTYPES[variant["dtype"]])
                x = on_device(image, network)
                with torch.inference_mode(), tensor_float32(variant["tf32"]):
                    taken = timed(lambda: network(x), device, sizes.repeats)
                row.seconds, row.memory, _ = taken

            report.attempt(Row(name, f"whole, {what}", sizes.speed), measure)


def two_tiles(report: Report, device: torch.device, sizes: Sizes) -> None:
    """While one tile is computed, another is read or written."""
    image = random_image(sizes.speed)
    for count in (1, 2):

        def measure(row: Row, count=count) -> None:
            network = build("denoising", device, torch.bfloat16)

            def predict() -> Any:
                runner = Runner(LocalExecutor(at_once=count))
                return predict_exact(network, image, tile=sizes.tile, runner=runner)

            row.seconds, row.memory, _ = timed(predict, device, 1)

        what = f"exact, bfloat16, {count} tile{'s' if count > 1 else ''} at once"
        report.attempt(Row("denoising", what, sizes.speed), measure)


def training(report: Report, device: torch.device, sizes: Sizes) -> None:
    """`gvtzoo train` against a bare loop, in turn, in processes of their own."""
    script = Path(__file__).with_name("training.py")
    patch = ",".join(map(str, sizes.patch))
    row = Row("denoising", "gvtzoo train / bare loop", sizes.patch)

    def measure(row: Row) -> None:
        command = [sys.executable, str(script), "denoising/planaria", "--device", report.device]
        settings = [f"training.patch=[{patch}]", "training.batch_size=16"]
        if sizes is SMALL:
            settings = [f"training.patch=[{patch}]", "training.batch_size=2", "network.features=4"]
        command += ["--steps", str(sizes.steps), "--rounds", "1"]
        for setting in settings:
            command += ["--set", setting]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=report.time_left()
        )
        row.note = "; ".join(
            " ".join(text.split()) for text in done.stdout.splitlines() if "bare loop" in text
        )

    report.attempt(row, measure, 40 if sizes is LARGE else 5)


def dask_worker(report: Report, device: torch.device, sizes: Sizes) -> None:
    """Exact tiles of one worker of a Dask cluster, on its device."""
    image = random_image(sizes.speed)

    def measure(row: Row) -> None:
        from gvtzoo.prediction.exact.dask import DaskExecutor, cluster
        from gvtzoo.prediction.exact.execution import OnDisk

        network = build("denoising", torch.device("cpu"))
        with tempfile.TemporaryDirectory() as folder, cluster(None, 1, None) as client:
            import zarr

            place = Path(folder)
            source = zarr.create_array(place / "in.zarr", shape=image.shape, dtype="float32")
            source[...] = image
            target = zarr.create_array(
                place / "out.zarr", shape=image.shape, chunks=(1, *sizes.tile), dtype="float32"
            )
            runner = Runner(DaskExecutor(client, place, report.device), OnDisk(place))
            start = time.perf_counter()
            predict_exact(network, source, tile=sizes.tile, out=[target], runner=runner)
            row.seconds = time.perf_counter() - start
            row.note = "start of CUDA on the worker included"

    report.attempt(Row("denoising", "exact, float32, one Dask worker", sizes.speed), measure, 40)


STEPS = {
    step.__name__: step
    for step in (correctness, huge_tensors, speed, others, two_tiles, training, dask_worker)
}


def line(row: Row) -> str:
    """A line of the table."""
    size = "×".join(map(str, row.size))
    cells = [
        "" if row.seconds is None else f"{row.seconds:.3f}",
        "" if row.speed is None else f"{row.speed:.1f}",
        "" if row.memory is None else f"{row.memory:.2f}",
        "" if row.error is None else f"{row.error:.1e}",
    ]
    return f"| {row.network} | {row.what} | {size} | {' | '.join(cells)} | {row.note} |"


def table(rows: list[Row]) -> str:
    """All measurements, in Markdown."""
    head = "| network | what | voxels | s | Mvoxel/s | GB | difference | |"
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *map(line, rows)])


if __name__ == "__main__":
    main()
