"""Keeps a zoo model's attention and normalization of its training images, for client packages.

    python release/client_attention.py NAME IMAGE...
    python release/client_attention.py NAME --data FOLDER [--set KEY=VALUE]

writes zoo/NAME/attention.safetensors, the mean over the images, from which
`gvtzoo download --client NAME` makes the package for programs that cut images. Images are raw, as
`gvtzoo predict` takes them; with --data FOLDER they are the training images of the model's recipe,
which --set changes: attention of little light does not suit much of it. That of
gvtnet-denoising-nuclei was made with --set data.noise.photons=[8,12,18].
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gvtzoo.core.resources import zoo_folder
from gvtzoo.hub.client import ATTENTION_FILE
from gvtzoo.hub.load import load_own
from gvtzoo.images.files import find_images, open_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.networks.fixed_attention import save_constants
from gvtzoo.prediction.fix_attention import constants_of
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import as_data_array

SEED = 0


def main() -> None:
    """Take the attention of the images, and write it beside the model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, help="the recipe's data: take its training images")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--most", type=int, default=8, help="of the training images")
    arguments = parser.parse_args()
    model = load_own(arguments.name)
    images = [opened(path) for given in arguments.images for path in find_images(given)]
    if arguments.data is not None:
        images += training_images(model, arguments.data, arguments.settings, arguments.most)
    constants = constants_of(model, images, progress=lambda done, of: print(done, "of", of))
    save_constants(constants, zoo_folder() / arguments.name / ATTENTION_FILE)


def opened(path: Path) -> LazyImage:
    """An image, by its file's name."""
    return replace(open_image(path), name=path.name)


def training_images(
    model: Model, data: Path, settings: Sequence[str], most: int
) -> list[LazyImage]:
    """Source images of the model's recipe, with its noise, spread over the training set."""
    from gvtzoo.recipes.recipe import build_recipe
    from gvtzoo.training.data.patches import load_images

    recipe = build_recipe(dict(model.config.recipe or {}), settings)
    loaded = load_images(data, "train", recipe)
    chosen = np.unique(np.linspace(0, len(loaded) - 1, min(most, len(loaded))).round().astype(int))
    images = []
    for number in chosen:
        source, _ = loaded[number].raw(np.random.default_rng(SEED))
        axes = "".join(model.axes)
        array = source if source.ndim == len(axes) else source[0]
        image = LazyImage.of(as_data_array(np.asarray(array), axes, model.axes))
        images.append(replace(image, name=f"training image {number + 1}"))
    return images


if __name__ == "__main__":
    main()
