"""Measures a trained run against simple methods, for its card, on images that it has not seen.

    python zoo/evaluate.py RUN --data DIR [--unet RUN] [--set KEY=VALUE] [--picture FILE]

writes RUN/metrics.json and RUN/tiling.json; `package_run` of `gvtzoo.training.run`, given
the recipe's own description as `metadata`, puts them into the package. `--unet` names the run of a
plain U-Net of the same size, trained the same way; `--set` changes the recipe, such as the noise of
its test images.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr

from gvtzoo.evaluation.methods import compare_methods
from gvtzoo.evaluation.sweep import sweep_tiles, tiling_hint
from gvtzoo.hub.load import load_own
from gvtzoo.prediction.model import Model
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.comparison import predict
from gvtzoo.training.data.patches import load_images
from gvtzoo.training.pictures import middle_plane

SEED = 1
TILES = {2: (128, 128), 3: (32, 64, 64)}


def main() -> None:
    """Measure, print the table, and write it into the run folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--unet", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.run / "recipe.yaml", arguments.settings)
    images = load_images(arguments.data, "test", recipe)
    models = {"GVTNet": load_own(arguments.run)}
    if arguments.unet is not None:
        models = {"plain U-Net of the same size": load_own(arguments.unet), **models}
    name = recipe.model.data[0].name if recipe.model and recipe.model.data else recipe.name
    data = f"{name}: test images, not seen in training"
    rows = compare_methods(images, recipe.task, models, data=data, seed=SEED)
    for row in rows:
        numbers = (f"{value:.4f}" for value in row.values() if isinstance(value, float))
        print(row["condition"], row["method"], *numbers, sep="\t")
    write(arguments.run / "metrics.json", json.dumps(rows, indent=1))
    source, _ = images[-1].raw(np.random.default_rng(SEED))
    if recipe.network.output_dimensions == recipe.network.dimensions:
        hint = tiling(models["GVTNet"], source)
        print("tiling", hint)
        write(arguments.run / "tiling.json", hint)
    if arguments.picture is not None:
        draw(arguments.picture, models, images)


def tiling(model: Model, source: np.ndarray) -> str:
    """What tiles cost on a test image, as JSON."""
    image = xr.DataArray(source, dims=("c", *"zyx"[-(source.ndim - 1) :]))
    rows = sweep_tiles(model, image, [TILES[model.config.network.dimensions]])
    return tiling_hint(rows).model_dump_json(indent=1)


def draw(path: Path, models: dict[str, Model], images: list) -> None:
    """Source, predictions and target of some test images; one row each."""
    from matplotlib.figure import Figure

    chosen = images[:: max(1, len(images) // 3)][:3]
    titles = ["source", *models, "target"]
    figure = Figure(figsize=(4 * len(titles), 4.2 * len(chosen)), layout="constrained")
    rows = figure.subplots(len(chosen), len(titles), squeeze=False)
    for image, row in zip(chosen, rows, strict=True):
        source, target = image.raw(np.random.default_rng(SEED))
        shown = source.max(axis=1) if target.ndim < source.ndim else source
        panels = [shown, *(predict(model, source)[None] for model in models.values()), target]
        for axes, title, panel in zip(row, titles, panels, strict=True):
            plane = middle_plane(panel)
            low, high = np.percentile(plane, (0.5, 99.8))
            axes.imshow(plane, cmap="gray", vmin=low, vmax=high)
            axes.set_title(f"{title} ({image.name})" if title == "source" else title)
            axes.set_axis_off()
    figure.savefig(path, dpi=80)


def write(path: Path, text: str) -> None:
    """A text file that ends with a newline."""
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
