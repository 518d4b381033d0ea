"""Layers as images with axes and voxel sizes, and back.

Layers are taken as they are: only `data`, `scale`, `units`, `axis_labels`, `translate`,
`multiscale`, `rgb` and `name` are asked for, so nothing here needs a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import MICROMETER, length_unit
from gvtzoo.images.lazy import Box, LazyImage
from gvtzoo.prediction.part import PLANES, SIDE, around

AXES = "tpczyx"
AXES_BY_COUNT = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx", 6: "tpczyx"}


class Layer(Protocol):
    """What is asked of a layer of napari."""

    name: str
    data: Any
    scale: Any
    translate: Any


@dataclass(frozen=True)
class Boxes:
    """An array on disk or of dask, of which only boxes are read.

    Attributes
    ----------
    array : array-like
        With a shape and a dtype.
    """

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the array's axes."""
        return tuple(map(int, self.array.shape))

    @property
    def ndim(self) -> int:
        """How many axes the array has."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """The type of its values."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The first chunk's size along each axis; all of the array where there are none."""
        stored = getattr(self.array, "chunks", None) or self.shape
        return tuple(int(size[0] if isinstance(size, tuple) else size) for size in stored)

    def __getitem__(self, box: Box) -> np.ndarray:
        return np.asarray(self.array[box])


def guess_axes(layer: Layer) -> str:
    """The layer's own names of its axes, where they are ours; else by their number."""
    return name_axes(getattr(layer, "axis_labels", ()), _array(layer).ndim)


def name_axes(labels: Sequence[Any], count: int) -> str:
    """A layer's labels of its axes, where they are ours; else what so many axes mostly are."""
    names = [str(label).lower() for label in labels]
    if len(names) == count and set(names) <= set(AXES) and len(set(names)) == len(names):
        return "".join(names)
    return AXES_BY_COUNT.get(count, "")


def image_of(layer: Layer, axes: str = "", channel: int | None = None) -> LazyImage:
    """A layer's values, which stay where they are, with axes, voxel size and unit.

    Parameters
    ----------
    layer : napari.layers.Image
    axes : str
        Such as ``"TZYX"``; by default those of `guess_axes`.
    channel : int, optional
        That is taken of axis ``c``; by default all.

    Raises
    ------
    GvtzooError
        When the layer is a colour image, or the axes do not fit it.
    """
    array = _array(layer)
    if getattr(layer, "rgb", False):
        raise GvtzooError(f"{layer.name} is a colour image: split it into channels (Layer menu)")
    names = (axes or guess_axes(layer)).lower()
    wrong = set(names) - set(AXES)
    if wrong or len(set(names)) < len(names) or not {"y", "x"} <= set(names):
        raise GvtzooError(f"axes {axes.upper()!r}: use each of TPCZYX at most once, Y and X always")
    if len(names) != array.ndim:
        raise GvtzooError(
            f"{layer.name} has {array.ndim} axes of sizes {tuple(array.shape)}: name so many, "
            f"not {names.upper()}"
        )
    sizes, unit = voxel_size(layer.scale, getattr(layer, "units", ()), names)
    image = LazyImage(array, tuple(names), layer.name, sizes, unit)
    if channel is None or "c" not in names:
        return image
    if not 0 <= channel < image.sizes["c"]:
        raise GvtzooError(f"{layer.name} has {image.sizes['c']} channels: there is no {channel}")
    return image.take("c", channel)


def voxel_size(
    scale: Sequence[float], units: Sequence[Any], axes: str
) -> tuple[dict[str, float], str]:
    """Of z, y, x in a unit, of t in seconds; nothing where a layer has no scale.

    A scale without a unit, which is how most readers leave it, is taken to be in micrometers.

    Parameters
    ----------
    scale : sequence of float
        Of a layer, one for each axis.
    units : sequence
        One for each axis, as text or pint's; empty where there are none.
    axes : str
        Lower case, such as ``tzyx``.

    Returns
    -------
    sizes : dict of str to float
        By axis.
    unit : str
        Of z, y, x; empty where there is no scale.
    """
    sizes = dict(zip(axes, map(float, scale), strict=True))
    named = dict(zip(axes, map(str, units or ["pixel"] * len(axes)), strict=True))
    known = {axis: sizes[axis] for axis in "zyx" if axis in sizes}
    if all(size == 1 for size in known.values()) and named["x"] == "pixel":
        return {}, ""
    unit = MICROMETER if named["x"] == "pixel" else length_unit(named["x"])
    if named.get("t") in ("second", "s"):
        known["t"] = sizes["t"]
    return known, unit


