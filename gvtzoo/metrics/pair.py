"""Metrics of a prediction against the truth, as the paper computes them (Methods).

Pearson's r is taken on raw voxels. For NRMSE, PSNR and SSIM the target is normalized to its 0.1
and 99.9 percentiles, both images are centred, and the prediction is scaled to fit the target best
(by covariance / variance), so that an affine change of its intensities costs nothing.
"""

from __future__ import annotations

import numpy as np

from gvtzoo.core.errors import GvtzooError

TARGET_PERCENTILES = 0.1, 99.9
SSIM_WINDOW = 7  # scikit-image's default
CONSTANT_TARGET = "the target is constant: no metric is defined for it"


def pearson_r(target: np.ndarray, prediction: np.ndarray) -> float:
    """Pearson's correlation of raw voxels, −1 to 1; 0 where the prediction is constant.

    Parameters
    ----------
    target, prediction : ndarray
        The same shape; units may differ.

    Returns
    -------
    float

    Raises
    ------
    GvtzooError
        When shapes differ, voxels are not finite, or the target is constant.
    """
    from scipy.stats import pearsonr

    check_pair(target, prediction)
    if prediction.min() == prediction.max():
        return 0.0
    flat = (image.ravel().astype(np.float64) for image in (target, prediction))
    return float(pearsonr(*flat).statistic)


