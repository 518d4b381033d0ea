"""Images of which only the parts that are asked for are read.

`View` rearranges an array on disk without reading it; `pieces` goes over an array of any size, a
part at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError

PIECE = 2**22  # voxels that are looked at at a time

Box = tuple[slice, ...]


@dataclass(frozen=True)
class View:
    """An array with its axes in another order, some of them at one index, some of them new.

    Attributes
    ----------
    array : array-like
        With a shape and a dtype; only boxes (one slice per axis) are read of it.
    axes : tuple of (int or None)
        The axis of `array` behind each axis of the view; None for a new one of size 1.
    fixed : tuple of (int, int)
        Axes of `array` that the view does not have, and the index that is taken of each.
    """

    array: Any
    axes: tuple[int | None, ...]
    fixed: tuple[tuple[int, int], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the view's axes; 1 along new ones."""
        return tuple(1 if axis is None else int(self.array.shape[axis]) for axis in self.axes)

    @property
    def ndim(self) -> int:
        """How many axes the view has."""
        return len(self.axes)

    @property
    def size(self) -> int:
        """How many values the view has."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """The array's type, in native byte order."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is stored together, or the whole where everything is."""
        stored = getattr(self.array, "chunks", None) or self.array.shape
        return tuple(1 if axis is None else int(stored[axis]) for axis in self.axes)

    @property
    def in_memory(self) -> bool:
        """Whether the array is a NumPy array, and not one that is mapped from a file."""
        if isinstance(self.array, View):
            return self.array.in_memory
        return isinstance(self.array, np.ndarray) and not isinstance(self.array, np.memmap)

    def __getitem__(self, box: Box) -> np.ndarray:
        wanted = [slice(0, 1)] * len(self.array.shape)
        for number, index in self.fixed:
            wanted[number] = slice(index, index + 1)
        for axis, part in zip(self.axes, box, strict=True):
            if axis is not None:
                wanted[axis] = part
        values = np.asarray(self.array[tuple(wanted)])
        kept = [axis for axis in self.axes if axis is not None]
        values = values.transpose([number for number, _ in self.fixed] + kept)
        sizes = iter(values.shape[len(self.fixed) :])
        shape = [1 if axis is None else next(sizes) for axis in self.axes]
        return values.reshape(shape).astype(self.dtype, copy=False)

    def load(self) -> np.ndarray:
        """All of it."""
        return self[whole(self.shape)]


@dataclass(frozen=True)
class Crop:
    """A box of an array, as an array of its own."""

    array: Any
    box: Box

    @staticmethod
    def of(array: Any, box: Box) -> Any:
        """A box of any array; of a NumPy array, a view of it."""
        return array[box] if isinstance(array, np.ndarray) else Crop(array, box)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the box."""
        return tuple(part.stop - part.start for part in self.box)

    @property
    def dtype(self) -> np.dtype:
        """The array's type."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """The whole array's chunks, or its shape where it has none."""
        return tuple(getattr(self.array, "chunks", None) or self.array.shape)

    def __getitem__(self, box: Box) -> np.ndarray:
        wanted = tuple(
            slice(own.start + start, own.start + stop)
            for own, (start, stop, _) in zip(
                self.box,
                (part.indices(size) for part, size in zip(box, self.shape, strict=True)),
                strict=True,
            )
        )
        return np.asarray(self.array[wanted])


@dataclass(frozen=True)
class LazyImage:
    """An image with named axes that stays where it is.

    Attributes
    ----------
    array : array-like
        As in `View`.
    dims : tuple of str
        Out of ``tpczyx``, one per axis.
    name : str
    pixel_size : dict of str to float
        Of z, y, x in `unit`, of t in seconds, as far as it is known.
    unit : str
    channels : list of str
        Their names, or nothing.
    origin : dict
        Where the first voxel's centre lies along z, y and x, in `unit`, and t, in seconds; axes
        along which it lies at 0 are left out.
    fit : str
        Of a prediction: whether the image fits the model's training images; else empty.
    """

    array: Any
    dims: tuple[str, ...]
    name: str = ""
    pixel_size: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    channels: list[str] = field(default_factory=list)
    origin: dict[str, float] = field(default_factory=dict)
    fit: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Voxels along each axis."""
        return dict(zip(self.dims, map(int, self.array.shape), strict=True))

    @staticmethod
    def of(image: xr.DataArray) -> LazyImage:
        """The same, of an image in memory."""
        return LazyImage(
            image.values,
            tuple(map(str, image.dims)),
            str(image.name or ""),
            dict(image.attrs.get("pixel_size") or {}),
            str(image.attrs.get("unit") or ""),
            [str(name) for name in image.coords["c"].values] if "c" in image.coords else [],
            dict(image.attrs.get("origin") or {}),
            str(image.attrs.get("fit") or ""),
        )

    def add_axis(self, axis: str, number: int) -> LazyImage:
        """The image with an axis of size 1 before the one of this number."""
        axes: list[int | None] = list(range(len(self.dims)))
        axes.insert(number, None)
        dims = (*self.dims[:number], axis, *self.dims[number:])
        return replace(self, array=View(self.array, tuple(axes)), dims=dims)

    def rename(self, axis: str, name: str) -> LazyImage:
        """The image with another name of an axis."""
        return replace(
            self,
            dims=tuple(name if dim == axis else dim for dim in self.dims),
            pixel_size=_without(self.pixel_size, axis),
            origin=_without(self.origin, axis),
        )

    def take(self, axis: str, index: int) -> LazyImage:
        """The image at one index of an axis, without the axis."""
        number = self.dims.index(axis)
        others = tuple(n for n in range(len(self.dims)) if n != number)
        return replace(
            self,
            array=View(self.array, others, ((number, index),)),
            dims=tuple(self.dims[n] for n in others),
            pixel_size=_without(self.pixel_size, axis),
            channels=[] if axis == "c" else self.channels,
            origin=_without(self.origin, axis),
        )

    def crop(self, region: Mapping[str, slice]) -> LazyImage:
        """The part of the image that lies between a start and a stop along some axes."""
        box = tuple(region.get(axis, slice(0, size)) for axis, size in self.sizes.items())
        return replace(self, array=Crop.of(self.array, box), origin=self.origin_of(region))

    def origin_of(self, region: Mapping[str, slice]) -> dict[str, float]:
        """`origin` of a part of the image."""
        shifts = {
            axis: part.start * self.pixel_size.get(axis, 1.0)
            for axis, part in region.items()
            if axis in "tzyx"
        }
        moved = {
            axis: self.origin.get(axis, 0.0) + shifts.get(axis, 0.0)
            for axis in {**self.origin, **shifts}
        }
        return {axis: place for axis, place in moved.items() if place}

    def load(self) -> xr.DataArray:
        """All of it, in native byte order.

        Raises
        ------
        GvtzooError
            When it does not fit the memory.
        """
        try:
            values = View(self.array, tuple(range(len(self.dims)))).load()
        except MemoryError as error:
            raise GvtzooError(
                f"{self.name} ({'×'.join(map(str, self.sizes.values()))}) does not fit the memory"
            ) from error
        attributes: dict[str, Any] = {"pixel_size": dict(self.pixel_size), "unit": self.unit}
        if self.origin:
            attributes["origin"] = dict(self.origin)
        image = labelled(values, self.dims, attributes, self.name)
        labels = self.channels
        if labels and image.sizes.get("c") == len(labels) == len(set(labels)):
            image = image.assign_coords(c=labels)
        return image


