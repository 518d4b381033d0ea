"""One prediction against its truth: metrics, whether σ is right, and histograms."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.pairs import EvaluationPair
from gvtzoo.evaluation.predictions import Prediction
from gvtzoo.images.calibration import micrometers
from gvtzoo.images.files import open_image, read_image
from gvtzoo.images.lazy import LazyImage, View
from gvtzoo.metrics.calibration import (
    Calibration,
    calibrate,
    laplace_multiple,
    merge_calibrations,
)
from gvtzoo.metrics.pair import evaluate_pair, paper_normalize
from gvtzoo.metrics.units import fit_units

log = logging.getLogger(__name__)

LARGE = 10**8  # voxels, from which on an image is not loaded to be measured
SLAB_MEMORY = 4 * 10**9  # bytes
BYTES_PER_VOXEL = 128  # that SSIM takes
SSIM_HALO = 6  # planes beside a slab
HISTOGRAM_EDGES = np.linspace(-0.75, 1.25, 65)  # of targets less their mean, which span 1
IN_UNITS = ("mse", "mae", "r2")  # metrics that need the truth's units
AGAINST_NOISE = ("r", "nrmse")  # metrics that mean something against a noisy recording


@dataclass(frozen=True)
class Options:
    """What is measured beyond the paper's metrics.

    Attributes
    ----------
    resolution : bool
        Up to which detail prediction and truth agree (`gvtzoo.metrics.resolution`): in µm where
        the voxel size is known, else in voxels.
    segmentation : bool
        Overlap of what a threshold finds in both (`gvtzoo.metrics.segmentation`).
    truth : bool
        Whether targets are the truth. If they are noisy recordings, r and NRMSE rank predictions
        as the truth would; all else is left out, σ too.
    """

    resolution: bool = False
    segmentation: bool = False
    truth: bool = True


def measure(
    pair: EvaluationPair, prediction: Prediction, options: Options
) -> tuple[dict[str, float], Calibration | None, tuple[np.ndarray, np.ndarray] | None]:
    """Metrics, σ's calibration, and histograms of the truth and the prediction.

    σ is judged in the truth's units. Where predictions are not known to have these, they and σ are
    brought to them by the linear fit with the least squared error. Where the truth has other units,
    MSE, MAE and R², and σ, are left out. Of several times, positions or
    channels, metrics are the mean. Images of more than 10⁸ voxels are measured slab by slab, and
    give metrics only.

    Parameters
    ----------
    pair : EvaluationPair
    prediction : Prediction
        Of the pair's source.
    options : Options

    Raises
    ------
    GvtzooError
        When the images cannot be read or compared.
    """
    of_truth = _reading(pair.target_channel)
    of_prediction = _reading(_channel(pair, prediction))
    opened = open_image(pair.target, **of_truth)
    if math.prod(opened.array.shape) > LARGE and not _looped(opened):
        from gvtzoo.metrics.streaming import evaluate_slabs

        given = open_image(prediction.path, **of_prediction)
        if _looped(given):
            raise GvtzooError(f"the prediction has several {' and '.join(_looped(given))}")
        truth = _only_frame(opened)
        planes = SLAB_MEMORY // (BYTES_PER_VOXEL * math.prod(truth.shape[1:])) - SSIM_HALO
        return evaluate_slabs(truth, _only_frame(given), slab=max(1, planes)), None, None
    truths = frames(read_image(pair.target, **of_truth))
    predictions = frames(read_image(prediction.path, **of_prediction))
    if len(truths) != len(predictions):
        raise GvtzooError(
            f"the truth has {len(truths)} times, positions or channels, the prediction "
            f"{len(predictions)}"
        )
    sigmas = _sigmas(prediction, predictions)
    measured = [
        _measure_frame(*images, prediction, pair, options)
        for images in zip(truths, predictions, sigmas, strict=True)
    ]
    metrics = {
        name: float(np.mean([found[0][name] for found in measured]))
        for name in measured[0][0]
        if all(name in found[0] for found in measured)
    }
    calibrations = [found[1] for found in measured if found[1] is not None]
    calibration = merge_calibrations(calibrations) if calibrations else None
    counts = np.sum([found[2] for found in measured], axis=0)
    return metrics, calibration, (counts[0], counts[1])


def _measure_frame(
    truth: np.ndarray,
    values: np.ndarray,
    sigma: np.ndarray | None,
    prediction: Prediction,
    pair: EvaluationPair,
    options: Options,
) -> tuple[dict[str, float], Calibration | None, tuple[np.ndarray, np.ndarray]]:
    """One time, position and channel, ((z,) y, x)."""
    metrics = evaluate_pair(truth, values)
    normalized, fitted = paper_normalize(truth, values)
    histograms = (_histogram(normalized), _histogram(fitted))
    if not options.truth:
        return {name: metrics[name] for name in AGAINST_NOISE}, None, histograms
    if not in_same_units(values, truth):
        # Numbers in units that the two do not share would only tell how far these are apart.
        metrics = {name: metrics[name] for name in metrics if name not in IN_UNITS}
        sigma = None if prediction.in_truth_units else sigma
    if options.resolution:
        metrics["resolution"] = _resolution(truth, values, pair.target)
    if options.segmentation:
        from gvtzoo.metrics.segmentation import evaluate_segmentation

        metrics |= evaluate_segmentation(truth, values)
    if sigma is None:
        return metrics, None, histograms
    slope, offset = (1.0, 0.0) if prediction.in_truth_units else _linear_fit(values, truth)
    if slope <= 0:
        log.warning("%s: the prediction is darker where the truth is brighter: σ is not judged",
                    pair.place)  # fmt: skip
        return metrics, None, histograms
    brought = slope * values.astype(np.float64) + offset
    widths = slope * sigma.astype(np.float64)
    known = prediction.calibration
    multiple = laplace_multiple if known is None else known.multiple
    return metrics, calibrate(truth, brought, widths, multiple=multiple), histograms


def in_same_units(values: np.ndarray, truth: np.ndarray) -> bool:
    """Whether a prediction's units are those of the truth, or near enough for a bad prediction."""
    fit = fit_units(values[np.newaxis], truth[np.newaxis])
    return fit.within(gain=2.0, offset=1.0)


