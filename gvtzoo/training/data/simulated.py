"""Clean images with a camera's noise, and stacks of a surface made from its geometry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gvtzoo.images.files import find_images, read_image
from gvtzoo.images.ome_sets import files_of
from gvtzoo.training.data.camera import relative_intensity
from gvtzoo.training.data.images import RAW, NoisyImage
from gvtzoo.training.data.pairs import SPLITS, Split
from gvtzoo.training.data.reading import as_channels, calibration, cut_region, fit_normalizations
from gvtzoo.training.data.surface import simulate_surface

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import Recipe, Surface

# Name, calibration, relative intensity and truth (channel, …), files.
CleanImage = tuple[str, Mapping[str, Any], np.ndarray, np.ndarray, tuple[Path, ...]]


def noisy_images(folder: Path, split: Split, recipe: Recipe) -> Iterator[NoisyImage]:
    """The clean images of a folder, each at every noise level of the recipe.

    Where the folder holds ``train/``, ``val/`` or ``test/``, those of the split's.

    Parameters
    ----------
    folder : Path
    split : {"train", "val", "test"}
    recipe : Recipe

    Raises
    ------
    GvtzooError
        When there are none, or they have no brightness to scale.
    """
    noise = recipe.data.noise
    assert noise is not None
    if any((folder / name).is_dir() for name in SPLITS):
        folder = folder / split
        if not folder.is_dir():
            return
    for name, known, clean, truth, files in _clean_images(folder, recipe):
        intensity = cut_region(clean, split, recipe.data)
        target = cut_region(truth, split, recipe.data)
        for photons in noise.photons:
            unfitted = NoisyImage(
                f"{name}, {photons:g} photons",
                known,
                intensity,
                target,
                photons,
                noise,
                RAW,
                RAW,
                files,
            )
            # Statistics of one noisy image of this level; of another they would be the same.
            noisy, expected = unfitted.raw(np.random.default_rng(recipe.training.seed))
            source_fit, target_fit = fit_normalizations(noisy, expected, recipe.normalization)
            yield replace(
                unfitted, source_normalization=source_fit, target_normalization=target_fit
            )


def _clean_images(folder: Path, recipe: Recipe) -> Iterator[CleanImage]:
    """The clean images of a folder, or the surface that it describes."""
    data, dimensions = recipe.data, recipe.network.dimensions
    if data.surface is not None:
        yield _surface_image(folder, data.surface, recipe)
        return
    for path in find_images(folder):
        image = read_image(path, channel=data.channel)
        intensity = relative_intensity(as_channels(image, 1, dimensions, data=data))
        files = tuple(files_of(path))
        yield path.stem, calibration(image, data), intensity, intensity, files


def _surface_image(folder: Path, surface: Surface, recipe: Recipe) -> CleanImage:
    files = (folder / surface.height, folder / surface.cells)
    images = [read_image(path) for path in files]
    height, cells = (as_channels(image, 1, 2, data=recipe.data) for image in images)
    simulated = simulate_surface(
        height[0] + surface.margin,
        cells[0],
        planes=surface.planes,
        attenuation=surface.attenuation,
        generator=np.random.default_rng(recipe.training.seed),
    )
    stack = simulated.stack if recipe.network.dimensions == 2 else simulated.stack[np.newaxis]
    known = calibration(images[0], recipe.data)
    return "surface", known, stack, simulated.projection[np.newaxis], files
