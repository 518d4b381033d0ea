"""Normalization of images: fitted to a whole image, applied, and undone.

The statistics and the epsilon are those of BioImage.IO's processing operators ``scale_range``,
``zero_mean_unit_variance`` and ``fixed_zero_mean_unit_variance``, so that a package sees the same
network input in every program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

EPSILON = 1e-6
CHUNK = 2**20  # voxels whose statistics are taken at a time


@dataclass(frozen=True)
class FittedNormalization:
    """Offset and scale of one image: normalized = (image − offset) / scale.

    Attributes
    ----------
    offset, scale : float
        In the image's units.
    """

    offset: float
    scale: float

    def apply(self, image: Any) -> Any:
        """To the network's units.

        Parameters
        ----------
        image : ndarray or torch.Tensor
            Any shape and numeric type; left as it is.

        Returns
        -------
        ndarray or torch.Tensor
            (image − offset) / scale, float32; the only copy that is made.
        """
        if not isinstance(image, np.ndarray):
            return self._apply_to_tensor(image)
        normalized = np.empty(image.shape, np.float32)
        # In float64, rounded once: 32 bit integers lose digits when they become float32 first.
        np.subtract(image, self.offset, out=normalized, dtype=np.float64, casting="unsafe")
        normalized /= np.float32(self.scale)
        return normalized

    def _apply_to_tensor(self, image: Any) -> Any:
        normalized = image.float()
        if normalized is image:
            normalized = image.clone()
        return normalized.sub_(self.offset).div_(self.scale)

    def undo(self, normalized: Any) -> Any:
        """Back to the image's units (numpy array or torch tensor)."""
        return normalized * self.scale + self.offset

    def undo_scale(self, sigma: Any) -> Any:
        """A width, such as σ, back to the image's units (numpy array or torch tensor)."""
        return sigma * self.scale


class _Kind(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PercentileNormalization(_Kind):
    """Percentiles `low` and `high` of the image become 0 and 1 (CARE: 2 and 99.8)."""

    kind: Literal["percentile"] = "percentile"
    low: float = Field(2.0, ge=0, le=100)
    high: float = Field(99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _check_order(self) -> PercentileNormalization:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} has to be below high {self.high}")
        return self

    def fit(self, image: np.ndarray) -> FittedNormalization:
        """Statistics of a whole image, any shape."""
        low, high = percentiles(image, (self.low, self.high))
        return FittedNormalization(low, high - low + EPSILON)


class ZScoreNormalization(_Kind):
    """Mean 0 and standard deviation 1."""

    kind: Literal["zscore"] = "zscore"

    def fit(self, image: np.ndarray) -> FittedNormalization:
        """Statistics of a whole image, any shape, in float64."""
        mean, deviation = mean_and_deviation(image)
        return FittedNormalization(mean, deviation + EPSILON)


class FixedNormalization(_Kind):
    """A mean and a standard deviation that do not depend on the image."""

    kind: Literal["fixed"] = "fixed"
    mean: float
    std: float = Field(gt=0)

    def fit(self, image: np.ndarray) -> FittedNormalization:
        """The fixed values, whatever the image."""
        return FittedNormalization(self.mean, self.std)


class NoNormalization(_Kind):
    """The network takes images as they are."""

    kind: Literal["none"] = "none"

    def fit(self, image: np.ndarray) -> FittedNormalization:
        """Offset 0, scale 1, whatever the image."""
        return FittedNormalization(0.0, 1.0)


Normalization = Annotated[
    PercentileNormalization | ZScoreNormalization | FixedNormalization | NoNormalization,
    Field(discriminator="kind"),
]


def percentiles(image: np.ndarray, ranks: tuple[float, ...]) -> tuple[float, ...]:
    """Percentiles with linear interpolation, exact; of small integers by their histogram.

    Parameters
    ----------
    image : ndarray
        Any shape. 8 and 16 bit integers take memory for one chunk only.
    ranks : tuple of float
        0 to 100.
    """
    if image.dtype.kind not in "ui" or image.dtype.itemsize > 2:
        # In the integers' own type, NumPy's interpolation would overflow.
        numbers = image if image.dtype.kind == "f" else image.astype(np.float64)
        return tuple(float(value) for value in np.percentile(numbers, ranks))
    return histogram_percentiles(*integer_histogram(image), ranks)


def mean_and_deviation(image: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation in float64.

    Parameters
    ----------
    image : ndarray
        Any shape; takes memory for one chunk only.
    """
    flat = image.reshape(-1)
    chunks = [flat[start : start + CHUNK] for start in range(0, flat.size, CHUNK)]
    mean = sum(float(chunk.sum(dtype=np.float64)) for chunk in chunks) / flat.size
    squares = sum(float(np.square(chunk.astype(np.float64) - mean).sum()) for chunk in chunks)
    return mean, float(np.sqrt(squares / flat.size))


def integer_histogram(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Counts of every value of an 8 or 16 bit integer image, and the first value."""
    lowest = int(np.iinfo(image.dtype).min)
    counts = np.zeros(2 ** (8 * image.dtype.itemsize), np.int64)
    flat = image.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        values = flat[start : start + CHUNK].astype(np.int32) - lowest
        counts += np.bincount(values, minlength=counts.size)
    return counts, lowest


def histogram_percentiles(
    counts: np.ndarray, lowest: int, ranks: tuple[float, ...]
) -> tuple[float, ...]:
    """Percentiles from the counts of the values ``lowest``, ``lowest + 1``, …"""
    below = np.cumsum(counts)
    found = []
    for rank in ranks:
        position = rank / 100 * (below[-1] - 1)
        before = int(np.floor(position))
        values = np.searchsorted(below, [before, min(before + 1, below[-1] - 1)], side="right")
        fraction = position - before
        found.append(float(lowest + values[0] + fraction * (values[1] - values[0])))
    return tuple(found)
