"""What the network sees of an image, and where its results go, tile by tile.

image → `View` of one time and position → `NormalizedInput`: normalized, padded → network
      → `DenormalizedWriter`: cropped, normalization undone → `Target`, the place in the output
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from gvtzoo.images.lazy import Box, View, whole
from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.images.padding import padding_widths


@dataclass(frozen=True)
class NormalizedInput:
    """A frame (channel, (z,) y, x), normalized and padded by reflection where it is read.

    Attributes
    ----------
    frame : View
    normalization : FittedNormalization
    multiple : tuple of int
        (z,) y, x that sizes are padded to multiples of.
    wanted : tuple of slice, optional
        What of the frame, (z,) y, x, is predicted; by default all.
    """

    frame: View
    normalization: FittedNormalization
    multiple: tuple[int, ...]
    wanted: Box | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(channel, (z,) y, x) of what is predicted, with the padding."""
        return tuple(len(voxels) for voxels in self._voxels)

    @property
    def crop(self) -> Box:
        """The place, (z,) y, x, of what is predicted in the padded image."""
        return tuple(
            slice(before + part.start, before + part.stop)
            for part, (before, _) in zip(
                self.wanted or whole(self.frame.shape[1:]), self._widths[1:], strict=True
            )
        )

    def __getitem__(self, box: Box) -> np.ndarray:
        wanted = [voxels[part] for voxels, part in zip(self._voxels, box, strict=True)]
        read = tuple(slice(int(v.min()), int(v.max()) + 1) for v in wanted)
        values = self.frame[read]
        if values.shape != tuple(map(len, wanted)) or any(np.any(np.diff(v) < 0) for v in wanted):
            values = values[np.ix_(*(v - r.start for v, r in zip(wanted, read, strict=True)))]
        normalized = np.asarray(self.normalization.apply(values))
        if values.dtype.kind == "f":
            np.nan_to_num(normalized, copy=False, nan=0.0)  # holes: as dark, or as the mean
        return normalized

    @cached_property
    def _widths(self) -> list[tuple[int, int]]:
        return padding_widths(self.frame.shape, (1, *self.multiple))

    @cached_property
    def _voxels(self) -> list[np.ndarray]:
        """For every voxel along each axis, that of the frame which it repeats."""
        return [
            np.pad(np.arange(size), widths, mode="reflect")
            for size, widths in zip(self.frame.shape, self._widths, strict=True)
        ]


@dataclass(frozen=True)
class DenormalizedWriter:
    """Takes the network's output for a padded frame: crops it, and undoes the normalization.

    Attributes
    ----------
    target : Target or ndarray
        For (channel, (z,) y, x) of the region's size.
    region : tuple of slice
        The place of what is predicted, the frame or a part of it, in what the network sees.
    shape : tuple of int
        Of the network's output.
    normalization : FittedNormalization, optional
        To be undone.
    kind : {"values", "widths"}
        σ is a width: it is scaled, but not shifted.
    factor : float
        That widths are multiplied with.
    holes : View, optional
        The frame, where it may have NaN: there, the output has, too.
    """

    target: Any
    region: Box
    shape: tuple[int, ...]
    normalization: FittedNormalization | None
    kind: Literal["values", "widths"] = "values"
    factor: float = 1.0
    holes: View | None = None

    def __setitem__(self, box: Box, values: np.ndarray) -> None:
        inside = [
            slice(max(b.start, r.start), min(b.stop, r.stop))
            for b, r in zip(box[1:], self.region, strict=True)
        ]
        kept = [
            slice(i.start - b.start, i.stop - b.start) for i, b in zip(inside, box[1:], strict=True)
        ]
        place = [
            slice(i.start - r.start, i.stop - r.start)
            for i, r in zip(inside, self.region, strict=True)
        ]
        values = values[(slice(None), *kept)]
        if self.kind == "widths" and self.factor != 1:
            values = values * np.float32(self.factor)
        if self.normalization is not None:
            undo = self.normalization
            values = (
                undo.denormalize(values)
                if self.kind == "values"
                else undo.denormalize_scale(values)
            )
        if self.holes is not None:
            hole = np.isnan(self.holes[(slice(0, self.holes.shape[0]), *place)]).any(axis=0)
            if hole.any():
                values = np.where(hole, np.float32(np.nan), values)
        self.target[(slice(0, len(values)), *place)] = values


