"""Whole image against exact tiling and blocks: time, peak memory, difference.

    python benchmarks/exact.py [--network denoising --network label_free] [--size 32,512,512]

Every prediction runs in a process of its own, on the same random image and weights; peak memory is
what the process took beyond itself, its input and its output. Times are ratios to the whole image,
measured in the same run.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

MODES = ("whole", "exact", "blocks")
# In fresh networks attention makes up less than 1e-6 of the output's range, and any prediction
# without it would pass for exact. With its weights this much larger it makes up some 1e-4.
ATTENTION_SCALE = 30


def main(
    network: Annotated[list[str] | None, typer.Option(help="Presets to measure.")] = None,
    size: Annotated[str, typer.Option(help="z,y,x in voxels.")] = "32,512,512",
    memory: Annotated[str, typer.Option(help="Budget of exact prediction.")] = "2GB",
    repeats: Annotated[int, typer.Option(help="Times each is measured; the best counts.")] = 1,
    modes: Annotated[str, typer.Option(help="Which of whole, exact, blocks.")] = ",".join(MODES),
) -> None:
    """Print a table in Markdown."""
    print(
        "| network | size | tiling | time | time / whole | memory | memory / whole | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for preset in network or ["denoising", "label_free"]:
        with tempfile.TemporaryDirectory() as folder:
            print_rows(preset, size, memory, repeats, modes.split(","), Path(folder))


def print_rows(
    preset: str, size: str, memory: str, repeats: int, modes: list[str], folder: Path
) -> None:
    """Measure one network in all modes."""
    rows = {mode: measure(preset, size, mode, memory, repeats, folder) for mode in modes}
    whole = rows.get("whole")
    for mode, row in rows.items():
        time_ratio = f"{row['seconds'] / whole['seconds']:.2f}" if whole else ""
        memory_ratio = f"{row['bytes'] / whole['bytes']:.1%}" if whole else ""
        difference = f"{compare(row, whole):.1e}" if whole else ""
        print(
            f"| {preset} | {size.replace(',', '×')} | {mode} | {row['seconds']:.1f} s | "
            f"{time_ratio} | {row['bytes'] / 1e9:.2f} GB | {memory_ratio} | {difference} |",
            flush=True,
        )


def measure(preset: str, size: str, mode: str, memory: str, repeats: int, folder: Path) -> dict:
    """The fastest of several runs, and the memory of the hungriest."""
    output = str(folder / f"{mode}.npy")
    command = [sys.executable, __file__, "worker", preset, size, mode, memory, output]
    rows = []
    for _ in range(repeats):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        "seconds": min(row["seconds"] for row in rows),
        "bytes": max(row["bytes"] for row in rows),
        "output": output,
    }


def compare(row: dict, whole: dict) -> float:
    """Largest difference to the whole image's prediction, as a share of its range."""
    import numpy as np

    expected = np.load(whole["output"], mmap_mode="r")
    return float(np.abs(np.load(row["output"]) - expected).max() / np.ptp(expected))


def worker(preset: str, size: str, mode: str, memory: str, output: str) -> None:
    """One prediction; prints its time and its memory as JSON."""
    import numpy as np
    import torch

    from gvtzoo.networks import GVTO, PRESETS
    from gvtzoo.prediction.blocks import predict_blocks
    from gvtzoo.prediction.exact import predict_exact
    from gvtzoo.prediction.memory import parse_memory
    from gvtzoo.prediction.predictor import DEFAULT_BLOCK, DEFAULT_OVERLAP, run_network

    torch.manual_seed(0)
    network = PRESETS[preset].build().eval()
    for operator in network.modules():
        if isinstance(operator, GVTO):
            operator.value.convolution.weight.data.mul_(ATTENTION_SCALE)
            operator.output.convolution.weight.data.mul_(ATTENTION_SCALE)
    shape = tuple(map(int, size.split(",")))
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    run_network(network, image[:, :8, :64, :64], False)
    before = peak_memory()
    start = time.perf_counter()
    if mode == "whole":
        result = run_network(network, image, False)
    elif mode == "exact":
        result = predict_exact(network, image, memory=parse_memory(memory))
    else:
        result = predict_blocks(
            lambda part: run_network(network, part, False),
            image,
            block=DEFAULT_BLOCK[len(shape)],
            overlap=DEFAULT_OVERLAP[len(shape)],
        )
    seconds = time.perf_counter() - start
    taken = peak_memory() - before - result[0].nbytes
    np.save(output, result[0])
    print(json.dumps({"seconds": seconds, "bytes": max(taken, 1)}))


def peak_memory() -> int:
    """Bytes, the most that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
    else:
        typer.run(main)
