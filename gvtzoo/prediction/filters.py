"""Classical denoisers, each at the setting that suits the test image best.

They are what a network has to beat. Choosing the setting by the truth (an oracle) is more than a
user could do, so it favours the classical methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from gvtzoo.metrics.noise import estimate_noise
from gvtzoo.metrics.pair import check_pair, evaluate_pair

Score = Literal["r", "nrmse", "psnr", "ssim"]
Setting = Mapping[str, float]


@dataclass(frozen=True)
class Denoiser:
    """A denoiser and the settings worth trying.

    Attributes
    ----------
    denoise : callable
        (z,) y, x of any numeric type, and one of the settings as keywords; returns float32.
    settings : tuple of mappings
    """

    denoise: Callable[..., np.ndarray]
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class ClassicalResult:
    """What a denoiser reached with one setting; metrics as in `evaluate_pair`."""

    name: str
    setting: Setting
    metrics: dict[str, float]


def gaussian(image: np.ndarray, *, sigma: float) -> np.ndarray:
    """Gaussian filter; `sigma` in voxels, the same along all axes."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype(np.float32), sigma)


def median(image: np.ndarray, *, size: int) -> np.ndarray:
    """Median over a cube (a square in 2D) of `size` voxels along each axis."""
    from scipy.ndimage import median_filter

    return median_filter(image.astype(np.float32), size)


def non_local_means(
    image: np.ndarray, *, strength: float, patch_size: int, patch_distance: int
) -> np.ndarray:
    """Non-local means (Buades, Coll & Morel, CVPR 2005), with scikit-image.

    Parameters
    ----------
    image : ndarray
        (z,) y, x.
    strength : float
        The filter's cut-off h in units of the noise (`estimate_noise`).
    patch_size, patch_distance : int
        Width of the compared patches, and how far apart they may be, in voxels.

    Returns
    -------
    ndarray of float32
        The image itself where no noise is found.
    """
    from skimage.restoration import denoise_nl_means

    image = image.astype(np.float32)
    noise = estimate_noise(image)
    if noise == 0:
        return image
    return denoise_nl_means(
        image,
        patch_size=patch_size,
        patch_distance=patch_distance,
        h=strength * noise,
        sigma=noise,
        fast_mode=True,
        preserve_range=True,
    )


def _settings(**values: Iterable[float]) -> tuple[Setting, ...]:
    """Every combination of the values."""
    return tuple(dict(zip(values, row, strict=True)) for row in product(*values.values()))


# Voxels; close enough to each other that the best one is hardly missed.
GAUSSIAN_SIGMAS = (
    *(0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0),
    *(1.1, 1.25, 1.4, 1.5, 1.6, 1.75, 2.0, 2.25, 2.5, 3.0),
)
CLASSICAL: dict[str, Denoiser] = {
    "Gaussian": Denoiser(gaussian, _settings(sigma=GAUSSIAN_SIGMAS)),
    "median": Denoiser(median, _settings(size=(3, 5, 7))),
    "non-local means": Denoiser(
        non_local_means,
        _settings(
            strength=(0.2, 0.3, 0.45, 0.6, 0.8, 1.1, 1.5), patch_size=(3, 5), patch_distance=(2, 3)
        ),
    ),
}


def evaluate_classical(noisy: np.ndarray, target: np.ndarray) -> list[ClassicalResult]:
    """Metrics of every denoiser in `CLASSICAL` with every one of its settings.

    Parameters
    ----------
    noisy, target : ndarray
        (z,) y, x, the same shape. A stack of 10⁶ voxels takes minutes.

    Raises
    ------
    GvtzooError
        When shapes differ, or the target is constant.
    """
    check_pair(target, noisy)
    return [
        ClassicalResult(name, setting, evaluate_pair(target, method.denoise(noisy, **setting)))
        for name, method in CLASSICAL.items()
        for setting in method.settings
    ]


def best_results(results: Iterable[ClassicalResult], *, score: Score) -> list[ClassicalResult]:
    """The best result of each denoiser: lowest for ``nrmse``, highest for the others."""
    sign = -1 if score == "nrmse" else 1
    best: dict[str, ClassicalResult] = {}
    for result in results:
        known = best.setdefault(result.name, result)
        if sign * result.metrics[score] > sign * known.metrics[score]:
            best[result.name] = result
    return list(best.values())
