"""How much noise an image has, told from the image alone; and its photons, divided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

NORMAL_MEDIAN_DEVIATION = 0.6745  # the median of |x| where x is standard normal
BLOCK = 8  # pixels along y and x
GROUPS = 20  # of blocks of similar means
MEDIAN_OF_MEAN = 0.97  # of squares of as many correlated details as a block has, to their mean
SMALLEST_GAIN = 1e-3  # of the noise's standard deviation
LOOKED_AT = (64, 512, 512)  # voxels along z, y, x of large images
LEAST = 1e-6
ONE_STEP = 1e-3  # within this share, values are the same but for the rounding of floats


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
    return rounded_median(np.abs(details)) / NORMAL_MEDIAN_DEVIATION


def rounded_median(values: np.ndarray) -> float:
    """The median of values that were rounded, as those of images of a few counts are.

    Half of them lie below a point between two steps, which is interpolated (the median of grouped
    data); the plain median could only be a step. Of other values it is the median.

    Parameters
    ----------
    values : ndarray
        Not negative.
    """
    middle = float(np.median(values))
    apart = ONE_STEP * middle
    below, above = values < middle - apart, values > middle + apart
    lower = float(np.max(values, where=below, initial=-middle))
    upper = float(np.min(values, where=above, initial=np.inf))
    left = max(0.0, (lower + middle) / 2)
    right = (middle + upper) / 2 if np.isfinite(upper) else middle
    same = 1 - float(np.mean(below)) - float(np.mean(above))
    if same <= 0:  # an even number of values, and the median between two
        return middle
    return left + (right - left) * (0.5 - float(np.mean(below))) / same


@dataclass(frozen=True)
class NoiseModel:
    """Noise like that of counted photons: variance = gain · (mean − offset).

    Read-out noise is in it as an offset further down, as if of more photons (a shifted Poisson
    distribution); noise that does not depend on the brightness is the limit of a small gain.

    Attributes
    ----------
    gain : float
        Counts to a photon.
    offset : float
        Counts without any photon.
    """

    gain: float
    offset: float

    @classmethod
    def of(cls, image: np.ndarray) -> NoiseModel:
        """The model of an image ((z,) y, x), from the means and variances of small blocks.

        The photon transfer curve (Janesick, *Photon Transfer*, SPIE 2007) of a single image:
        variances are those of the finest details (`estimate_noise`), and blocks of similar means
        count as one, by their median.
        """
        means, variances = _block_statistics(image.astype(np.float64))
        order = np.argsort(means)
        groups = [g for g in np.array_split(order, min(GROUPS, len(order))) if len(g)]
        x = np.array([means[group].mean() for group in groups])
        y = np.array([np.median(variances[group]) for group in groups]) / MEDIAN_OF_MEAN
        typical = max(float(np.mean(y)), np.finfo(float).tiny)
        slope = float(np.polyfit(x, y, 1)[0]) if np.ptp(x) > 0 else 0.0
        gain = max(slope, SMALLEST_GAIN * float(np.sqrt(typical)))
        offset = min(float(np.mean(x)) - typical / gain, float(np.min(x)))
        return cls(gain, offset)

    def split(
        self, image: np.ndarray, share: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Two images of the same object with independent noise, as of two shorter exposures.

        Each photon falls to the first with the probability `share`, else to the second: two
        independent Poisson distributions, where the photons had one.

        Parameters
        ----------
        image : ndarray
            Any shape.
        share : float
            Between 0 and 1.
        generator : numpy.random.Generator

        Returns
        -------
        tuple of ndarray
            Float32, as bright as the image.
        """
        photons = np.maximum(np.rint((image.astype(np.float64) - self.offset) / self.gain), 0)
        first = generator.binomial(photons.astype(np.int64), share)
        parts = (first / share, (photons - first) / (1 - share))
        return tuple((part * self.gain + self.offset).astype(np.float32) for part in parts)  # type: ignore[return-value]


def _block_statistics(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means, and variances of the finest details in the plane, of blocks."""
    details = image
    for axis in (-2, -1):
        details = np.diff(details, axis=axis) / np.sqrt(2)
    rows, columns = (max(1, size // BLOCK) for size in details.shape[-2:])
    height, width = (size // n for size, n in zip(details.shape[-2:], (rows, columns), strict=True))

    def blocks(array: np.ndarray) -> np.ndarray:
        cut = array[..., : rows * height, : columns * width]
        return cut.reshape(-1, rows, height, columns, width).mean(axis=(2, 4)).ravel()

    return blocks(image), blocks(details**2)


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
