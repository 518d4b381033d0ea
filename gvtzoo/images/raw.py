"""Arrays that lie in a file as they are, uncompressed: npy files, and most TIFFs.

Boxes are read and written run by run, so that no more of the file is ever in memory than the box.
(A mapped file counts as the process's memory, and as much as has been touched of it.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import Box


@dataclass(frozen=True)
class RawArray:
    """An array of planes that each are stored in C order, somewhere in a file.

    Attributes
    ----------
    path : Path
    shape : tuple of int
    dtype : dtype
        With the byte order of the file.
    offsets : tuple of int
        Where each plane begins, in bytes. The first axes of `shape` count the planes; a single
        plane is the whole array.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    offsets: tuple[int, ...]

    @property
    def chunks(self) -> tuple[int, ...]:
        """A row: any part can be read by itself."""
        return (1,) * (len(self.shape) - 1) + self.shape[-1:]

    def __getitem__(self, box: Box) -> np.ndarray:
        values = np.empty([part.stop - part.start for part in box], self.dtype)
        if values.size == 0:
            return values
        with self.path.open("rb", buffering=0) as file:
            for place, run in zip(*self._runs(box, values), strict=True):
                file.seek(place)
                if not _fill(file, run.data.cast("B")):
                    raise GvtzooError(f"{self.path.name} ends within its pixels: copy it again")
        return values

    def __setitem__(self, box: Box, values: Any) -> None:
        part = np.ascontiguousarray(values, self.dtype)
        if part.size == 0:
            return
        with self.path.open("r+b", buffering=0) as file:
            for place, run in zip(*self._runs(box, part), strict=True):
                file.seek(place)
                _drain(file, run.data.cast("B"))

    @property
    def _plane_axes(self) -> int:
        """How many axes count the planes."""
        counted = 0
        while math.prod(self.shape[:counted]) < len(self.offsets):
            counted += 1
        return counted

    def _runs(self, box: Box, values: np.ndarray) -> tuple[list[int], Iterator[np.ndarray]]:
        """Where in the file the box's contiguous runs begin, and the same parts of `values`."""
        planes = self._plane_axes
        # From `inner` on everything is read in full, so that it is one run.
        inner = len(self.shape) - 1
        while inner > planes and box[inner] == slice(0, self.shape[inner]):
            inner -= 1
        inner = max(inner, planes)
        strides = [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        items = np.zeros(1, np.int64)
        for axis in range(planes, min(inner + 1, len(self.shape))):
            # Of the innermost axis only the beginning counts.
            indices = np.arange(box[axis].start, box[axis].stop)[: 1 if axis == inner else None]
            items = (items[:, None] + indices * strides[axis]).ravel()
        numbers = np.zeros(1, np.int64)
        for axis in range(planes):
            indices = np.arange(box[axis].start, box[axis].stop)
            numbers = (numbers[:, None] * self.shape[axis] + indices).ravel()
        offsets = np.asarray(self.offsets, np.int64)[numbers]
        places = (offsets[:, None] + items * self.dtype.itemsize).ravel()
        return places.tolist(), iter(values.reshape(len(places), -1))


def _fill(file: Any, target: memoryview) -> bool:
    """Read until `target` is full; False when the file ends before."""
    while len(target):
        count = file.readinto(target)
        if not count:
            return False
        target = target[count:]
    return True


def _drain(file: Any, source: memoryview) -> None:
    while len(source):
        source = source[file.write(source) :]
