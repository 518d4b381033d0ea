"""Numbers that tell images of one kind from others: noise, brightness, and structure.

They are taken from a few crops of an image, as a network gets them: normalized, noise and all.
Most are taken of what exceeds the noise, since a noisy image is noise first, whatever it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from gvtzoo.images.normalization import Normalization
from gvtzoo.metrics.noise import LEAST, estimate_noise

VERSION = 1  # of the features
CROP = {2: (128, 128), 3: (16, 64, 64)}  # (z,) y, x
DRAWN, KEPT = 16, 8  # crops of an image; those that vary most are kept
LEAST_SIDE = 16  # voxels along y and x
LEAST_PLANES = 6
POOLED = 4  # pixels along y and x: where noise is averaged away
RANKS = (1, 25, 50, 75, 99)  # percentiles
# Wavelengths, in pixels; between the first two is little but noise.
BANDS = (2.0, 2.8, 4.0, 5.6, 8.0, 11.3, 16.0, 32.0)
DIRECTED = 4.0  # pixels; longer waves are compared between y and x
APART = (1, 2, 4)  # planes
LEAST_EXCESS = 0.03  # of the noise's power, that tells nothing
RESOLUTION = {  # of a feature, which repeated crops of one image differ by
    "noise": 0.03,
    "brightness": 0.02,
    "structure": 0.1,
    "shape": 0.1,
    "direction": 0.05,
    "planes": 0.05,
}
SHRINKAGE = 0.1  # of the covariance towards its diagonal
FOLDS = 8
QUANTILE = 0.99  # of images like the training ones pass
SMALLEST_LIMIT = 0.5
NOTHING = 0.1  # of the noise's power: less cannot be seen
FEW = 0.75  # of the limit, that it is wider with a single image


@dataclass(frozen=True)
class Feature:
    """One of the numbers.

    Attributes
    ----------
    group : {"noise", "brightness", "structure", "direction", "planes"}
    at : float
        Which of the group: a percentile, a wavelength in pixels, or a distance in planes.
    """

    group: str
    at: float = 0.0


FEATURES = (
    Feature("noise"),
    *(Feature("brightness", rank) for rank in RANKS),
    *(Feature("structure", wavelength) for wavelength in BANDS[1:-1]),
    *(Feature("shape", wavelength) for wavelength in BANDS[2:-1]),
    Feature("direction"),
    *(Feature("planes", distance) for distance in APART),
)


def look(
    frames: Sequence[Any], normalization: Normalization, generator: np.random.Generator
) -> np.ndarray | None:
    """The `features` of an image, of which a few crops are read.

    Parameters
    ----------
    frames : sequence of array-like
        (channel, (z,) y, x) each, raw, of one shape; only boxes of them are read.
    normalization : Normalization
        Fitted to the crops.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray or None
        None where there is nothing to see, or the image is too small to tell.
    """
    shape = tuple(frames[0].shape)
    size = [min(s, c) for s, c in zip(shape[1:], CROP[len(shape) - 1], strict=True)]
    if min(size[-2:]) < LEAST_SIDE:
        return None
    crops = []
    for number in range(DRAWN):
        frame = frames[number * len(frames) // DRAWN]
        starts = [int(generator.integers(s - c + 1)) for s, c in zip(shape[1:], size, strict=True)]
        box = (slice(0, shape[0]), *(slice(a, a + c) for a, c in zip(starts, size, strict=True)))
        crop = np.asarray(frame[box]).astype(np.float32)
        if np.isfinite(crop).all():
            crops.append(crop)
    crops = sorted(crops, key=lambda crop: float(crop.std()), reverse=True)[:KEPT]
    if not crops or crops[0].std() == 0:
        return None
    fitted = normalization.fit(np.stack(crops))
    return features([fitted.apply(crop) for crop in crops])


def features(crops: Sequence[np.ndarray]) -> np.ndarray:
    """The numbers of an image that is known by these crops, in the order of `FEATURES`.

    - noise: the logarithm of its standard deviation.
    - brightness: percentiles of the image, averaged over 4×4 pixels.
    - structure: the logarithm of the power of waves of a length, in the plane, as a multiple of
      the noise's, less one; shape: by how much it is more than that of the next shorter ones.
    - direction: the logarithm of the power of waves along y to that of waves along x.
    - planes: the correlation of the averaged image with itself some planes further; NaN where
      there are too few planes.

    Parameters
    ----------
    crops : sequence of ndarray
        (channel, (z,) y, x), normalized, all of one shape. Channels are taken as planes.

    Returns
    -------
    ndarray
        Float64, one for each of `FEATURES`.
    """
    stacks = [crop.reshape(-1, *crop.shape[-2:]).astype(np.float32) for crop in crops]
    pooled = [pool(stack) for stack in stacks]
    noise = np.median([max(estimate_noise(plane), LEAST) for s in stacks for plane in s])
    power = np.mean([power_in_plane(stack) for stack in stacks], axis=0)
    frequencies = _frequencies(stacks[0].shape[1:])
    bands = _in_bands(power, np.hypot(*frequencies))
    structure = np.log10(np.maximum(bands[1:] / bands[0] - 1, 0) + LEAST_EXCESS)
    return np.concatenate(
        [
            [np.log10(noise)],
            np.percentile(np.concatenate([p.ravel() for p in pooled]), RANKS),
            structure,
            np.diff(structure),
            [_direction(power, *frequencies)],
            np.mean([_correlations(p) for p in pooled], axis=0),
        ]
    )


def pool(stack: np.ndarray) -> np.ndarray:
    """Means over `POOLED` × `POOLED` pixels of every plane."""
    rows, columns = (size // POOLED for size in stack.shape[1:])
    cut = stack[:, : rows * POOLED, : columns * POOLED]
    return cut.reshape(len(stack), rows, POOLED, columns, POOLED).mean(axis=(2, 4))


def power_in_plane(stack: np.ndarray) -> np.ndarray:
    """Mean power spectrum of the planes, (y, x) of half the plane; of white noise its variance."""
    height, width = stack.shape[1:]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    window = (window / np.sqrt(np.mean(window**2))).astype(np.float32)
    flat = stack - stack.mean(axis=(1, 2), keepdims=True)
    return (np.abs(np.fft.rfft2(flat * window)) ** 2).mean(axis=0) / (height * width)


def _frequencies(shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]


def _in_bands(power: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Mean power between the wavelengths of `BANDS`."""
    found = []
    for low, high in pairwise(BANDS):
        inside = (frequency > 1 / high) & (frequency <= 1 / low)
        found.append(max(float(power[inside].mean()) if inside.any() else 0.0, LEAST**2))
    return np.array(found)


