"""Calibration of σ: whether errors are as large as the network says they are.

A network trained with the Laplace likelihood predicts the distribution of every voxel: a Laplace
distribution around the prediction, of scale σ. Its σ is calibrated when the central interval that
should hold a share of the voxels (nominal) holds that share (observed), at every level; and it is
informative when errors grow with σ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gvtzoo.core.errors import GvtzooError

DEFAULT_LEVELS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.99)


@dataclass(frozen=True)
class Calibration:
    """How well σ foretells the errors of a prediction.

    Attributes
    ----------
    nominal : ndarray
        (levels,), the share of voxels that an interval should hold, 0 to 1.
    observed : ndarray
        (levels,), the share that it holds. Below `nominal`, σ is overconfident: too small.
    sigma : ndarray
        (bins,), mean error that the σ of a bin's voxels says, in the image's units, ascending.
    error : ndarray
        (bins,), mean absolute error of the same voxels, in the image's units. The mean absolute
        error of a Laplace distribution is its scale, so a calibrated σ has `error` = `sigma`.
    voxels : int
        How many were looked at.
    """

    nominal: np.ndarray
    observed: np.ndarray
    sigma: np.ndarray
    error: np.ndarray
    voxels: int

    @property
    def calibration_error(self) -> float:
        """Mean |observed − nominal| over the levels, 0 (calibrated) to 1."""
        return float(np.abs(self.observed - self.nominal).mean())

    @property
    def correlation(self) -> float:
        """Spearman's correlation of the bins' σ and error, −1 to 1; 0 where either is constant."""
        from scipy.stats import spearmanr

        if np.ptp(self.sigma) == 0 or np.ptp(self.error) == 0:
            return 0.0
        return float(spearmanr(self.sigma, self.error).statistic)


def laplace_multiple(level: float) -> float:
    """How many scales σ of a Laplace distribution hold a share: P(|x − μ| ≤ h) = 1 − exp(−h/σ)."""
    return -math.log1p(-level)


def calibrate(
    target: np.ndarray,
    prediction: np.ndarray,
    sigma: np.ndarray,
    *,
    levels: Sequence[float] = DEFAULT_LEVELS,
    bins: int = 20,
    multiple: Callable[[float], float] = laplace_multiple,
) -> Calibration:
    """Coverage of the predicted intervals, and error against σ.

    The interval that should hold the share `level` is the prediction ± ``multiple(level)`` σ; by
    default as of a Laplace distribution (`laplace_multiple`). The comparison of
    nominal and observed shares is the reliability diagram of Kuleshov, Fenner and Ermon
    ("Accurate Uncertainties for Deep Learning Using Calibrated Regression", ICML 2018).

    Parameters
    ----------
    target, prediction : ndarray
        Any shape, the same; in the same units.
    sigma : ndarray
        Of the same shape and in the same units.
    levels : sequence of float
        Nominal shares, between 0 and 1.
    bins : int
        Into how many groups the voxels are put by their σ, of equal numbers of voxels (± 1).
    multiple : callable
        How many σ hold a share of the voxels.

    Returns
    -------
    Calibration

    Raises
    ------
    GvtzooError
        When shapes differ, voxels are not finite, some σ is not above 0, a level is not between
        0 and 1, or there are fewer voxels than bins.
    """
    _check_images(target, prediction, sigma)
    nominal = _check_levels(levels)
    if not 1 <= bins <= sigma.size:
        raise GvtzooError(f"{sigma.size} voxels cannot be put into {bins} bins; choose others")
    scale = sigma.ravel().astype(np.float64)
    error = np.abs(target.astype(np.float64) - prediction.astype(np.float64)).ravel()
    observed = [float((error <= multiple(level) * scale).mean()) for level in nominal]
    # The error that is expected where σ is 1: the mean over all shares.
    shares = (np.arange(10_000) + 0.5) / 10_000
    expected = 1.0 if multiple is laplace_multiple else np.mean([multiple(p) for p in shares])
    groups = np.array_split(np.argsort(scale, kind="stable"), bins)
    return Calibration(
        nominal=nominal,
        observed=np.array(observed),
        sigma=np.array([expected * _mean_within_range(scale[group]) for group in groups]),
        error=np.array([_mean_within_range(error[group]) for group in groups]),
        voxels=sigma.size,
    )


def merge_calibrations(calibrations: Sequence[Calibration]) -> Calibration:
    """The calibration of several images: the mean, weighted by their numbers of voxels.

    Bins are merged in their order: the voxels of lowest σ of every image, and so on.

    Parameters
    ----------
    calibrations : sequence of Calibration
        With the same levels and the same number of bins.

    Raises
    ------
    GvtzooError
        When there are none, or their levels or numbers of bins differ.
    """
    if not calibrations:
        raise GvtzooError("there is no calibration to merge; give at least one")
    first = calibrations[0]
    for other in calibrations:
        if not np.array_equal(other.nominal, first.nominal):
            raise GvtzooError("calibrations of different levels cannot be merged")
        if other.sigma.shape != first.sigma.shape:
            raise GvtzooError(
                f"calibrations of {first.sigma.size} and of {other.sigma.size} bins cannot be "
                "merged; use the same number of bins"
            )
    weights = [one.voxels for one in calibrations]
    return Calibration(
        nominal=first.nominal,
        observed=np.average([one.observed for one in calibrations], axis=0, weights=weights),
        sigma=np.average([one.sigma for one in calibrations], axis=0, weights=weights),
        error=np.average([one.error for one in calibrations], axis=0, weights=weights),
        voxels=sum(weights),
    )


def _check_images(target: np.ndarray, prediction: np.ndarray, sigma: np.ndarray) -> None:
    if not target.shape == prediction.shape == sigma.shape:
        raise GvtzooError(
            f"target {target.shape}, prediction {prediction.shape} and σ {sigma.shape} differ in "
            "shape"
        )
    for name, image in (("target", target), ("prediction", prediction), ("σ", sigma)):
        if not np.isfinite(image).all():
            raise GvtzooError(f"the {name} has voxels that are not finite (NaN or infinite)")
    if sigma.size and sigma.min() <= 0:
        raise GvtzooError(f"σ has to be above 0 everywhere; its smallest value is {sigma.min():g}")


def _check_levels(levels: Sequence[float]) -> np.ndarray:
    nominal = np.asarray(levels, dtype=np.float64)
    if nominal.ndim != 1 or nominal.size == 0 or not ((nominal > 0) & (nominal < 1)).all():
        raise GvtzooError(f"levels have to lie between 0 and 1, not {list(levels)}")
    return nominal


def _mean_within_range(values: np.ndarray) -> float:
    # Rounding must not rank bins of one and the same value.
    return float(np.clip(values.mean(), values.min(), values.max()))
