"""Small parts of an image, to look at a prediction before all of it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import xarray as xr

from gvtzoo.images.lazy import LazyImage

PLANES = 16  # along z
SIDE = 256  # voxels along y and x


class HasAxes(Protocol):
    """A model, of which only the axes are asked for."""

    @property
    def axes(self) -> tuple[str, ...]: ...

    @property
    def output_axes(self) -> tuple[str, ...]: ...


def crop(image: LazyImage, region: Mapping[str, slice]) -> xr.DataArray:
    """A part of an image, which alone is read.

    Parameters
    ----------
    image : LazyImage
    region : mapping of axis to slice
        Axes that are not in it are taken whole.
    """
    box = tuple(region.get(axis, slice(0, size)) for axis, size in image.sizes.items())
    return replace(image, array=np.asarray(image.array[box])).load()


def around(middle: int, length: int, size: int) -> slice:
    """So many voxels around one, or fewer where the axis has not as many."""
    length = min(length, size)
    start = min(max(middle - length // 2, 0), size - length)
    return slice(start, start + length)


def uncut_axes(model: HasAxes) -> tuple[str, ...]:
    """Axes that a part may not cut: z of a projection, or planes that are channels."""
    if "z" in model.axes and "z" not in model.output_axes:
        return ("z",)
    return ("c", "z") if "c" in model.axes and "z" not in model.axes else ()


def middle_part(image: LazyImage, model: HasAxes) -> dict[str, slice]:
    """A region in the middle of an image that a model predicts in seconds.

    Along axes that the network does not see, such as time, it is the middle one.
    """
    region = {}
    for axis, size in image.sizes.items():
        if axis in uncut_axes(model):
            region[axis] = slice(0, size)
        elif axis in model.axes:
            region[axis] = around(size // 2, PLANES if axis == "z" else SIDE, size)
        else:
            region[axis] = around(size // 2, SIDE if axis in "yx" else 1, size)
    return region