def is_lazy(image: LazyImage) -> bool:
    """Whether its values are read in parts."""
    array = image.array
    while not isinstance(array, Boxes | np.ndarray):
        array = array.array  # of a View
    return isinstance(array, Boxes)


def visible_region(
    image: LazyImage,
    corners: np.ndarray,
    step: Sequence[int],
    displayed: Sequence[int],
    *,
    spatial: Sequence[str],
    whole: Sequence[str] = (),
    planes: int = PLANES,
    side: int = SIDE,
) -> dict[str, slice]:
    """The part of an image that is on the screen, and not more than a preview takes.

    Parameters
    ----------
    image : LazyImage
    corners : ndarray, shape (2, axes)
        First and last voxel that is seen, as `corner_pixels` of a layer.
    step : sequence of int
        Where the sliders stand, one per axis.
    displayed : sequence of int
        The axes that are on the screen.
    spatial : sequence of str
        Axes that the network sees; of others the part at the slider is taken.
    whole : sequence of str
        Axes that have to be taken whole, such as the z of a projection.
    planes, side : int
        At most so many voxels along z, and along y and x.
    """
    region = {}
    for number, (axis, size) in enumerate(image.sizes.items()):
        most = planes if axis == "z" else side
        if axis in whole:
            region[axis] = slice(0, size)
        elif axis not in spatial:
            at = min(max(int(step[number]), 0), size - 1)
            region[axis] = slice(at, at + 1)
        elif number in displayed and corners[1][number] > corners[0][number]:
            seen = (int(corners[0][number]), int(corners[1][number]) + 1)
            region[axis] = around(sum(seen) // 2, min(most, seen[1] - seen[0]), size)
        else:
            middle = size // 2 if number in displayed else int(step[number])
            region[axis] = around(middle, most, size)
    return region


def layer_of(
    result: xr.DataArray | LazyImage,
    name: str,
    source: Layer,
    axes: str,
    region: Mapping[str, slice] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Values and settings of the layer that a prediction becomes, at its source's place.

    Parameters
    ----------
    result : DataArray or LazyImage
    name : str
    source : layer
    axes : str
        Of the source.
    region : mapping of axis to slice, optional
        The part of the source that was predicted.
    """
    dims = [str(axis) for axis in result.dims]
    scale = dict(zip(axes, map(float, source.scale), strict=True))
    moved = dict(zip(axes, map(float, source.translate), strict=True))
    units = dict(zip(axes, getattr(source, "units", None) or ["pixel"] * len(axes), strict=True))
    starts = {axis: part.start for axis, part in (region or {}).items()}
    values = result.to_numpy() if isinstance(result, xr.DataArray) else lazily(result)
    settings = {
        "name": name,
        "scale": [scale.get(axis, 1.0) for axis in dims],
        "translate": [
            moved.get(axis, 0.0) + scale.get(axis, 1.0) * starts.get(axis, 0) for axis in dims
        ],
        "units": [units.get(axis, "pixel") for axis in dims],
        "axis_labels": tuple(dims),
    }
    return values, settings


def lazily(image: LazyImage) -> Any:
    """A dask array that reads an image's chunks as they are looked at."""
    import dask.array

    boxes = _Sliced(image.array)
    return dask.array.from_array(boxes, chunks=boxes.chunks, name=False)


@dataclass(frozen=True)
class _Sliced(Boxes):
    """With slices as dask asks for them, that may lack their ends."""

    def __getitem__(self, box: Any) -> np.ndarray:
        full = tuple(slice(*part.indices(size)) for part, size in zip(box, self.shape, strict=True))
        return np.asarray(self.array[full])


def _array(layer: Layer) -> Any:
    data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    in_memory = isinstance(data, np.ndarray) and not isinstance(data, np.memmap)
    return data if in_memory else Boxes(data)
