"""Refusing images that no network can make sense of, in one line each."""

from __future__ import annotations

from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import pieces


class BlankImageError(GvtzooError):
    """There is nothing to see in an image.

    Attributes
    ----------
    value : float
        Of all of its voxels.
    """

    def __init__(self, message: str, value: float) -> None:
        super().__init__(message)
        self.value = value


def check_image(image: Any, *, holes: bool = False) -> None:
    """Refuse empty, non-numeric, non-finite and constant images.

    Parameters
    ----------
    image : array-like
        A NumPy array, or one of which only slices are read (`gvtzoo.images.lazy`).
    holes : bool
        Whether some voxels may be NaN.

    Raises
    ------
    GvtzooError
        A `BlankImageError` where all voxels are the same.
    """
    if image.dtype.kind not in "uif":
        raise GvtzooError(
            f"the image has type {image.dtype}: convert it to integers or floating point numbers"
        )
    if image.size == 0:
        raise GvtzooError(f"the image is empty (shape {image.shape})")
    bad, lows, highs = 0, [], []
    for piece in pieces(image):
        if image.dtype.kind == "f":
            bad += int(np.count_nonzero(np.isinf(piece) if holes else ~np.isfinite(piece)))
        lows.append(np.fmin.reduce(piece, axis=None))  # which pass over NaN
        highs.append(np.fmax.reduce(piece, axis=None))
    if bad:
        kind = "infinite" if holes else "NaN or infinite"
        raise GvtzooError(f"{bad} of the image's {image.size} voxels are {kind}: replace them")
    low, high = np.fmin.reduce(lows), np.fmax.reduce(highs)
    if low == high or np.isnan(low):
        what = (
            f"all of the image's {image.size} voxels are NaN"
            if np.isnan(low)
            else f"the image is constant (value {low})"
        )
        raise BlankImageError(f"{what}: there is nothing to see in it", float(low))