def _direction(power: np.ndarray, along_y: np.ndarray, along_x: np.ndarray) -> float:
    length = np.hypot(along_y, along_x)
    long = (length > 1 / BANDS[-1]) & (length <= 1 / DIRECTED)
    waves = [float(power[long & inside].mean()) for inside in
             (np.abs(along_y) > np.abs(along_x), np.abs(along_y) < np.abs(along_x))]  # fmt: skip
    return float(np.log10(max(waves[0], LEAST**2) / max(waves[1], LEAST**2)))


def _correlations(pooled: np.ndarray) -> np.ndarray:
    if len(pooled) < LEAST_PLANES:
        return np.full(len(APART), np.nan)
    flat = pooled - pooled.mean()
    variance = float(np.mean(flat**2)) + LEAST**2
    return np.array([np.mean(flat[:-n] * flat[n:]) / variance for n in APART])


RESOLUTIONS = np.array([RESOLUTION[feature.group] for feature in FEATURES])
STRUCTURE = np.array([feature.group == "structure" for feature in FEATURES])


def only_noise(seen: np.ndarray) -> bool:
    """Whether there is no structure above the noise, at any wavelength.

    Parameters
    ----------
    seen : ndarray
        As of `features`.
    """
    return bool(seen[STRUCTURE].max() < np.log10(NOTHING + LEAST_EXCESS))


def whitening(views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the features, and the matrix that whitens them.

    Parameters
    ----------
    views : ndarray, shape (view, feature)
        As of `features`; columns with NaN are left out.

    Returns
    -------
    ndarray, ndarray
        The mean of each feature, NaN for those left out; and W, lower triangular, with
        |W (x − mean)|² the squared Mahalanobis distance of the others.
    """
    known = np.isfinite(views).all(axis=0)
    mean = np.where(known, np.mean(np.where(known, views, 0.0), axis=0), np.nan)
    covariance = np.cov(views[:, known].T)
    diagonal = RESOLUTIONS[known] ** 2 + SHRINKAGE * np.diag(covariance)
    return mean, np.linalg.inv(np.linalg.cholesky(covariance + np.diag(diagonal)))


def distance(seen: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Mahalanobis distance, divided by the square root of the number of features.

    Parameters
    ----------
    seen : ndarray, shape (..., feature)
    mean, factor : ndarray
        As of `whitening`. Features that are NaN on either side are taken to be as the mean.
    """
    known = np.isfinite(mean)
    difference = np.nan_to_num((seen - mean)[..., known], nan=0.0)
    return np.sqrt(np.mean((difference @ factor.T) ** 2, axis=-1))


def summary(views: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    """What is kept of the features of training images, and how far such images are from them.

    The limit is the distance within which `QUANTILE` of the views lie of what the views of other
    images have. With fewer than `FOLDS` images, views are left out whatever image they are of,
    and since all of these are of few, the limit is wider, by `FEW` of itself over the square root
    of the number of images.

    Parameters
    ----------
    views : ndarray, shape (view, feature)
    names : ndarray, shape (view,)
        The image of each.

    Returns
    -------
    dict
        low, high, mean, factor (row by row) and limit, as `gvtzoo.packages.config.Fingerprint`
        takes them.
    """
    images, groups = np.unique(names, return_inverse=True)
    count = len(images)
    if count < FOLDS:
        groups = np.arange(len(views)) % FOLDS
    folds = groups % FOLDS  # of names in alphabetical order
    left_out = []
    for fold in np.unique(folds):
        others = views[folds != fold]
        if len(others) > 1:
            left_out.append(distance(views[folds == fold], *whitening(others)))
    limit = float(np.quantile(np.concatenate(left_out), QUANTILE))
    mean, factor = whitening(views)
    return {
        "low": tuple(views.min(axis=0)),
        "high": tuple(views.max(axis=0)),
        "mean": tuple(mean),
        "factor": tuple(factor[np.tril_indices(len(factor))]),
        "limit": max(limit, SMALLEST_LIMIT) * (1 + FEW / np.sqrt(count)),
    }


def triangle(numbers: Sequence[float]) -> np.ndarray:
    """The lower triangular matrix of these numbers, row by row."""
    size = int((np.sqrt(8 * len(numbers) + 1) - 1) / 2)
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = numbers
    return matrix
