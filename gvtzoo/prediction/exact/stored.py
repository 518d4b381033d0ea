"""Feature maps that are kept in a file, tile after tile.

Each tile is one block of the file, as C arrays are: (channel, (z,) y, x) in float32. Files are read
and written, not mapped, for pages of a mapped file count as memory of the process. A tile begins
at a page of its own, so that several processes write at once, over a network's file system too.
"""

from __future__ import annotations

import math
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import pairwise, product
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.prediction.exact.maps import Box, Sizes

PAGE = 4096  # bytes
ITEM = np.dtype(np.float32).itemsize


class File(Protocol):
    """Where a map's tiles are."""

    def opened(self) -> AbstractContextManager[FileIO]:
        """The file, to be read and written without a buffer."""


class NamedFile:
    """A file that outlives the process, and that others open too.

    Parameters
    ----------
    path : Path
    size : int
        Bytes; one that is there and has them is taken up again.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        if not path.is_file() or path.stat().st_size != size:
            with path.open("wb") as file:
                file.truncate(size)

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """As `File.opened`; anew each time, so that what other computers wrote is seen."""
        with self.path.open("r+b", buffering=0) as file:
            yield file


class UnnamedFile:
    """A file that is gone with the object, or with the process, however that ends.

    Parameters
    ----------
    folder : str or Path
    size : int
        Bytes.
    """

    def __init__(self, folder: str | Path, size: int) -> None:
        self._folder = folder
        self._alone = threading.Lock()
        with self._told():
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            self._file.truncate(size)

    @contextmanager
    def opened(self) -> Iterator[FileIO]:
        """As `File.opened`, by one thread at a time."""
        with self._alone, self._told():
            yield self._file

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise GvtzooError(
                f"feature maps cannot be kept in {self._folder}: {error.strerror or error}; set "
                "TMPDIR to a folder with more room, or allow more with --memory"
            ) from error

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


@dataclass(frozen=True)
class Grid:
    """Tiles that cover a map.

    Attributes
    ----------
    edges : tuple of tuple of int
        Along each axis, where tiles begin, and where the last one ends.
    """

    edges: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> Grid:
        """That of the boxes that cover a map."""
        axes = range(len(boxes[0]))
        return cls(
            tuple(
                (*sorted({box[n].start for box in boxes}), max(box[n].stop for box in boxes))
                for n in axes
            )
        )

    @property
    def size(self) -> Sizes:
        """Of the map."""
        return tuple(edges[-1] for edges in self.edges)

    @property
    def counts(self) -> Sizes:
        """Tiles along each axis."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def largest(self) -> int:
        """Voxels of the largest tile."""
        return math.prod(
            max(stop - start for start, stop in pairwise(edges)) for edges in self.edges
        )

    def overlapping(self, box: Box) -> Iterator[tuple[int, Box]]:
        """Number and box of each tile that a box has a part in."""
        ranges = [
            range(bisect_right(edges, part.start) - 1, bisect_right(edges, part.stop - 1))
            for edges, part in zip(self.edges, box, strict=True)
        ]
        for numbers in product(*ranges):
            tile = tuple(
                slice(edges[n], edges[n + 1]) for edges, n in zip(self.edges, numbers, strict=True)
            )
            yield int(np.ravel_multi_index(numbers, self.counts)), tile


@dataclass(frozen=True, eq=False)
class StoredMap:
    """A map that is kept in a file.

    Attributes
    ----------
    file : File
        Of `stored_bytes`.
    channels : int
    grid : Grid
        The tiles that it is written by.
    like : Parameter
        On the device and of the type that the network computes with, also after it was moved.
    """

    file: File
    channels: int
    grid: Grid
    like: nn.Parameter

    @property
    def size(self) -> Sizes:
        """As `FeatureMap.size`."""
        return self.grid.size

    @property
    def finest(self) -> Sizes:
        """As `FeatureMap.finest`: its own size."""
        return self.size

    def read(self, box: Box) -> Tensor:
        """As `FeatureMap.read`."""
        part = np.empty((self.channels, *(b.stop - b.start for b in box)), np.float32)
        self.fill(box, part)
        return torch.from_numpy(part)[None].to(self.like.device, self.like.dtype)

    def fill(self, box: Box, part: np.ndarray) -> None:
        """As `Kept.fill`."""
        with self.file.opened() as file:
            for number, tile in self.grid.overlapping(box):
                start = number * _block(self.channels, self.grid)
                _fill_from(file, start, tile, box, part)

    def write(self, box: Box, part: Tensor) -> None:
        """Keep a tile of the grid."""
        ((number, tile),) = self.grid.overlapping(box)
        assert tile == box
        with self.file.opened() as file:
            file.seek(number * _block(self.channels, self.grid))
            for channel in part[0]:  # one after the other, since what is written is copied
                _write_all(file, np.ascontiguousarray(channel.float().cpu().numpy()))


def _write_all(file: FileIO, values: np.ndarray) -> None:
    left = values.data.cast("B")
    while len(left):  # a disk that is nearly full takes a part, and then none
        left = left[file.write(left) :]


def _fill_from(file: FileIO, start: int, tile: Box, box: Box, part: np.ndarray) -> None:
    """Fill in what a box has of a tile, plane by plane: rows that lie behind each other."""
    common = [
        slice(max(t.start, b.start), min(t.stop, b.stop)) for t, b in zip(tile, box, strict=True)
    ]
    target = [slice(c.start - b.start, c.stop - b.start) for c, b in zip(common, box, strict=True)]
    source = [slice(c.start - t.start, c.stop - t.start) for c, t in zip(common, tile, strict=True)]
    height, width = (t.stop - t.start for t in tile[-2:])
    depth = math.prod(t.stop - t.start for t in tile[:-2])  # 1 of an image without z
    planes = range(1) if len(tile) == 2 else range(source[0].start, source[0].stop)
    *_, rows, columns = source
    run = np.empty((rows.stop - rows.start, width), np.float32)
    wanted = run[:, columns]
    filled = part[(slice(None), *target)].reshape(len(part), len(planes), *wanted.shape)
    for channel in range(len(part)):
        for number, plane in enumerate(planes):
            first = ((channel * depth + plane) * height + rows.start) * width
            file.seek(start + ITEM * first)
            if file.readinto(run.data) != run.nbytes:
                raise OSError("a kept feature map ends too early")
            filled[channel, number] = wanted


def stored_bytes(channels: int, grid: Grid) -> int:
    """What a map's file takes."""
    return math.prod(grid.counts) * _block(channels, grid)


def _block(channels: int, grid: Grid) -> int:
    """Bytes from one tile to the next."""
    return -(-ITEM * channels * grid.largest // PAGE) * PAGE
