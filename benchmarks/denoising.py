"""Denoisers against classical filters that are tuned with the truth, in every light.

    python benchmarks/denoising.py CLEAN -o OUT [--model NAME=MODEL]... [--frames SERIES.tif]

CLEAN holds clean stacks (TIFF, z y x) that no model has seen. Each is exposed with 6, 20, 60 and
200 photons (read noise 2, offset 100), and Gaussian, median and non-local means are taken at the
setting that is best for SSIM, and again for NRMSE, of this very image: better than any user could
choose. MODELs are what `gvtzoo predict` takes, or run folders. OUT gets classical.json (kept: it
takes minutes), denoising.csv and denoising.md.

--frames names a time series (t z y x) without truth: r of frame 0, denoised, with the next frame as
it is. Noise in the two is independent, so only what is real counts.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import gvtzoo
from gvtzoo.metrics.pair import evaluate_pair, pearson_r
from gvtzoo.prediction.filters import (
    CLASSICAL,
    GAUSSIAN_SIGMAS,
    best_results,
    evaluate_classical,
    gaussian,
)
from gvtzoo.training.data.camera import relative_intensity, simulate_camera

PHOTONS = (6, 20, 60, 200)
READ_NOISE, OFFSET = 2.0, 100.0
SEED = 7
COLUMNS = ("stack", "photons", "method", "ssim", "nrmse", "r", "within_50", "within_90")
Row = dict[str, Any]


def main() -> None:
    """Measure, write the tables, and print them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clean", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", action="append", default=[], help="NAME=MODEL")
    parser.add_argument("--frames", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    models = {name: open_model(path) for name, path in map(split_name, arguments.model)}
    rows = []
    for path in sorted(arguments.clean.glob("*.tif")):
        intensity = relative_intensity(tifffile.imread(path))
        for photons in PHOTONS:
            found = measure(path.stem, intensity, photons, models, arguments.output)
            rows += found
            for row in found:
                print(*(cell(row[column]) for column in COLUMNS), sep="\t", flush=True)
    write_csv(arguments.output / "denoising.csv", rows)
    table = markdown(rows)
    if arguments.frames is not None:
        table += "\n" + frames_table(tifffile.imread(arguments.frames), models)
    (arguments.output / "denoising.md").write_text(table, encoding="utf-8")
    print(table)


def split_name(text: str) -> tuple[str, str]:
    """NAME=MODEL."""
    name, _, path = text.partition("=")
    return name, path


def open_model(path: str) -> Any:
    """A run folder, or whatever `gvtzoo predict` takes."""
    return gvtzoo.load(path)


def exposure(intensity: np.ndarray, photons: float) -> tuple[np.ndarray, np.ndarray]:
    """What the camera gives, and what it would count without noise."""
    noisy = simulate_camera(
        intensity,
        photons=photons,
        read_noise=READ_NOISE,
        offset=OFFSET,
        generator=np.random.default_rng(SEED),
    )
    return noisy, (intensity * photons + OFFSET).astype(np.float32)


def measure(
    stack: str, intensity: np.ndarray, photons: float, models: dict[str, Any], output: Path
) -> list[Row]:
    """A row for the input, for each filter and score, and for each model."""
    noisy, truth = exposure(intensity, photons)

    def row(method: str, metrics: dict[str, float], coverage: tuple[Any, Any] = ("", "")) -> Row:
        scores = {name: metrics[name] for name in ("ssim", "nrmse", "r")}
        inside = dict(zip(("within_50", "within_90"), coverage, strict=True))
        return {"stack": stack, "photons": photons, "method": method, **scores, **inside}

    rows = [row("input", evaluate_pair(truth, noisy))]
    rows += [
        row(name, metrics) for name, metrics in classical(stack, noisy, truth, photons, output)
    ]
    for name, model in models.items():
        prediction, sigma = model.predict(noisy, axes="ZYX", uncertainty=True)
        error = np.abs(truth - prediction.to_numpy()) / sigma.to_numpy()
        inside = tuple(float((error <= model.interval(level)).mean()) for level in (0.5, 0.9))
        rows.append(row(name, evaluate_pair(truth, prediction.to_numpy()), inside))
    return rows


def classical(
    stack: str, noisy: np.ndarray, truth: np.ndarray, photons: float, output: Path
) -> list[tuple[str, dict[str, float]]]:
    """The filters' metrics at their best settings; kept, since they take minutes."""
    path = output / "classical.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    key = f"{stack}, {photons:g}"
    if key not in kept:
        results = evaluate_classical(noisy, truth)
        kept[key] = [
            (f"{result.name}, best {score.upper()}", result.metrics)
            for score in ("ssim", "nrmse")
            for result in best_results(results, score=score)
        ]
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return [(name, metrics) for name, metrics in kept[key]]


def markdown(rows: list[Row]) -> str:
    """For each stack and light: the input, the best filter by each score, and the models."""
    names = list(dict.fromkeys(row["method"] for row in rows))
    filters = [name for name in names if name.split(",")[0] in CLASSICAL]
    others = [name for name in names if name not in filters]
    head = ["stack", "photons", others[0], "best filter", *others[1:]]
    lines = ["SSIM / NRMSE (higher, lower is better).", "", join(head), join(["---"] * len(head))]
    for stack, photons in dict.fromkeys((row["stack"], row["photons"]) for row in rows):
        here = {
            row["method"]: row for row in rows if (row["stack"], row["photons"]) == (stack, photons)
        }
        best = {
            "ssim": max(here[name]["ssim"] for name in filters),
            "nrmse": min(here[name]["nrmse"] for name in filters),
        }
        cells = [here[others[0]], best, *(here[name] for name in others[1:])]
        scores = [f"{c['ssim']:.3f} / {c['nrmse']:.4f}" for c in cells]
        lines.append(join([stack, f"{photons:g}", *scores]))
    return "\n".join(lines) + "\n"


def frames_table(series: np.ndarray, models: dict[str, Any]) -> str:
    """r of frame 0, denoised, with frame 1 as it is."""
    first, second = series[0].astype(np.float32), series[1].astype(np.float32)
    methods: dict[str, Callable[[], np.ndarray]] = {"input": lambda: first}
    for name, model in models.items():
        methods[name] = lambda model=model: model.predict(series[0], axes="ZYX").to_numpy()
    found = {name: pearson_r(second, method()) for name, method in methods.items()}
    found["best Gaussian"] = max(
        pearson_r(second, gaussian(first, sigma=sigma)) for sigma in GAUSSIAN_SIGMAS
    )
    lines = [join(["method", "r with the next frame"]), join(["---", "---"])]
    return "\n".join(lines + [join([name, f"{r:.4f}"]) for name, r in found.items()]) + "\n"


def join(cells: list[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def cell(value: Any) -> str:
    """For the terminal."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def write_csv(path: Path, rows: list[Row]) -> None:
    """All rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
