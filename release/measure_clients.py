"""What every program loses with the zoo's models: packages as given, made anew, and for tiles.

    python release/measure_clients.py NAME --data FOLDER -o FOLDER

writes NAME.zip (packaged anew), NAME-client.zip and NAME.json, the losses on a test image that was
not trained on: of the package that lies in the zoo, of the new one, and of the client package. The
test images of a 2D denoising recipe are put side by side, so that programs have something to cut.
The client package is that of ``attention.safetensors`` (`release/client_attention.py`).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from gvtzoo.core.resources import zoo_folder
from gvtzoo.hub.client import ATTENTION_FILE, client_package
from gvtzoo.hub.registry import bundled_models
from gvtzoo.networks.fixed_attention import load_constants, save_constants
from gvtzoo.packages.checks import measure_clients, predict_normalized, whole_in_units_of
from gvtzoo.packages.client_package import repackage
from gvtzoo.packages.config import ClientLoss
from gvtzoo.packages.reader import ModelPackage, open_package
from gvtzoo.packages.rewriting import rewrite_package
from gvtzoo.recipes.recipe import Recipe
from gvtzoo.training.data.patches import load_images

SEED = 1
KINDS = ("before", "after", "client")


def main() -> None:
    """Package and measure one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    arguments = parser.parse_args()
    folder, name = arguments.output, arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    given = open_package(bundled_models()[name])
    image, what = test_image(given, arguments.data)
    whole = predict_normalized(given, image, given.build_network())
    file = folder / f"{name}.json"
    table = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for kind in arguments.only:
        path = given.path
        if kind == "after":
            path = repackage(given.path, folder / f"{name}.zip", overwrite=True)
        if kind == "client":
            path = client_package(name, folder / f"{name}-client.zip", overwrite=True)
        package = open_package(path)
        reference = whole if package.config.fixed is None else None
        if reference is None:
            reference = whole_in_units_of(package, given, image)
        rows = measure_clients(package, image, what, reference)
        table[kind] = [row.model_dump() for row in rows]
        report(kind, rows)
        if kind == "after":
            rewrite_package(path, {"clients": rows}, path, overwrite=True)
        if kind == "client":
            keep(name, rows)
        file.write_text(json.dumps(table, indent=1), encoding="utf-8")


def keep(name: str, rows: tuple[ClientLoss, ...]) -> None:
    """The losses of a client package beside its attention, for the card of those made from it."""
    path = zoo_folder() / name / ATTENTION_FILE
    losses = tuple(row.model_dump() for row in rows)
    save_constants(replace(load_constants(path), losses=losses), path)


def test_image(package: ModelPackage, data: Path) -> tuple[np.ndarray, str]:
    """A raw image (1, channel, (z,) y, x) of the recipe's test images, and what it is called.

    The one in the middle, which of a recipe with many noise levels is neither the brightest nor
    the darkest. Of a recipe without test images, one of validation.
    """
    recipe = Recipe.model_validate(package.config.recipe)
    split = "test"
    images = load_images(data, split, recipe)
    if not images:
        split = "validation"
        images = load_images(data, "val", recipe)
    sources = [image.raw(np.random.default_rng(SEED))[0] for image in images]
    dimensions = package.config.network.dimensions
    sources = [np.reshape(s, (-1, *s.shape[s.ndim - dimensions :])) for s in sources]
    if dimensions == 2 and len(sources) > 1:
        half = len(sources) // 2
        rows = [np.concatenate(sources[n * half : (n + 1) * half], axis=-1) for n in range(2)]
        joined = np.concatenate(rows, axis=-2)[..., 3:, 5:]  # off every grid
        return joined[None].astype(np.float32), f"{2 * half} {split} images side by side"
    return sources[len(sources) // 2][None].astype(np.float32), f"{split} image"


def report(kind: str, rows: tuple[ClientLoss, ...]) -> None:
    """On standard output, a line for each program."""
    for row in rows:
        print(
            kind, row.client, row.weights, row.tiles, row.max_difference, row.pearson_r,
            row.seams, row.note, sep="\t", flush=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
