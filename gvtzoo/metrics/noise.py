"""How much noise an image has."""

from __future__ import annotations

import numpy as np

NORMAL_MEDIAN_DEVIATION = 0.6745  # the median of |x| where x is standard normal


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
