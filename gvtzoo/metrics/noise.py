"""How much noise an image has, told from the image alone."""

from __future__ import annotations

from typing import Any

import numpy as np

NORMAL_MEDIAN_DEVIATION = 0.6745  # the median of |x| where x is standard normal
LOOKED_AT = (64, 512, 512)  # voxels along z, y, x of large images
LEAST = 1e-6


def estimate_noise(image: np.ndarray) -> float:
    """Standard deviation of white noise, in the image's units.

    The median absolute deviation of the finest diagonal wavelet details (Donoho & Johnstone,
    Biometrika 1994, section 4), here of the Haar wavelet at all positions. scikit-image's
    estimate of the same kind needs PyWavelets.

    Parameters
    ----------
    image : ndarray
        (z,) y, x; at least two voxels along each axis.
    """
    details = image.astype(np.float64)
    for axis in range(image.ndim):
        details = np.diff(details, axis=axis) / np.sqrt(2)
    return float(np.median(np.abs(details)) / NORMAL_MEDIAN_DEVIATION)


def noise_level(image: Any) -> float:
    """`estimate_noise` of an image's first channel, of large images in their middle; above 0.

    Parameters
    ----------
    image : array-like
        (channel, (z,) y, x); only slices are read.
    """
    sizes = image.shape[1:]
    box = tuple(
        slice((size - min(size, most)) // 2, (size + min(size, most)) // 2)
        for size, most in zip(sizes, LOOKED_AT[-len(sizes) :], strict=True)
    )
    part = np.squeeze(np.asarray(image[(slice(0, 1), *box)]))
    if part.ndim == 0 or min(part.shape) < 2:
        return LEAST
    return max(estimate_noise(part), LEAST)
