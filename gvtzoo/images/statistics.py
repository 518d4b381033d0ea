"""Statistics of images of any size, in the memory of a part: exact percentiles, deviations.

Arrays are read piece by piece (`gvtzoo.images.lazy.pieces`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gvtzoo.images.lazy import pieces

CHUNK = 2**20  # voxels whose statistics are taken at a time
DIGIT = 16  # bits


def percentiles(image: Any, ranks: tuple[float, ...]) -> tuple[float, ...]:
    """Percentiles with linear interpolation, exact; of small integers by their histogram.

    Parameters
    ----------
    image : array-like
        Any shape, a NumPy array or one of which only slices are read (`gvtzoo.images.lazy`). Lazy
        arrays, and 8 and 16 bit integers, take memory for one piece only.
    ranks : tuple of float
        0 to 100.
    """
    if image.dtype.kind in "ui" and image.dtype.itemsize <= 2:
        return histogram_percentiles(*integer_histogram(image), ranks)
    if not isinstance(image, np.ndarray):
        return streamed_percentiles(image, ranks)
    # In the integers' own type, NumPy's interpolation would overflow.
    numbers = image if image.dtype.kind == "f" else image.astype(np.float64)
    return tuple(float(value) for value in np.percentile(numbers, ranks))


def mean_and_deviation(image: Any) -> tuple[float, float]:
    """Mean and population standard deviation in float64.

    Parameters
    ----------
    image : array-like
        Any shape; takes memory for one piece only.
    """
    mean = sum(float(piece.sum(dtype=np.float64)) for piece in pieces(image, CHUNK)) / image.size
    squares = sum(
        float(np.square(piece.astype(np.float64) - mean).sum()) for piece in pieces(image, CHUNK)
    )
    return mean, float(np.sqrt(squares / image.size))


def integer_histogram(image: Any) -> tuple[np.ndarray, int]:
    """Counts of every value of an 8 or 16 bit integer image, and the first value."""
    lowest = int(np.iinfo(image.dtype).min)
    counts = np.zeros(2 ** (8 * image.dtype.itemsize), np.int64)
    for piece in pieces(image, CHUNK):
        values = piece.reshape(-1).astype(np.int32) - lowest
        counts += np.bincount(values, minlength=counts.size)
    return counts, lowest


def histogram_percentiles(
    counts: np.ndarray, lowest: int, ranks: tuple[float, ...]
) -> tuple[float, ...]:
    """Percentiles from the counts of the values ``lowest``, ``lowest + 1``, …

    Parameters
    ----------
    counts : ndarray of int
    lowest : int
        The value that the first count is of.
    ranks : tuple of float
        In percent.
    """
    below = np.cumsum(counts)
    found = []
    for rank in ranks:
        position = rank / 100 * (below[-1] - 1)
        before = int(np.floor(position))
        values = np.searchsorted(below, [before, min(before + 1, below[-1] - 1)], side="right")
        fraction = position - before
        found.append(float(lowest + values[0] + fraction * (values[1] - values[0])))
    return tuple(found)


def streamed_percentiles(image: Any, ranks: tuple[float, ...]) -> tuple[float, ...]:
    """Percentiles of an array that is read piece by piece, exact for every numeric type.

    Parameters
    ----------
    image : array-like
        Any shape, without NaN.
    ranks : tuple of float
        0 to 100.
    """
    positions = [rank / 100 * (image.size - 1) for rank in ranks]
    wanted = sorted({n for p in positions for n in (math.floor(p), math.ceil(p))})
    values = dict(zip(wanted, order_statistics(image, wanted), strict=True))
    return tuple(
        values[math.floor(p)] + (p - math.floor(p)) * (values[math.ceil(p)] - values[math.floor(p)])
        for p in positions
    )


def order_statistics(image: Any, numbers: Sequence[int]) -> list[float]:
    """The values that come at these places when all are sorted, from 0.

    Numbers are compared as integers of the same order, 16 bits at a time from the highest: each
    time over the image counts, among the values that begin like the one that is sought, how they
    go on.
    """
    bits = 8 * image.dtype.itemsize
    found = [(0, number) for number in numbers]  # leading bits, and the place among those
    for shift in range(bits - DIGIT, -1, -DIGIT):
        counts = {leading: np.zeros(2**DIGIT, np.int64) for leading, _ in found}
        for piece in pieces(image, CHUNK):
            keys = _sortable(piece.reshape(-1))
            for leading, count in counts.items():
                alike = keys if shift + DIGIT == bits else keys[keys >> (shift + DIGIT) == leading]
                digits = (alike >> shift) & (2**DIGIT - 1)
                count += np.bincount(digits.astype(np.int64), minlength=count.size)
        found = [_next_digit(leading, place, counts[leading]) for leading, place in found]
    return [_unsortable(leading, image.dtype) for leading, _ in found]


def _next_digit(leading: int, place: int, counts: np.ndarray) -> tuple[int, int]:
    below = np.cumsum(counts)
    digit = int(np.searchsorted(below, place, side="right"))
    return (leading << DIGIT) + digit, place - int(below[digit - 1] if digit else 0)


def _sortable(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of the values."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    keys = values.view(unsigned)
    sign = unsigned.type(1 << (8 * unsigned.itemsize - 1))
    if values.dtype.kind == "u":
        return keys
    if values.dtype.kind == "i":
        return keys ^ sign
    return np.where(keys & sign, ~keys, keys | sign)


def _unsortable(key: int, dtype: np.dtype) -> float:
    """The value that `_sortable` has made `key` of."""
    bits = 8 * dtype.itemsize
    sign = 1 << (bits - 1)
    if dtype.kind == "i":
        key ^= sign
    elif dtype.kind == "f":
        key = key ^ sign if key & sign else key ^ (2**bits - 1)
    return float(np.array([key], f"u{dtype.itemsize}").view(dtype)[0])