@dataclass(frozen=True)
class Target:
    """One time and position of an output, as (channel, (z,) y, x); the reverse of `View`.

    Attributes
    ----------
    array : array-like
        The whole output; only boxes of it are written.
    axes : tuple of (int or None)
        The axis of `array` behind each axis of the target; None where the output has none.
    fixed : tuple of (int, int)
        The other axes of `array`, and the index along each.
    """

    array: Any
    axes: tuple[int | None, ...]
    fixed: tuple[tuple[int, int], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(channel, (z,) y, x); 1 along axes that the output does not have."""
        return tuple(1 if axis is None else int(self.array.shape[axis]) for axis in self.axes)

    def __setitem__(self, box: Box, values: np.ndarray) -> None:
        place = [slice(0, 1)] * len(self.array.shape)
        for number, index in self.fixed:
            place[number] = slice(index, index + 1)
        for axis, part in zip(self.axes, box, strict=True):
            if axis is not None:
                place[axis] = part
        new = tuple(number for number, axis in enumerate(self.axes) if axis is None)
        kept = [axis for axis in self.axes if axis is not None]
        values = np.squeeze(values, axis=new)
        values = values.transpose(np.argsort(kept))
        self.array[tuple(place)] = np.expand_dims(values, tuple(n for n, _ in self.fixed))


@dataclass(frozen=True)
class Clipped:
    """A target of a frame's size, of which only the part that is wanted is kept.

    Attributes
    ----------
    target : Target or ndarray
        For (channel, (z,) y, x) of the region's size.
    region : tuple of slice
        The place of what is wanted in the frame.
    size : tuple of int
        Of the frame, (z,) y, x.
    """

    target: Any
    region: Box
    size: tuple[int, ...]

    @staticmethod
    def of(target: Any, wanted: Box, frame: View) -> Clipped:
        """For a frame (channel, (z,) y, x); a projection's target has no z.

        Parameters
        ----------
        target : Target or ndarray
            For what is wanted.
        wanted : tuple of slice
            The region in the frame, (z,) y, x.
        frame : View
        """
        axes = len(target.shape) - 1
        return Clipped(target, wanted[-axes:], frame.shape[-axes:])

    @property
    def shape(self) -> tuple[int, ...]:
        """The target's channels, and the frame's (z,) y, x."""
        return (self.target.shape[0], *self.size)

    def __setitem__(self, box: Box, values: np.ndarray) -> None:
        values = np.broadcast_to(values, tuple(b.stop - b.start for b in box))
        part, place = [], []
        for b, r in zip(box[1:], self.region, strict=True):
            start, stop = max(b.start, r.start), min(b.stop, r.stop)
            if start >= stop:
                return
            part.append(slice(start - b.start, stop - b.start))
            place.append(slice(start - r.start, stop - r.start))
        self.target[(box[0], *place)] = values[(slice(None), *part)]


def frames_of(
    array: Any, dims: Sequence[str], axes: Sequence[str], looped: Sequence[str]
) -> list[View]:
    """All of an image that the network sees at once, for every time and position.

    Parameters
    ----------
    array : array-like
    dims : sequence of str
        Of the image.
    axes : sequence of str
        Of the network's input.
    looped : sequence of str
        The others.

    Returns
    -------
    list of View
        (channel, (z,) y, x) each.
    """
    return [View(array, *place) for place in places(array.shape, dims, axes, looped)]


def targets_of(
    array: Any, dims: Sequence[str], axes: Sequence[str], looped: Sequence[str]
) -> list[Target]:
    """Where the results of `frames_of` go.

    Parameters
    ----------
    array : array
        Of the output.
    dims : sequence of str
        Its axes.
    axes : sequence of str
        Of the network's output.
    looped : sequence of str
        Those that the network does not see.
    """
    return [Target(array, *place) for place in places(array.shape, dims, axes, looped)]


def places(
    shape: Sequence[int], dims: Sequence[str], axes: Sequence[str], looped: Sequence[str]
) -> list[tuple[tuple[int | None, ...], tuple[tuple[int, int], ...]]]:
    """`axes` and `fixed` of the frames of an image, the last looped axis changing fastest.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    dims : sequence of str
        Its axes.
    axes : sequence of str
        Those that the network sees, in its order.
    looped : sequence of str
        Those that it does not see.
    """
    wanted = axes if "c" in axes else ("c", *axes)
    numbers = tuple(dims.index(axis) if axis in dims else None for axis in wanted)
    outer = [dims.index(axis) for axis in looped]
    return [
        (numbers, tuple(zip(outer, map(int, index), strict=True)))
        for index in np.ndindex(*(shape[number] for number in outer))
    ]
