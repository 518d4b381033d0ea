"""Are pairs of images fit for training? Warnings before hours are spent on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from gvtzoo.training.data.images import PairedImage, TrainingImage

log = logging.getLogger(__name__)

SATURATED_SHARE = 0.02  # of all voxels at the largest value that the type, or a camera, can hold
CAMERA_BITS = (8, 10, 12, 14, 16)
LARGEST_SHIFT = 1.5  # pixels
ALIKE = 0.5  # Pearson r, once shifted back; with less, nothing can be said
CHECKED = 20  # images; more would take long and tell nothing new


def check_images(images: Sequence[TrainingImage]) -> list[str]:
    """What is suspicious about images of a training, and logged as a warning.

    That they are finite, not constant, and of the same size is checked when they are read.

    Parameters
    ----------
    images : sequence of TrainingImage
        The first 20 are looked at.

    Returns
    -------
    list of str
        A line for each finding.
    """
    found = [
        f"{image.name}: {problem}"
        for image in images[:CHECKED]
        if isinstance(image, PairedImage)
        for problem in _problems(image)
    ]
    for line in found:
        log.warning(line)
    return found


def _problems(image: PairedImage) -> list[str]:
    problems = []
    for name, array in (("source", image.source), ("target", image.target)):
        share = saturated_share(array)
        if share > SATURATED_SHARE:
            problems.append(
                f"{share:.0%} of the {name}'s voxels are saturated ({array.max():g}): what is "
                "brighter cannot be learned; record with less light or gain"
            )
    shift = measure_shift(image.source, image.target)
    if shift is not None and max(map(abs, shift)) > LARGEST_SHIFT:
        y, x = shift
        problems.append(
            f"the target seems shifted by {y:.1f} pixels along y and {x:.1f} along x: register "
            "the pairs before training"
        )
    return problems


def saturated_share(array: np.ndarray) -> float:
    """The share of voxels at the largest value of an 8 to 16 bit camera; 0 for other types."""
    if array.dtype.kind not in "ui" or array.dtype.itemsize > 2:
        return 0.0
    largest = int(array.max())
    if largest not in {2**bits - 1 for bits in CAMERA_BITS}:
        return 0.0
    return float((array == largest).mean())


def measure_shift(source: np.ndarray, target: np.ndarray) -> tuple[float, float] | None:
    """Along y and x, how far the target lies from where the source has it, by phase correlation.

    Parameters
    ----------
    source, target : ndarray
        (channel, (z,) y, x) of the same y and x; the mean over all other axes is compared.

    Returns
    -------
    tuple of float, or None
        In pixels. None where the two do not look enough alike to tell, as with transmitted light
        and fluorescence.
    """
    sizes = source.shape[-2:]
    planes = [array.astype(np.float32).reshape(-1, *sizes).mean(0) for array in (source, target)]
    planes = [plane - plane.mean() for plane in planes]
    window = np.outer(*(np.hanning(size) for size in sizes))
    spectra = [np.fft.fft2(plane * window) for plane in planes]
    cross = np.conj(spectra[0]) * spectra[1]
    # Smoothed, so that noise in the finest details does not count.
    frequencies = [np.fft.fftfreq(size) for size in cross.shape]
    low_pass = np.exp(-(np.add.outer(frequencies[0] ** 2, frequencies[1] ** 2)) / (2 * 0.1**2))
    correlation = np.fft.ifft2(low_pass * cross / (np.abs(cross) + 1e-9)).real
    peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
    y, x = (
        float(p if p <= size // 2 else p - size)
        for p, size in zip(peak, correlation.shape, strict=True)
    )
    shifted_back = np.roll(planes[1], (-round(y), -round(x)), (0, 1))
    alike = np.corrcoef((planes[0] * window).ravel(), (shifted_back * window).ravel())[0, 1]
    return (y, x) if alike > ALIKE else None
