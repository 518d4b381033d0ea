"""Padding images to the sizes that a network can halve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def pad_to_multiple(
    array: np.ndarray,
    multiples: Sequence[int],
    minimum: Sequence[int] | None = None,
    *,
    mode: Literal["reflect", "symmetric", "edge", "constant"] = "reflect",
) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Pad every axis to the next multiple, by reflection.

    Parameters
    ----------
    array : ndarray
    multiples : sequence of int
        One per axis.
    minimum : sequence of int, optional
        Smallest size per axis, before it is rounded up.
    mode : str
        What is padded with, as in `numpy.pad`.

    Returns
    -------
    ndarray
        Padded evenly on both sides, the larger half behind; the array itself where nothing is to
        pad.
    tuple of slice
        What crops the result back.
    """
    widths, crop = [], []
    for axis, (size, multiple) in enumerate(zip(array.shape, multiples, strict=True)):
        wanted = size if minimum is None else max(size, minimum[axis])
        missing = -(-wanted // multiple) * multiple - size
        before = missing // 2
        widths.append((before, missing - before))
        crop.append(slice(before, before + size))
    if not any(sum(width) for width in widths):
        return array, tuple(crop)
    # numpy reflects repeatedly where the padding is wider than the image, and repeats single slices
    return np.pad(array, widths, mode=mode), tuple(crop)
