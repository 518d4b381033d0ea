"""Trains the generalist, and the U-Net it is compared with, in a given time on one GPU.

    python zoo/train.py DATA -o RUNS [--minutes 7.5]

DATA come from zoo/gvtnet-denoising-3d/prepare.py. Step times are measured first; from them follows
the number of steps, so that the network and its U-Net are trained alike and all ends in time. Both
trainings are `gvtzoo train` with a few settings, in a process of its own. RUNS gets a run folder of
each; where one fails, its last good weights go on with half the learning rate.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gvtzoo.recipes.recipe import Recipe, load_recipe
from gvtzoo.training.module import TrainingModule

# Each with how much of the time that is left after the step times are known it may take, at most.
LIMITS = {"generalist": 0.62, "generalist_unet": 0.5}
SHARE = 0.55  # of that time for steps; the rest is for starts, patches and validation
PRECISIONS = ("bf16-mixed", "16-mixed", "32")
CLEARLY_FASTER = 0.6
TIMED_STEPS = 6
ATTEMPTS = 3
BEST = "best.safetensors"
LEAST_SECONDS = 15.0
SPARE_SECONDS = 20.0  # before the first step and after the last


@dataclass(frozen=True)
class Job:
    """One training: its steps, and the settings that differ from its recipe's."""

    name: str
    data: Path
    steps: int
    settings: list[str]


def main() -> None:
    """Measure, plan, train, and say what each took."""
    started = time.monotonic()
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    deadline = started + 60 * arguments.minutes
    arguments.output.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipes = {name: load_recipe(f"denoising/{name}", arguments.settings) for name in LIMITS}
    precision = choose_precision(recipes["generalist"], device)
    seconds = {name: step_seconds(recipe, precision, device) for name, recipe in recipes.items()}
    if device.type == "cuda":
        torch.cuda.empty_cache()
    say(started, f"precision {precision}; seconds a step {seconds}")
    left = deadline - time.monotonic()
    settings = [f'training.precision="{precision}"', *arguments.settings]
    steps = max(20, int(SHARE * left / sum(seconds.values())))
    say(started, f"{steps} steps, {left:.0f} s left")
    results = {
        name: train(
            Job(name, arguments.data, steps, settings),
            arguments.output,
            deadline,
            limit * left,
            started,
        )
        for name, limit in LIMITS.items()
    }
    report = {"precision": precision, "seconds_a_step_alone": seconds, "trainings": results}
    text = json.dumps(report, indent=1) + "\n"
    (arguments.output / "training.json").write_text(text, encoding="utf-8")
    say(started, text)


def train(job: Job, output: Path, deadline: float, limit: float, started: float) -> dict[str, Any]:
    """`gvtzoo train`, again from the last good weights where it fails."""
    start = time.monotonic()
    code, run, weights = 1, output / job.name, None
    for attempt in range(ATTEMPTS):
        seconds = min(start + limit, deadline) - time.monotonic() - SPARE_SECONDS
        if seconds < LEAST_SECONDS:
            say(started, f"{job.name}: no time left")
            break
        run = output / (f"{job.name}_{attempt}" if attempt else job.name)
        say(started, f"{run.name}: {job.steps} steps, at most {seconds:.0f} s")
        with (output / f"{run.name}.log").open("w", encoding="utf-8") as log:
            command = training_command(job, run, seconds, attempt, weights)
            code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
        say(started, f"{run.name}: exit {code}")
        if code == 0:
            break
        if (run / BEST).is_file():
            weights = run / BEST
    taken = round(time.monotonic() - start, 1)
    return {"run": run.name, "code": code, "steps": job.steps, "seconds": taken}


def training_command(
    job: Job, run: Path, seconds: float, attempt: int, weights: Path | None
) -> list[str]:
    """The command line; each attempt has half the learning rate of the one before."""
    recipe = f"denoising/{job.name}"
    rate = load_recipe(recipe).training.learning_rate / 2**attempt
    settings = [
        *job.settings,
        f"training.steps={job.steps}",
        f"training.minutes={seconds / 60:.4f}",
        f"training.validate_every={max(10, job.steps // 4)}",
        f"training.learning_rate={rate}",
    ]
    command = [sys.executable, "-m", "gvtzoo", "train", recipe, "--data", str(job.data)]
    command += ["-o", str(run)]
    for setting in settings:
        command += ["--set", setting]
    return command if weights is None else [*command, "--weights", str(weights)]


def choose_precision(recipe: Recipe, device: torch.device) -> str:
    """The first of `PRECISIONS` unless another is far faster on this device."""
    if device.type == "cpu":
        return "32"
    seconds = {name: step_seconds(recipe, name, device) for name in PRECISIONS}
    print(seconds, flush=True)
    fastest = min(seconds, key=lambda name: seconds[name])
    first = PRECISIONS[0]
    return fastest if seconds[fastest] < CLEARLY_FASTER * seconds[first] else first


def step_seconds(recipe: Recipe, precision: str, device: torch.device) -> float:
    """Seconds of a training step, without data."""
    torch.backends.cudnn.benchmark = True
    training = recipe.training
    module = TrainingModule(recipe).to(device)
    optimizer = torch.optim.Adam(module.network.parameters(), lr=1e-5)
    size = (training.batch_size, 1, *training.patch)
    source, target = torch.rand(size, device=device), torch.rand(size, device=device)
    types = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "32": torch.float32}
    mixed = precision != "32"
    times = []
    for _ in range(TIMED_STEPS if device.type == "cuda" else 1):
        begin = time.monotonic()
        with torch.autocast(device.type, types[precision], enabled=mixed):
            outputs = module(source)
            loss = module.loss(outputs, target, training.sigma_weight)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.monotonic() - begin)
    return sorted(times)[len(times) // 3]


def say(started: float, text: str) -> None:
    """A line of the log."""
    print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
