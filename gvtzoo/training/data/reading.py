"""Pairs of image files as arrays in the recipe's axes, pixel size and normalization."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import MICROMETER
from gvtzoo.images.checks import check_image
from gvtzoo.images.files import read_image
from gvtzoo.images.normalization import FittedNormalization, NormalizationConfig, TargetUnits
from gvtzoo.images.resampling import resample_in_plane
from gvtzoo.metrics.units import fit_units
from gvtzoo.training.data.images import Box, PairedImage
from gvtzoo.training.data.pairs import Pair, Split

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import DataConfig, Recipe, Region


def read_pair(pair: Pair, split: Split, recipe: Recipe) -> PairedImage:
    """Source and target from their files.

    Raises
    ------
    GvtzooError
        When a file cannot be read or learned from, or the two do not fit each other.
    """
    network = recipe.network
    source = _read(pair.source, pair.channel, network.input_channels)
    target = _read(pair.target, pair.target_channel, network.output_channels)
    files = (pair.source, pair.target) if pair.target != pair.source else (pair.source,)
    return pair_images(pair.source.stem, source, target, split, recipe, files)


def _read(path: Path, channel: int | str | None, channels: int) -> xr.DataArray:
    """One channel of a file, or all of them for a network that takes several."""
    return read_image(path, channel=channel, keep_channels=channels > 1 and channel is None)


def pair_images(
    name: str,
    source: xr.DataArray,
    target: xr.DataArray,
    split: Split,
    recipe: Recipe,
    files: tuple[Path, ...] = (),
) -> PairedImage:
    """Source and target in the recipe's axes, pixel size and normalization.

    Parameters
    ----------
    name : str
    source, target : DataArray
        With the axes of their files.
    split : {"train", "val", "test"}
        Whose region of the images is taken.
    recipe : Recipe
    files : tuple of Path
        That they were read from.

    Raises
    ------
    GvtzooError
        When an image cannot be learned from, or the two do not fit each other.
    """
    data, network = recipe.data, recipe.network
    named_source = with_axes(
        source, network.input_channels, network.dimensions, data.planes_as_channels
    )
    named_target = with_axes(target, network.output_channels, network.output_dimensions)
    inputs, outputs = (resampled(image, data) for image in (named_source, named_target))
    spatial = inputs.shape[1:]
    if outputs.shape[1:] != spatial[len(spatial) - (outputs.ndim - 1) :]:
        raise GvtzooError(f"{name}: source {spatial} and target {outputs.shape[1:]} differ in size")
    measured = (inputs, outputs)
    if recipe.normalization.before_resampling:
        # Splines are linear and keep constants: normalizing then is normalizing before, save for
        # where the statistics are taken.
        measured = (named_source.to_numpy(), named_target.to_numpy())
    source_fit, target_fit = fit(*measured, recipe.normalization)
    return PairedImage(
        name,
        calibration(source, data),
        cut_region(inputs, split, data),
        cut_region(outputs, split, data),
        source_fit,
        target_fit,
        files,
    )


def calibration(image: xr.DataArray, data: DataConfig) -> dict[str, Any]:
    """Pixel size and unit, as the network sees the image."""
    known = {key: image.attrs.get(key) for key in ("pixel_size", "unit")}
    if data.pixel_size is None:
        return known
    sizes = {**(known["pixel_size"] or {}), "y": data.pixel_size, "x": data.pixel_size}
    return {"pixel_size": sizes, "unit": MICROMETER}


def as_channels(
    image: xr.DataArray, channels: int, dimensions: int, *, data: DataConfig
) -> np.ndarray:
    """An image as (channel, (z,) y, x) with the recipe's pixel size.

    Raises
    ------
    GvtzooError
        When it has other axes, or nothing can be learned from it.
    """
    return resampled(with_axes(image, channels, dimensions), data)


def with_axes(
    image: xr.DataArray, channels: int, dimensions: int, planes_as_channels: bool = False
) -> xr.DataArray:
    """An image with the axes that a network takes, in its order; without c for a single channel.

    Raises
    ------
    GvtzooError
        When it has other axes.
    """
    if planes_as_channels and "c" not in image.dims and "z" in image.dims:
        image = image.rename(z="c")
    if dimensions == 2 and image.sizes.get("z") == 1:
        image = image.isel(z=0, drop=True)
    axes = ("c",) * (channels > 1) + ("z", "y", "x")[-dimensions:]
    if set(image.dims) != set(axes):
        have, wanted = ("".join(map(str, names)).upper() for names in (image.dims, axes))
        raise GvtzooError(f"{image.name} has axes {have}, the network takes {wanted}")
    if channels > 1 and image.sizes["c"] != channels:
        what = "planes" if planes_as_channels else "channels"
        raise GvtzooError(
            f"{image.name} has {image.sizes['c']} {what}, the network takes {channels}"
        )
    return image.transpose(*axes)


def resampled(image: xr.DataArray, data: DataConfig) -> np.ndarray:
    """An image of `with_axes` as (channel, (z,) y, x) with the recipe's pixel size.

    Raises
    ------
    GvtzooError
        When nothing can be learned from it, or its pixel size is unknown.
    """
    try:
        check_image(image.to_numpy())
    except GvtzooError as error:
        raise GvtzooError(f"{image.name}: {error}") from error
    if data.pixel_size is not None:
        image = resample_in_plane(image, data.pixel_size, data.recorded_pixel_size)
    array = image.to_numpy()
    return array if "c" in image.dims else array[np.newaxis]


def fit(
    source: np.ndarray, target: np.ndarray, normalization: NormalizationConfig
) -> tuple[FittedNormalization, FittedNormalization]:
    """Offset and scale of a source image and of its target."""
    source_fit = normalization.source.fit(source)
    return source_fit, fit_target(source, target, source_fit, normalization)


def fit_target(
    source: np.ndarray,
    target: np.ndarray,
    source_fit: FittedNormalization,
    normalization: NormalizationConfig,
) -> FittedNormalization:
    """Offset and scale of a target image, whose source has `source_fit`."""
    if normalization.target == "as_source":
        return normalization.of_prediction(source_fit)
    if normalization.target == "fitted":
        units = fit_units(source, target)
        return NormalizationConfig(
            target="as_source", target_units=TargetUnits(gain=units.gain, offset=units.offset)
        ).of_prediction(source_fit)
    return normalization.target.fit(target)


def cut_region(array: np.ndarray, split: Split, data: DataConfig) -> np.ndarray:
    """The part of an image (channel, …) that belongs to a split."""
    if data.regions is None:
        return array
    return array[region_box(data.regions.get(split, {}), array.ndim - 1)]


def region_box(region: Region, dimensions: int) -> Box:
    """Slices of (channel, (z,) y, x) for a recipe's region."""
    axes: Sequence[Literal["z", "y", "x"]] = ("z", "y", "x")
    spatial = axes[-dimensions:]
    return (slice(None), *(slice(*region.get(axis, (None, None))) for axis in spatial))
