"""Files to layers and back, with axes, voxel size and unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import IMAGE_SUFFIXES, find_images, open_image, write_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.napari.layers import lazily, name_axes, voxel_size

LayerData = tuple[Any, dict[str, Any], str]
LARGEST = 2**28  # bytes that are read at once; more is read as it is looked at


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """napari's hook: what opens these files, or None where gvtzoo cannot."""
    paths = [path] if isinstance(path, str) else path
    try:
        found = [image for one in paths for image in find_images(one)]
    except GvtzooError:
        return None
    known = all(image.suffix.lower() in IMAGE_SUFFIXES for image in found)
    return read_layers if known else None


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Layers of images, small ones in memory."""
    paths = [path] if isinstance(path, str) else path
    found = [image for one in paths for image in find_images(one)]
    return [image_layer(open_image(image, keep_channels=True)) for image in found]


def image_layer(image: LazyImage | xr.DataArray, name: str = "") -> LayerData:
    """An image as a layer, with its voxel size as scale and unit."""
    if isinstance(image, xr.DataArray):
        image = LazyImage.of(image)
    dims = image.dims
    sizes = {axis: image.pixel_size.get(axis, 1.0) for axis in dims}
    values = image.array
    size = values.dtype.itemsize * math.prod(image.sizes.values())
    values = image.load().to_numpy() if size <= LARGEST else lazily(image)
    unit = {axis: image.unit or "pixel" for axis in "zyx" if axis in image.pixel_size}
    if "t" in image.pixel_size:
        unit["t"] = "second"
    settings: dict[str, Any] = {
        "name": name or image.name,
        "scale": [sizes[axis] for axis in dims],
        "units": [unit.get(axis, "pixel") for axis in dims],
        "axis_labels": dims,
    }
    return values, settings, "image"


def write_layer(path: str, data: Any, settings: dict[str, Any]) -> list[str]:
    """napari's hook: write a layer's values with its axes, voxel size and unit.

    Parameters
    ----------
    path : str
    data : array-like
        Of the layer; of one with several levels, a list that begins with the finest.
    settings : dict
        What napari tells of the layer: ``scale`` (per axis), and where it has them ``units``,
        ``axis_labels``, ``name`` and ``multiscale``.

    Returns
    -------
    list of str
        The one file that was written.

    Raises
    ------
    GvtzooError
        When the file cannot be written.
    """
    values = np.asarray(data[0] if settings.get("multiscale") else data)
    axes = name_axes(settings.get("axis_labels") or (), values.ndim)
    sizes, unit = voxel_size(settings["scale"], settings.get("units") or (), axes)
    image = xr.DataArray(
        values,
        dims=tuple(axes),
        name=str(settings.get("name") or ""),
        attrs={"pixel_size": sizes, "unit": unit},
    )
    write_image(path, image, overwrite=True)  # napari has asked
    return [path]
