"""How exact prediction from file to file grows with the image, and with workers.

    python benchmarks/growth.py [--largest 1e8] [--steps growth,dask,empty] [--output growth.json]
                                [--plot docs/growth.png]

A small network (denoising, 4 features), one thread. Times are a process's processor time, since the
cores may be shared; those of several workers are wall time. Every size is a process of its own, so
that each has its own peak of memory. Workers share an image with a wider network (12 features),
whose convolutions outweigh its files. What is larger than `--largest` is extrapolated by the fit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = 200_000_000  # bytes that a prediction may take
DECADE = (32, 176, 176)  # about 10⁶ voxels
SHARED, SHARED_FEATURES = (32, 1024, 1024), 12  # what workers share, as wide as the bundled model
EMPTY_TILES = 100_000
TILE = (32, 128, 128)


def main() -> None:
    """Measure, fit, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=float, default=1e8)
    parser.add_argument("--steps", default="growth,dask,empty")
    parser.add_argument("--tiles", type=int, default=EMPTY_TILES)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {"load": os.getloadavg()}
    steps = arguments.steps.split(",")
    if "growth" in steps:
        results["growth"] = growth(arguments.largest)
    if "dask" in steps:
        results["dask"] = dask()
    if "empty" in steps:
        results["empty"] = worker("empty", str(arguments.tiles))
        wall, own = (1e3 * results["empty"][key] for key in ("per_tile", "processor_time"))
        print(f"an empty tile: {wall:.2f} ms, {own:.2f} ms of it this process's", flush=True)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(results, indent=1))
    if arguments.plot is not None:
        plot(results["growth"], arguments.plot)


def growth(largest: float) -> dict[str, Any]:
    """Time and memory of images from 10⁶ voxels up, and the fit's exponent."""
    measured = []
    print("| voxels | processor time | peak memory beyond the start |\n|---|---|---|")
    for size in sizes(largest):
        found = worker("predict", ",".join(map(str, size)))
        measured.append({"voxels": int(np.prod(size)), **found})
        print(
            f"| {np.prod(size):.3g} | {found['seconds']:.1f} s | {found['peak'] / 1e9:.2f} GB |",
            flush=True,
        )
    voxels, seconds = (np.array([row[key] for row in measured]) for key in ("voxels", "seconds"))
    # Seconds = constant + voxels × each: least squares of the relative error.
    design = np.stack([1 / seconds, voxels / seconds], axis=1)
    (constant, each), *_ = np.linalg.lstsq(design, np.ones(len(voxels)), rcond=None)
    error = np.abs((constant + each * voxels) / seconds - 1).max()
    print(
        f"time = {constant:.1f} s + {each * 1e6:.2f} s for each million voxels, off by {error:.0%} "
        f"at most; 10⁹ voxels by it: {(constant + each * 1e9) / 60:.0f} min",
        flush=True,
    )
    return {"measured": measured, "constant": constant, "each": each, "error": error}


def sizes(largest: float) -> list[tuple[int, ...]]:
    """Images, each about three times as large as the one before."""
    found = []
    factor = 1.0
    while np.prod(DECADE) * factor <= largest:
        side = 4 * round(DECADE[1] * np.sqrt(factor) / 4)
        found.append((DECADE[0], side, side))
        factor *= np.sqrt(10)
    return found


def dask() -> dict[str, Any]:
    """Wall time with one and with two workers, taking turns; the second of two predictions."""
    found: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(2):
        for count in found:
            found[count].append(worker("cluster", count)["seconds"])
    one, two = (min(found[count]) for count in ("1", "2"))
    efficiency = one / two / 2
    print(f"Dask: {one:.1f} s with one worker, {two:.1f} s with two, efficiency {efficiency:.2f}")
    return {"seconds": found, "efficiency": efficiency}