def paper_normalize(target: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalize a target, and fit a prediction to it.

    Parameters
    ----------
    target, prediction : ndarray
        The same shape.

    Returns
    -------
    tuple of ndarray
        The target between its 0.1 and 99.9 percentiles, less its mean; the prediction less its
        mean, times covariance / variance (a constant prediction becomes 0). Float64.

    Raises
    ------
    GvtzooError
        When shapes differ, voxels are not finite, the target is constant, or nearly so: its two
        percentiles are equal.
    """
    check_pair(target, prediction)
    target, prediction = target.astype(np.float64), prediction.astype(np.float64)
    low, high = np.percentile(target, TARGET_PERCENTILES)
    check_percentiles(low, high)
    target = (target - low) / (high - low)
    target -= target.mean()
    prediction -= prediction.mean()
    variance = float((prediction**2).mean())
    scale = float((prediction * target).mean()) / variance if variance else 0.0
    return target, scale * prediction


def mse(target: np.ndarray, prediction: np.ndarray) -> float:
    """Mean squared error, in squared units of the images."""
    from skimage.metrics import mean_squared_error

    check_pair(target, prediction)
    return float(mean_squared_error(target.astype(np.float64), prediction.astype(np.float64)))


def mae(target: np.ndarray, prediction: np.ndarray) -> float:
    """Mean absolute error, in units of the images."""
    check_pair(target, prediction)
    return float(np.abs(target.astype(np.float64) - prediction.astype(np.float64)).mean())


def r2(target: np.ndarray, prediction: np.ndarray) -> float:
    """Coefficient of determination: 1 − MSE / variance of the target; at most 1."""
    return 1 - mse(target, prediction) / float(target.astype(np.float64).var())


def nrmse(target: np.ndarray, prediction: np.ndarray, *, data_range: float) -> float:
    """Root of the mean squared error, as a share of `data_range`.

    Parameters
    ----------
    target, prediction : ndarray
        The same shape, in the same units.
    data_range : float
        What the intensities span, in the same units.

    Returns
    -------
    float
    """
    return float(np.sqrt(mse(target, prediction)) / data_range)


def psnr(target: np.ndarray, prediction: np.ndarray, *, data_range: float) -> float:
    """Peak signal-to-noise ratio, in dB; infinite where the images are equal.

    Parameters
    ----------
    target, prediction : ndarray
        The same shape, in the same units.
    data_range : float
        What the intensities span, in the same units.

    Returns
    -------
    float
    """
    from skimage.metrics import peak_signal_noise_ratio

    check_pair(target, prediction)
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(target, prediction, data_range=data_range))


def ssim(target: np.ndarray, prediction: np.ndarray, *, data_range: float) -> float:
    """Structural similarity with a uniform window of 7 voxels along each axis.

    Where an axis has fewer than 7 voxels (a stack of few planes), the window is the largest odd
    one that fits, along all axes: scikit-image takes one width. Axes of length 1 do not count.

    Parameters
    ----------
    target, prediction : ndarray
        (z,) y, x, the same shape.
    data_range : float
        What the intensities span, in units of the images.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    GvtzooError
        When the images cannot be compared (`check_pair`), or have an axis of two voxels.
    """
    check_pair(target, prediction)
    return _ssim(target, prediction, data_range)


def ssim_by_slice(target: np.ndarray, prediction: np.ndarray, *, data_range: float) -> float:
    """Mean over z of the structural similarity of each plane, as that of 2D images (`ssim`).

    Parameters
    ----------
    target, prediction : ndarray
        z, y, x, the same shape. Single planes may be constant.
    data_range : float
        What the intensities span, in units of the images; the same for all planes.

    Raises
    ------
    GvtzooError
        When the images cannot be compared (`check_pair`), are not z, y, x, or have two voxels
        along y or x.
    """
    check_pair(target, prediction)
    if target.ndim != 3:
        raise GvtzooError(f"slices are those of an image z, y, x, not of the shape {target.shape}")
    planes = zip(target, prediction, strict=True)
    return float(np.mean([_ssim(*plane, data_range) for plane in planes]))


def ssim_window(shape: tuple[int, ...]) -> int:
    """Width of the SSIM window: 7 voxels, or the largest odd number that fits all axes but those
    of length 1.

    Raises
    ------
    GvtzooError
        When an axis has two voxels, or none has more than one.
    """
    lengths = tuple(length for length in shape if length > 1)
    smallest = min(lengths, default=1)
    window = min(SSIM_WINDOW, smallest if smallest % 2 else smallest - 1)
    if window < 3:
        raise GvtzooError(f"SSIM needs at least 3 voxels along each axis, not {lengths}")
    return window


def _ssim(target: np.ndarray, prediction: np.ndarray, data_range: float) -> float:
    from skimage.metrics import structural_similarity

    window = ssim_window(target.shape)
    pair = np.squeeze(target), np.squeeze(prediction)
    return float(structural_similarity(*pair, win_size=window, data_range=data_range))


def evaluate_pair(target: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """All of the paper's metrics of one image, and those on raw voxels.

    Parameters
    ----------
    target, prediction : ndarray
        (z,) y, x, the same shape.

    Returns
    -------
    dict
        ``r``; of the fitted pair (`paper_normalize`, where the data range is 1) ``nrmse``,
        ``psnr`` (dB) and ``ssim``; of raw voxels ``mse``, ``mae`` and ``r2``, which mean something
        only where both images have the same units.

    Raises
    ------
    GvtzooError
        When shapes differ, voxels are not finite, or the target is constant.
    """
    normalized, fitted = paper_normalize(target, prediction)
    return {
        "r": pearson_r(target, prediction),
        "nrmse": nrmse(normalized, fitted, data_range=1),
        "psnr": psnr(normalized, fitted, data_range=1),
        "ssim": ssim(normalized, fitted, data_range=1),
        "mse": mse(target, prediction),
        "mae": mae(target, prediction),
        "r2": r2(target, prediction),
    }


def check_pair(target: np.ndarray, prediction: np.ndarray) -> None:
    """Refuse images that cannot be compared.

    Raises
    ------
    GvtzooError
        When shapes differ, voxels are not finite, or the target is empty or constant.
    """
    check_shapes(target.shape, prediction.shape)
    check_finite("target", target)
    check_finite("prediction", prediction)
    if target.size == 0 or target.min() == target.max():
        raise GvtzooError(CONSTANT_TARGET)


def check_shapes(target: tuple[int, ...], prediction: tuple[int, ...]) -> None:
    """Refuse images of different shapes.

    Raises
    ------
    GvtzooError
        With both shapes.
    """
    if target != prediction:
        raise GvtzooError(f"target {target} and prediction {prediction} differ in shape")


def check_finite(name: str, image: np.ndarray) -> None:
    """Refuse NaN and infinite voxels in the image of this name.

    Raises
    ------
    GvtzooError
        When there is one.
    """
    if not np.isfinite(image).all():
        raise GvtzooError(f"the {name} has voxels that are not finite (NaN or infinite)")


def check_percentiles(low: float, high: float) -> None:
    """Refuse a target whose two percentiles are equal.

    Raises
    ------
    GvtzooError
        When they are.
    """
    if low == high:
        raise GvtzooError(
            f"the target is {low:g} at both its 0.1 and its 99.9 percentile: it cannot be "
            "normalized; crop it to where the structure is"
        )
