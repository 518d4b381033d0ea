"""Refusing images that no network can make sense of, in one line each."""

from __future__ import annotations

import numpy as np

from gvtzoo.errors import GvtzooError


def check_image(image: np.ndarray) -> None:
    """Refuse empty, non-numeric, non-finite and constant images.

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
    if image.dtype.kind == "f":
        bad = int(image.size - np.count_nonzero(np.isfinite(image)))
        if bad:
            raise GvtzooError(
                f"{bad} of the image's {image.size} voxels are NaN or infinite: replace them"
            )
    low, high = image.min(), image.max()
    if low == high:
        raise GvtzooError(f"the image is constant (value {low}): there is nothing to see in it")