def labelled(
    values: np.ndarray,
    dims: Sequence[str],
    attrs: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> xr.DataArray:
    """An array with names of its axes.

    Of a `Variable` that is taken as it is: xarray would import Dask, and with it half of SciPy, to
    see whether the values are one of its arrays. (``to_numpy`` imports pint so; ``values`` does
    not.)

    Parameters
    ----------
    values : ndarray
    dims : sequence of str
        One name for each axis.
    attrs : mapping, optional
        Such as ``pixel_size`` and ``unit``.
    name : str, optional
    """
    return xr.DataArray(xr.Variable(dims, values, attrs, fastpath=True), name=name)


def _without(values: Mapping[str, float], axis: str) -> dict[str, float]:
    return {key: value for key, value in values.items() if key != axis}


def pieces(array: Any, voxels: int = PIECE) -> Iterator[np.ndarray]:
    """The values of an array, some at a time, each once.

    Parameters
    ----------
    array : array-like
        As in `View`. What is stored in chunks is read in whole chunks.
    voxels : int
        About how many at a time.
    """
    if hasattr(array, "pieces"):  # it knows best which of its values count
        yield from array.pieces(voxels)
        return
    if isinstance(array, np.ndarray):
        flat = array.reshape(-1)
        yield from (flat[start : start + voxels] for start in range(0, flat.size, voxels))
        return
    for box in boxes(array.shape, piece_sizes(array.shape, array.chunks, voxels)):
        yield array[box]


def piece_sizes(shape: Sequence[int], chunks: Sequence[int], voxels: int) -> tuple[int, ...]:
    """Sizes of the pieces: whole chunks, as many as `voxels` hold, but at least one.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    chunks : sequence of int
        Of its file, along the same axes.
    voxels : int
        That a piece may have.
    """
    sizes = [min(c, s) for c, s in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(sizes))):
        most = max(1, voxels // max(1, math.prod(sizes)))
        sizes[axis] = min(shape[axis], sizes[axis] * most)
    return tuple(sizes)


def boxes(shape: Sequence[int], size: Sequence[int]) -> Iterator[Box]:
    """Boxes of a size that cover a shape without overlap, smaller at the end."""
    starts = [range(0, whole, max(1, part)) for whole, part in zip(shape, size, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(c, min(c + part, whole))
            for c, part, whole in zip(corner, size, shape, strict=True)
        )


def whole(shape: Sequence[int]) -> Box:
    """The box that is all of an array."""
    return tuple(slice(0, size) for size in shape)
