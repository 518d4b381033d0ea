"""What a camera makes of a clean image: photons are counted, and the read-out adds noise."""

from __future__ import annotations

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.statistics import percentiles

BACKGROUND, BRIGHT = 0.1, 99.8  # percentiles


def relative_intensity(clean: np.ndarray) -> np.ndarray:
    """A clean image between 0 (its 0.1 percentile) and about 1 (its 99.8 percentile), float32.

    What is darker than the background is set to 0.

    Parameters
    ----------
    clean : ndarray
        Any shape and numeric type, any units.

    Raises
    ------
    GvtzooError
        When both percentiles are equal (an image of almost nothing but background), or voxels
        are not finite.
    """
    background, bright = percentiles(clean, (BACKGROUND, BRIGHT))
    if not 0 < bright - background < np.inf:
        raise GvtzooError(
            f"the clean image's {BACKGROUND} and {BRIGHT} percentiles are {background:g} and "
            f"{bright:g}: it has no brightness to scale; crop it to where the structure is"
        )
    scaled = (clean.astype(np.float32) - background) / (bright - background)
    return np.maximum(scaled, 0)


def simulate_camera(
    intensity: np.ndarray,
    *,
    photons: float,
    read_noise: float,
    offset: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """A camera image of the given relative intensities.

    Photons arrive independently of each other, so their number is Poisson-distributed; reading
    them out adds normally distributed noise, and the camera an offset.

    Parameters
    ----------
    intensity : ndarray
        ≥ 0; 1 is as bright as `photons` photons.
    photons : float
        Expected photons (counts) where the intensity is 1.
    read_noise : float
        Standard deviation, in counts.
    offset : float
        Counts.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of uint16
        Counts, rounded and clipped to what 16 bits hold.

    Raises
    ------
    GvtzooError
        When `photons` or `read_noise` is negative.
    """
    if photons < 0 or read_noise < 0:
        raise GvtzooError(
            f"photons ({photons:g}) and read noise ({read_noise:g}) must not be negative"
        )
    counts = generator.poisson(intensity * photons).astype(np.float32)
    counts += generator.normal(offset, read_noise, intensity.shape).astype(np.float32)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def camera_noise(
    clean: np.ndarray,
    *,
    photons: float,
    read_noise: float = 2.0,
    offset: float = 100.0,
    generator: np.random.Generator,
) -> np.ndarray:
    """`simulate_camera` of the `relative_intensity` of a clean image: the same shape, uint16.

    Parameters
    ----------
    clean : ndarray
        Of any shape.
    photons : float
        At the bright structures (relative intensity 1).
    read_noise : float
        Standard deviation, in counts.
    offset : float
        Counts without light.
    generator : numpy.random.Generator
    """
    return simulate_camera(
        relative_intensity(clean),
        photons=photons,
        read_noise=read_noise,
        offset=offset,
        generator=generator,
    )
