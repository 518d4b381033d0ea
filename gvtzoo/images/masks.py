"""What surrounds an image without belonging to it: NaN, or the zeros around a stitched image.

Such voxels are left out where statistics of the image are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gvtzoo.images.lazy import boxes, piece_sizes, pieces
from gvtzoo.images.statistics import percentiles

LEAST_SHARE = 0.01  # of zeros, below which they decide nothing
MOST_EDGES = 4  # between zeros and others along a row: zeros of noise are scattered
# Nothing is as dark as the zeros: the darkest value is farther from 0 than from the dark ones.
DARKEST, DARK, BRIGHTEST, GAP = 0.1, 5.0, 99.9, 3.0  # percentiles, and how many times as far
NARROWEST = 16  # of an image with a mask around it, along x


@dataclass(frozen=True)
class WithoutMask:
    """The values of an image, except NaN, and except 0 where these are a mask.

    Attributes
    ----------
    image : array-like
    size : int
        How many values are left.
    zeros : bool
        Whether zeros are left out.
    """

    image: Any
    size: int
    zeros: bool

    @property
    def dtype(self) -> np.dtype:
        """The image's type."""
        return np.dtype(self.image.dtype)

    def pieces(self, voxels: int) -> Iterator[np.ndarray]:
        """As `gvtzoo.images.lazy.pieces`; flat."""
        for piece in pieces(self.image, voxels):
            values = piece.reshape(-1)
            kept = np.ones(values.shape, bool)
            if values.dtype.kind == "f":
                kept &= ~np.isnan(values)
            if self.zeros:
                kept &= values != 0
            yield values[kept]


def without_mask(image: Any) -> Any:
    """An image without the mask around it; the image itself where there is none.

    Zeros are a mask when they are more than 1 % of the image, lie together at its border (a row
    has few edges between them and the rest), and nothing else is nearly as dark.

    Parameters
    ----------
    image : array-like
        A NumPy array, or one of which only slices are read (`gvtzoo.images.lazy`); x comes last.

    Returns
    -------
    array-like or WithoutMask
    """
    nan = zeros = edges = mixed = 0
    for rows in _rows(image):
        if rows.dtype.kind == "f":
            nan += int(np.count_nonzero(np.isnan(rows)))
        dark = rows == 0
        zeros += int(np.count_nonzero(dark))
        along = np.count_nonzero(dark[:, 1:] != dark[:, :-1], axis=1)
        edges += int(along.sum())
        mixed += int(np.count_nonzero(along))
    left = image.size - nan - zeros
    together = image.shape[-1] >= NARROWEST and edges <= MOST_EDGES * mixed
    if zeros > LEAST_SHARE * image.size and left and together:
        candidate = WithoutMask(image, left, zeros=True)
        if _is_apart(candidate):
            return candidate
    return WithoutMask(image, image.size - nan, zeros=False) if 0 < nan < image.size else image


def _is_apart(values: WithoutMask) -> bool:
    darkest, dark, brightest = percentiles(values, (DARKEST, DARK, BRIGHTEST))
    return brightest > darkest > GAP * (dark - darkest)


def _rows(image: Any) -> Iterator[np.ndarray]:
    """All values, (row, x), some at a time."""
    width = image.shape[-1]
    if isinstance(image, np.ndarray):
        for piece in pieces(image.reshape(-1, width), max(1, 2**22 // width) * width):
            yield piece.reshape(-1, width)
        return
    for box in boxes(image.shape, piece_sizes(image.shape, image.chunks, 2**22)):
        part = image[box]
        yield part.reshape(-1, part.shape[-1])