def frames(image: xr.DataArray) -> list[np.ndarray]:
    """Every time, position and channel of an image, ((z,) y, x); z of length 1 is left out."""
    single = [axis for axis, size in image.sizes.items() if size == 1 and axis not in ("y", "x")]
    kept = image.squeeze(single, drop=True)
    looped, spatial = ([a for a in axes if a in kept.dims] for axes in ("tpc", "zyx"))
    array = kept.transpose(*looped, *spatial).to_numpy()
    return list(array.reshape(-1, *array.shape[len(looped) :]))


def _looped(image: LazyImage) -> list[str]:
    """Axes along which an image has several frames."""
    names = {"t": "times", "p": "positions", "c": "channels"}
    return [names[axis] for axis, size in image.sizes.items() if axis in names and size > 1]


def _only_frame(image: LazyImage) -> View:
    """What `frames` gives of an image with one frame, without reading it."""
    kept = [axis for axis in "zyx" if image.sizes.get(axis, 0) > 1 or axis in "yx"]
    axes = tuple(image.dims.index(axis) for axis in kept)
    fixed = tuple((number, 0) for number, axis in enumerate(image.dims) if axis not in kept)
    return View(image.array, axes, fixed)


def _sigmas(
    prediction: Prediction, predictions: Sequence[np.ndarray]
) -> Sequence[np.ndarray | None]:
    if prediction.sigma is None:
        return [None] * len(predictions)
    sigmas = frames(read_image(prediction.sigma, keep_channels=True))
    if [sigma.shape for sigma in sigmas] != [values.shape for values in predictions]:
        raise GvtzooError(f"{prediction.sigma.name} has another size than the prediction")
    return sigmas


def _reading(channel: str | None) -> dict[str, Any]:
    """How an image is read: one channel where it is named, else all."""
    return {"channel": channel} if channel is not None else {"keep_channels": True}


def _channel(pair: EvaluationPair, prediction: Prediction) -> str | None:
    return pair.channel if prediction.path == pair.source else None


def _linear_fit(values: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope and offset that bring values closest to the truth."""
    first, second = values.astype(np.float64), truth.astype(np.float64)
    centred = first - first.mean()
    variance = float((centred**2).mean())
    slope = float((centred * (second - second.mean())).mean()) / variance if variance else 0.0
    return slope, float(second.mean() - slope * first.mean())


def _resolution(truth: np.ndarray, values: np.ndarray, path: Path) -> float:
    from gvtzoo.metrics.resolution import fourier_correlation

    known = voxel_size(path)
    scale = micrometers(known.get("unit"))
    sizes = known.get("pixel_size") or {}
    axes = "zyx"[-truth.ndim :]
    if scale is None or not set(axes) <= set(sizes):
        return fourier_correlation(truth, values).resolution()
    voxel = tuple(scale * sizes[axis] for axis in axes)
    return fourier_correlation(truth, values, pixel_size=voxel).resolution()


def voxel_size(path: Path) -> dict[str, Any]:
    """``pixel_size`` along z, y, x as far as it is known, and its ``unit``."""
    image = open_image(path, keep_channels=True)
    sizes = {axis: size for axis, size in image.pixel_size.items() if axis in "zyx"}
    return {"pixel_size": sizes, "unit": image.unit}


def _histogram(image: np.ndarray) -> np.ndarray:
    inside = np.clip(image, HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1])
    return np.histogram(inside, HISTOGRAM_EDGES)[0]
