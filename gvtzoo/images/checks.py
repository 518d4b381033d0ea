"""Refusing images that no network can make sense of, in one line each."""

from __future__ import annotations

from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import pieces


def check_image(image: Any) -> None:
    """Refuse empty, non-numeric, non-finite and constant images.

    Parameters
    ----------
    image : array-like
        A NumPy array, or one of which only slices are read (`gvtzoo.images.lazy`).

    Raises
    ------
    GvtzooError
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
            bad += int(piece.size - np.count_nonzero(np.isfinite(piece)))
        lows.append(piece.min())
        highs.append(piece.max())
    if bad:
        raise GvtzooError(
            f"{bad} of the image's {image.size} voxels are NaN or infinite: replace them"
        )
    if min(lows) == max(highs):
        raise GvtzooError(f"the image is constant (value {lows[0]}): there is nothing to see in it")
