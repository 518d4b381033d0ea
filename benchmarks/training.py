"""Steps per second of `gvtzoo train` against the same network in a bare PyTorch loop.

    python benchmarks/training.py [RECIPE] [--steps 200] [--rounds 3] [--set key.sub=value]...

Random images stand in for data, in the files that the recipe reads; the bare loop has its batches
in memory and does nothing but forward, loss, backward and step: once with weights as PyTorch lays
them out, once with the channels last, as `gvtzoo train` has them. They take turns, each time in a
new process, so that each has its own peak of memory; ratios are those of the medians. A run folder
is written every `--steps` steps.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
import torch

from gvtzoo.prediction.cpu_kernels import with_channels_last
from gvtzoo.recipes.recipe import Recipe, load_recipe
from gvtzoo.training.data.patches import PatchDataset, load_images
from gvtzoo.training.module import TrainingModule
from gvtzoo.training.train import train

IMAGES = 4


def main() -> None:
    """Measure both, and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", nargs="?", default="denoising/exposures")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    steps = arguments.steps
    lengths = [f"training.steps={2 * steps}", f"training.validate_every={steps}"]
    pairs = ["data.files=null", "data.noise=null", "data.regions=null", "training.validation=false"]
    recipe = load_recipe(arguments.recipe, [*pairs, *lengths, *arguments.settings])
    ways = {
        "bare loop": bare_loop,
        "channels last": bare_loop_with_channels_last,
        "gvtzoo train": gvtzoo_train,
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        data = stand_in(Path(folder), recipe)
        for _ in range(arguments.rounds):
            for name, measure in ways.items():
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                    task = process.submit(measured, measure, recipe, data, steps, arguments.device)
                speed, peak = task.result()
                speeds[name].append(speed)
                print(f"{name:14} {speed:8.3f} steps/s   peak memory {peak:.0f} MiB", flush=True)
    bare, alike, ours = (statistics.median(speeds[name]) for name in ways)
    print(f"gvtzoo train makes {ours / alike:.1%} of the steps of a bare loop with channels last")
    print(f"gvtzoo train makes {ours / bare:.1%} of the bare loop's steps")


def measured(
    measure: Callable[[Recipe, Path, int, str], float],
    recipe: Recipe,
    data: Path,
    steps: int,
    device: str,
) -> tuple[float, float]:
    """Steps per second, and the process's peak memory in MiB."""
    speed = measure(recipe, data, steps, device)
    return speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def stand_in(folder: Path, recipe: Recipe) -> Path:
    """Random pairs, twice as wide as a patch."""
    generator = np.random.default_rng(0)
    network = recipe.network
    source = [2 * size for size in recipe.training.patch]
    if recipe.data.planes_as_channels:
        source = [network.input_channels, *source]
    for kind, sizes in (("source", source), ("target", source[-network.output_dimensions :])):
        for number in range(IMAGES):
            path = folder / "data" / "train" / kind / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = generator.integers(0, 4000, sizes).astype(np.uint16)
            tifffile.imwrite(path, image, metadata={"axes": "ZYX"[-len(sizes) :]})
    return folder / "data"


def bare_loop_with_channels_last(recipe: Recipe, data: Path, steps: int, device: str) -> float:
    """Steps per second of `bare_loop` in the layout that `gvtzoo train` has."""
    return bare_loop(recipe, data, steps, device, with_channels_last)


def bare_loop(
    recipe: Recipe,
    data: Path,
    steps: int,
    device: str,
    prepare: Callable[[TrainingModule], TrainingModule] = lambda module: module,
) -> float:
    """Steps per second without anything around them."""
    settings = recipe.training
    images = load_images(data, "train", recipe)
    patches = PatchDataset(images, recipe, 0, settings.batch_size)
    source, target = (
        torch.from_numpy(np.stack(arrays)).to(device) for arrays in zip(*patches, strict=True)
    )
    module = prepare(TrainingModule(recipe).to(device))
    optimizer = torch.optim.Adam(module.parameters(), settings.learning_rate, settings.betas)
    for step in range(steps + 2):
        if step == 2:
            start = synchronized(device)
        optimizer.zero_grad()
        loss = module.loss(module(source), target, settings.sigma_weight)
        loss.backward()
        if settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
        optimizer.step()
    return steps / (synchronized(device) - start)


def gvtzoo_train(recipe: Recipe, data: Path, steps: int, device: str) -> float:
    """Steps per second of the second half of a training, its checkpoint in the middle included."""
    times: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        train(
            recipe,
            data,
            Path(folder) / "run",
            device=device,
            progress=lambda step, _, __: times.update({step: synchronized(device)}),
        )
    return steps / (times[2 * steps] - times[steps])


def synchronized(device: str) -> float:
    """The time when the device has done what it was asked to."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
