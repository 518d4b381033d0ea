"""The metrics of images that do not fit the memory, a slab of planes at a time.

The same numbers as `gvtzoo.metrics.pair.evaluate_pair`: sums are merged over slabs, the
target's percentiles are counted, and SSIM, which looks at the neighbours of each voxel, is taken of
slabs that overlap by what its window reaches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import Box, View
from gvtzoo.images.statistics import percentiles
from gvtzoo.metrics.pair import (
    CONSTANT_TARGET,
    TARGET_PERCENTILES,
    check_finite,
    check_percentiles,
    check_shapes,
    evaluate_pair,
    ssim_window,
)

Range = tuple[int, int]


def evaluate_slabs(target: Any, prediction: Any, *, slab: int = 16) -> dict[str, float]:
    """All metrics of one image, of which only a few slabs are in memory at a time.

    Both images are read twice, for the sums, and for the error and SSIM of the fitted pair. Between
    the two the target is read for its percentiles: once if it is of 8 or 16 bit integers, else once
    for each 16 bits of its type.

    Parameters
    ----------
    target, prediction : array-like
        (z,) y, x, the same shape: NumPy arrays, `gvtzoo.images.lazy.View`, or anything with a
        shape whose slices along the first axis, ``array[start:stop]``, are NumPy arrays (zarr).
    slab : int
        Planes (of 2D images: rows) at a time, apart from the six that SSIM needs around them. A
        multiple of the stored chunks reads each only once a time.

    Returns
    -------
    dict
        As of `evaluate_pair`.

    Raises
    ------
    GvtzooError
        When shapes differ, voxels are not finite, the target is constant, or nearly so, an axis
        has two voxels, or `slab` is below 1.
    """
    if slab < 1:
        raise GvtzooError(f"a slab has at least 1 plane, not {slab}")
    check_shapes(tuple(target.shape), tuple(prediction.shape))
    if math.prod(target.shape) == 0:
        raise GvtzooError(CONSTANT_TARGET)
    pair = _Planes(target, slab), _Planes(prediction, slab)
    if target.shape[0] <= slab:
        return evaluate_pair(*(image.read(0, target.shape[0]) for image in pair))
    window = ssim_window(pair[0].shape)
    sums = _sums(*pair)
    squared, similarity = _fitted_error_and_ssim(pair, _fit(pair[0], sums), window)
    return {
        "r": sums.pearson_r,
        "nrmse": math.sqrt(squared),
        "psnr": -10 * math.log10(squared) if squared else math.inf,
        "ssim": similarity,
        "mse": sums.squared_error / sums.voxels,
        "mae": sums.absolute_error / sums.voxels,
        "r2": 1 - sums.squared_error / float(sums.comoments[0, 0]),
    }


@dataclass(frozen=True)
class _Planes:
    """An image that is read in slabs along its first axis; looks like a `View` to others."""

    array: Any
    slab: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(int, self.array.shape))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.read(0, 1).dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return (self.slab, *self.shape[1:])

    def __getitem__(self, box: Box) -> np.ndarray:
        return self.read(box[0].start, box[0].stop)[(slice(None), *box[1:])]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Planes from `start` to before `stop`, in a type that can be sorted by its bits."""
        if isinstance(self.array, View):
            others = (slice(0, length) for length in self.shape[1:])
            planes = self.array[(slice(start, stop), *others)]
        else:
            planes = np.asarray(self.array[start:stop])
        if planes.dtype.kind not in "uif" or planes.dtype.itemsize > 8:
            return planes.astype(np.float64)
        return planes.astype(planes.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class _Sums:
    """Sums over the voxels of a target (0) and a prediction (1).

    Attributes
    ----------
    voxels : int
    mean, lowest, highest : ndarray
        (2,)
    comoments : ndarray
        (2, 2), Σ (xᵢ − mean of xᵢ) (xⱼ − mean of xⱼ): voxels times the covariances.
    squared_error, absolute_error : float
        Sums over the voxels.
    """

    voxels: int
    mean: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    comoments: np.ndarray
    squared_error: float
    absolute_error: float

    @classmethod
    def of(cls, target: np.ndarray, prediction: np.ndarray) -> _Sums:
        values = np.stack([target.ravel(), prediction.ravel()]).astype(np.float64)
        difference = values[1] - values[0]
        mean, lowest, highest = values.mean(axis=1), values.min(axis=1), values.max(axis=1)
        values -= mean[:, None]
        return cls(
            voxels=target.size,
            mean=mean,
            lowest=lowest,
            highest=highest,
            comoments=values @ values.T,
            squared_error=float(difference @ difference),
            absolute_error=float(np.abs(difference).sum()),
        )

    def __add__(self, other: _Sums) -> _Sums:
        """The sums of both parts.

        About the parts' own means, and then merged, no digits are lost to a large offset (Chan,
        Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
        Variances", COMPSTAT 1982, equation 2.1).
        """
        voxels = self.voxels + other.voxels
        shift = other.mean - self.mean
        return _Sums(
            voxels=voxels,
            mean=self.mean + shift * (other.voxels / voxels),
            lowest=np.minimum(self.lowest, other.lowest),
            highest=np.maximum(self.highest, other.highest),
            comoments=self.comoments
            + other.comoments
            + np.outer(shift, shift) * (self.voxels * other.voxels / voxels),
            squared_error=self.squared_error + other.squared_error,
            absolute_error=self.absolute_error + other.absolute_error,
        )

    @property
    def constant(self) -> tuple[bool, bool]:
        target, prediction = self.lowest == self.highest
        return bool(target), bool(prediction)

    @property
    def pearson_r(self) -> float:
        if self.constant[1]:
            return 0.0
        norms = np.sqrt(np.diag(self.comoments))  # one by one: their product could overflow
        return float(np.clip(self.comoments[0, 1] / norms[0] / norms[1], -1, 1))


def _sums(target: _Planes, prediction: _Planes) -> _Sums:
    total: _Sums | None = None
    for start, stop in _slabs(target):
        planes = target.read(start, stop), prediction.read(start, stop)
        check_finite("target", planes[0])
        check_finite("prediction", planes[1])
        part = _Sums.of(*planes)
        total = part if total is None else total + part
    if total is None or total.constant[0]:
        raise GvtzooError(CONSTANT_TARGET)
    return total


@dataclass(frozen=True)
class _Fit:
    """Means and factors of target and prediction, as in `metrics.paper_normalize`."""

    mean: np.ndarray
    factor: tuple[float, float]

    def apply(self, planes: list[np.ndarray]) -> list[np.ndarray]:
        return [
            (image.astype(np.float64) - mean) * factor
            for image, mean, factor in zip(planes, self.mean, self.factor, strict=True)
        ]


def _fit(target: _Planes, sums: _Sums) -> _Fit:
    low, high = percentiles(target, TARGET_PERCENTILES)
    check_percentiles(low, high)
    covariance, variance = sums.comoments[1]
    scale = 0.0 if sums.constant[1] or not variance else float(covariance / variance)
    return _Fit(sums.mean, (1 / (high - low), scale / (high - low)))


def _fitted_error_and_ssim(
    pair: tuple[_Planes, _Planes], fit: _Fit, window: int
) -> tuple[float, float]:
    """Mean squared error of the fitted pair, and its mean SSIM as scikit-image takes it: of the
    voxels whose whole window is inside the image.
    """
    from skimage.metrics import structural_similarity

    shape = pair[0].shape
    halo = window // 2
    squares = similarities = 0.0
    for start, stop in _slabs(pair[0]):
        first = max(0, start - halo)
        wide = fit.apply([image.read(first, min(shape[0], stop + halo)) for image in pair])
        own = [image[start - first : stop - first] for image in wide]
        squares += float(np.square(own[0] - own[1]).sum())
        inner = max(start, halo), min(stop, shape[0] - halo)
        if inner[0] >= inner[1]:
            continue
        around = slice(inner[0] - halo - first, inner[1] + halo - first)
        windows = (np.squeeze(image[around]) for image in wide)
        mean = structural_similarity(*windows, win_size=window, data_range=1)
        similarities += float(mean) * (inner[1] - inner[0])
    return squares / pair[0].size, similarities / (shape[0] - 2 * halo)


def _slabs(image: _Planes) -> Iterator[Range]:
    length = image.shape[0]
    for start in range(0, length, image.slab):
        yield start, min(start + image.slab, length)
