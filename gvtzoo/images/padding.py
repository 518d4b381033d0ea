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
    widths = padding_widths(array.shape, multiples, minimum)
    crop = tuple(
        slice(before, before + size) for (before, _), size in zip(widths, array.shape, strict=True)
    )
    if not any(sum(width) for width in widths):
        return array, crop
    # numpy reflects repeatedly where the padding is wider than the image, and repeats single slices
    return np.pad(array, widths, mode=mode), crop


def padding_widths(
    shape: Sequence[int], multiples: Sequence[int], minimum: Sequence[int] | None = None
) -> list[tuple[int, int]]:
    """Voxels before and behind on every axis.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    multiples : sequence of int
        That padded sizes are multiples of.
    minimum : sequence of int, optional
        That padded sizes have at least.
    """
    widths = []
    for axis, (size, multiple) in enumerate(zip(shape, multiples, strict=True)):
        wanted = size if minimum is None else max(size, minimum[axis])
        missing = -(-wanted // multiple) * multiple - size
        widths.append((missing // 2, missing - missing // 2))
    return widths