def plot(found: dict[str, Any], path: Path) -> None:
    """Time and memory against voxels; the fit goes on to 10⁹."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    voxels = [row["voxels"] for row in found["measured"]]
    line = np.geomspace(min(voxels), 1e9, 100)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    left.loglog(voxels, [row["seconds"] for row in found["measured"]], "o", label="measured")
    inside = line <= max(voxels)
    fitted = found["constant"] + found["each"] * line
    left.loglog(line[inside], fitted[inside], "-", color="gray", label="constant + linear")
    left.loglog(line[~inside], fitted[~inside], ":", color="gray", label="extrapolated")
    left.set(xlabel="voxels", ylabel="processor time (s)")
    left.legend(frameon=False)
    right.semilogx(voxels, [row["peak"] / 1e9 for row in found["measured"]], "o")
    right.axhline(MEMORY / 1e9, color="gray", label="allowed")
    right.set(xlabel="voxels", ylabel="peak memory (GB)", ylim=(0, None))
    right.legend(frameon=False)
    figure.savefig(path, dpi=150)


def worker(*arguments: str) -> dict[str, Any]:
    """A measurement in a process of its own, with one thread."""
    done = subprocess.run(
        [sys.executable, __file__, "worker", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def random_model(features: int) -> Any:
    """A denoising network with random weights."""
    from gvtzoo.images.normalization import NormalizationConfig
    from gvtzoo.networks import DENOISING
    from gvtzoo.packages.config import PackageConfig
    from gvtzoo.prediction.model import Model
    from gvtzoo.recipes.metadata import default_metadata

    network = DENOISING.model_copy(update={"features": features})
    config = PackageConfig(
        task="denoising",
        network=network,
        normalization=NormalizationConfig(),
        metadata=default_metadata("small", "denoising"),
    )
    return Model(network.build(), config)


def random_file(path: Path, size: tuple[int, ...]) -> None:
    """Noise, written plane by plane: pages of a mapped file would count as memory."""
    generator = np.random.default_rng(0)
    header = {"descr": "<u2", "fortran_order": False, "shape": size}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(size[0]):
            file.write(generator.poisson(20, size[1:]).astype("<u2").tobytes())


def predict_file(
    size: tuple[int, ...], folder: Path, features: int = 4, client: Any = None
) -> None:
    """A prediction from file to file of a random image, made if it is not there."""
    from gvtzoo.images.files import open_image
    from gvtzoo.prediction.exact.out_of_core import Output, predict_large
    from gvtzoo.prediction.settings import Settings

    source = folder / f"{'-'.join(map(str, size))}.npy"
    if not source.exists():
        random_file(source, size)
    settings = Settings(device="cpu", tiling="exact", memory=MEMORY)
    output = Output(folder / "out.zarr", overwrite=True)
    image = open_image(source, axes="ZYX")
    predict_large(random_model(features), image, output, settings, identity="", client=client)


def predict(size: str) -> dict:
    """Processor time and peak of memory beyond what a tiny image needs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        predict_file((8, 32, 32), folder)
        shape = tuple(map(int, size.split(",")))
        random_file(folder / f"{'-'.join(map(str, shape))}.npy", shape)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.process_time()
        predict_file(shape, folder)
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": seconds, "peak": 1024 * peak}


def cluster(workers: str) -> dict:
    """Wall time of a prediction by workers on this machine, that have predicted before."""
    import psutil

    from gvtzoo.prediction.exact.dask import cluster as started

    count = int(workers)
    psutil.cpu_count = lambda: count  # else a single worker would take all processors
    with tempfile.TemporaryDirectory() as name, started(None, count, MEMORY) as client:
        folder = Path(name)
        predict_file((8, 64, 64), folder, SHARED_FEATURES, client)
        random_file(folder / f"{'-'.join(map(str, SHARED))}.npy", SHARED)
        start = time.perf_counter()
        predict_file(SHARED, folder, SHARED_FEATURES, client)
        return {"seconds": time.perf_counter() - start}


def empty(tiles: str) -> dict:
    """What the scheduler, its worker and the client take for tiles in which nothing is done."""
    from torch import nn

    from gvtzoo.prediction.exact.dask import DaskExecutor
    from gvtzoo.prediction.exact.dask import cluster as started
    from gvtzoo.prediction.exact.execution import add_up

    boxes = [(slice(n, n + 1),) * 3 for n in range(int(tiles))]
    with tempfile.TemporaryDirectory() as name, started(None, 1, None) as client:
        executor = DaskExecutor(client, Path(name), "cpu")
        start, at_start = time.perf_counter(), time.process_time()
        done = sum(n for n, _ in executor.run(nn.Identity(), _nothing, boxes, add_up))
        seconds = time.perf_counter() - start
        assert done == len(boxes)
    own = time.process_time() - at_start
    return {"tiles": done, "per_tile": seconds / done, "processor_time": own / done}


def _nothing(box: Any) -> list[np.ndarray]:
    return [np.zeros((2, 2))]


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        workers = {f.__name__: f for f in (predict, cluster, empty)}
        print(json.dumps(workers[sys.argv[2]](*sys.argv[3:]), default=float))
    else:
        main()
