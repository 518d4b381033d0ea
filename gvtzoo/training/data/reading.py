"""Pairs of image files as arrays in the recipe's axes, pixel size and normalization."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import MICROMETER, micrometers
from gvtzoo.images.checks import check_image
from gvtzoo.images.files import open_image
from gvtzoo.images.normalization import FittedNormalization, NormalizationConfig, TargetUnits
from gvtzoo.images.ome_sets import files_of
from gvtzoo.images.resampling import resample_in_plane
from gvtzoo.metrics.units import fit_units
from gvtzoo.training.data.images import Box, PairedImage
from gvtzoo.training.data.pairs import Pair, Split

log = logging.getLogger(__name__)

SAME = 0.01  # relative; smaller differences of voxel sizes are rounding in the files

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import DataConfig, Recipe, Region


def read_pair(pair: Pair, split: Split, recipe: Recipe) -> PairedImage:
    """Source and target from their files.

    Parameters
    ----------
    pair : Pair
    split : {"train", "val", "test"}
        Whose region is cut.
    recipe : Recipe

    Raises
    ------
    GvtzooError
        When a file cannot be read or learned from, or the two do not fit each other.
    """
    network = recipe.network
    planes = recipe.data.planes_as_channels
    with _called("source"):
        source = _read(pair.source, pair.channel, network.input_channels, planes)
    try:
        target = _read(pair.target, pair.target_channel, network.output_channels, False)
    except GvtzooError as error:
        advice = str(error).replace("--channel", "--target-channel")
        raise GvtzooError(f"target {advice}") from error
    files = dict.fromkeys(file for image in (pair.source, pair.target) for file in files_of(image))
    name = pair.name or pair.source.stem
    return pair_images(name, source, target, split, recipe, tuple(files))


def _read(path: Path, channel: int | str | None, channels: int, planes: bool) -> xr.DataArray:
    """One channel of a file, or all of them for a network that takes several."""
    several = channels > 1 and channel is None
    image = open_image(path, channel=channel, keep_channels=several)
    if several and planes and {"c", "z"} <= set(image.dims):
        image = open_image(path)  # the planes are the network's channels: one of the file's, then
    return image.load()


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
    with _called("source"):
        named_source = with_axes(
            source, network.input_channels, network.dimensions, data.planes_as_channels
        )
        inputs = resampled(named_source, data)
    with _called("target"):
        named_target = with_axes(target, network.output_channels, network.output_dimensions)
        outputs = resampled(named_target, data)
    check_voxel_sizes(name, source, target)
    spatial = inputs.shape[1:]
    if outputs.shape[1:] != spatial[len(spatial) - (outputs.ndim - 1) :]:
        raise GvtzooError(f"{name}: source {spatial} and target {outputs.shape[1:]} differ in size")
    measured = (inputs, outputs)
    if recipe.normalization.before_resampling:
        # Splines are linear and keep constants: normalizing then is normalizing before, save for
        # where the statistics are taken.
        measured = (named_source.to_numpy(), named_target.to_numpy())
    source_fit, target_fit = fit_normalizations(*measured, recipe.normalization)
    return PairedImage(
        name,
        calibration(source, data),
        cut_region(inputs, split, data),
        cut_region(outputs, split, data),
        source_fit,
        target_fit,
        files,
    )


@contextmanager
def _called(role: str) -> Iterator[None]:
    """Say of which of the two images a message is."""
    try:
        yield
    except GvtzooError as error:
        raise GvtzooError(f"{role} {error}") from error


def check_voxel_sizes(name: str, source: xr.DataArray, target: xr.DataArray) -> None:
    """Warn of a source and a target that say that their voxels are not of the same size.

    Parameters
    ----------
    name : str
        Of the pair.
    source, target : DataArray
        With ``pixel_size`` and ``unit`` where the files tell.
    """
    first, second = (_sizes(image) for image in (source, target))
    for axis in sorted(first.keys() & second.keys()):
        if abs(first[axis] / second[axis] - 1) > SAME:
            log.warning(
                "%s: along %s the source's voxels measure %.4g µm and the target's %.4g µm: they "
                "are taken for the same places, voxel by voxel; is the target another image?",
                name,
                axis,
                first[axis],
                second[axis],
            )
            return


def _sizes(image: xr.DataArray) -> dict[str, float]:
    """Voxel sizes along z, y and x in µm, as far as they are known."""
    factor = micrometers(image.attrs.get("unit"))
    if factor is None:
        return {}
    known = image.attrs.get("pixel_size") or {}
    return {axis: size * factor for axis, size in known.items() if axis in "zyx"}


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

    Parameters
    ----------
    image : DataArray
    channels : int
        That the network takes.
    dimensions : {2, 3}
        Spatial axes that it takes.
    data : DataConfig
        Of the recipe.

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

    Parameters
    ----------
    image : DataArray
    channels : int
        That the network takes.
    dimensions : {2, 3}
        Spatial axes that it takes.
    planes_as_channels : bool
        Whether a stack's planes are the channels.

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


def fit_normalizations(
    source: np.ndarray, target: np.ndarray, normalization: NormalizationConfig
) -> tuple[FittedNormalization, FittedNormalization]:
    """Offset and scale of a source image and of its target.

    Parameters
    ----------
    source, target : ndarray
        (channel, (z,) y, x).
    normalization : NormalizationConfig
    """
    source_fit = normalization.source.fit(source)
    return source_fit, fit_target(source, target, source_fit, normalization)


def fit_target(
    source: np.ndarray,
    target: np.ndarray,
    source_fit: FittedNormalization,
    normalization: NormalizationConfig,
) -> FittedNormalization:
    """Offset and scale of a target image, whose source has `source_fit`.

    Parameters
    ----------
    source, target : ndarray
        (channel, (z,) y, x).
    source_fit : FittedNormalization
    normalization : NormalizationConfig
    """
    if normalization.target == "as_source":
        return normalization.of_prediction(source_fit)
    if normalization.target == "fitted":
        units = fit_units(source, target)
        return NormalizationConfig(
            target="as_source", target_units=TargetUnits(gain=units.gain, offset=units.offset)
        ).of_prediction(source_fit)
    return normalization.target.fit(target)


def cut_region(array: np.ndarray, split: Split, data: DataConfig) -> np.ndarray:
    """The part of an image (channel, …) that belongs to a split.

    Parameters
    ----------
    array : ndarray
        (channel, (z,) y, x).
    split : {"train", "val", "test"}
    data : DataConfig
        Of the recipe.

    Raises
    ------
    GvtzooError
        When nothing of the image lies in it.
    """
    if data.regions is None:
        return array
    region = data.regions.get(split, {})
    part = array[region_box(region, array.ndim - 1)]
    if part.size == 0:
        size = "×".join(map(str, array.shape[1:]))
        where = ", ".join(f"{axis} {first} to {last}" for axis, (first, last) in region.items())
        raise GvtzooError(
            f"nothing of an image of {size} voxels lies in the recipe's region for {split}, "
            f"{where}: for images of your own, --set data.regions=null"
        )
    return part


def region_box(region: Region, dimensions: int) -> Box:
    """Slices of (channel, (z,) y, x) for a recipe's region."""
    axes: Sequence[Literal["z", "y", "x"]] = ("z", "y", "x")
    spatial = axes[-dimensions:]
    return (slice(None), *(slice(*region.get(axis, (None, None))) for axis in spatial))
