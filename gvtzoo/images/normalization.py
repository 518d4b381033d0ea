"""Normalization of images: fitted to a whole image, applied, and undone.

The statistics and the epsilon are those of BioImage.IO's processing operators ``scale_range``,
``zero_mean_unit_variance`` and ``fixed_zero_mean_unit_variance``, so that a package sees the same
network input in every program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from gvtzoo.core.strict import Strict
from gvtzoo.images.masks import without_mask
from gvtzoo.images.statistics import mean_and_deviation, percentiles

EPSILON = 1e-6


@dataclass(frozen=True)
class FittedNormalization:
    """Offset and scale of one image: normalized = (image − offset) / scale.

    Attributes
    ----------
    offset, scale : float
        In the image's units.
    masked : float
        Share of the image that belongs to a mask around it, and was left out
        (`gvtzoo.images.masks`).
    """

    offset: float
    scale: float
    masked: float = 0.0

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

    def denormalize(self, normalized: Any) -> Any:
        """Back to the image's units (numpy array or torch tensor)."""
        return normalized * self.scale + self.offset

    def denormalize_scale(self, sigma: Any) -> Any:
        """A width, such as σ, back to the image's units (numpy array or torch tensor)."""
        return sigma * self.scale


class PercentileNormalization(Strict):
    """Percentiles `low` and `high` of the image become 0 and 1 (CARE: 2 and 99.8)."""

    kind: Literal["percentile"] = "percentile"
    low: float = Field(2.0, ge=0, le=100)
    high: float = Field(99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _check_order(self) -> PercentileNormalization:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} has to be below high {self.high}")
        return self

    def fit(self, image: Any) -> FittedNormalization:
        """Statistics of a whole image, any shape; without a mask around it."""
        values = without_mask(image)
        low, high = percentiles(values, (self.low, self.high))
        return FittedNormalization(low, high - low + EPSILON, 1 - values.size / image.size)


class ZScoreNormalization(Strict):
    """Mean 0 and standard deviation 1."""

    kind: Literal["zscore"] = "zscore"

    def fit(self, image: Any) -> FittedNormalization:
        """Statistics of a whole image, any shape, in float64; without a mask around it."""
        values = without_mask(image)
        mean, deviation = mean_and_deviation(values)
        return FittedNormalization(mean, deviation + EPSILON, 1 - values.size / image.size)


class FixedNormalization(Strict):
    """A mean and a standard deviation that do not depend on the image."""

    kind: Literal["fixed"] = "fixed"
    mean: float
    std: float = Field(gt=0)

    def fit(self, image: Any) -> FittedNormalization:
        """The fixed values, whatever the image."""
        return FittedNormalization(self.mean, self.std)


class NoNormalization(Strict):
    """The network takes images as they are."""

    kind: Literal["none"] = "none"

    def fit(self, image: Any) -> FittedNormalization:
        """Offset 0, scale 1, whatever the image."""
        return FittedNormalization(0.0, 1.0)


Normalization = Annotated[
    PercentileNormalization | ZScoreNormalization | FixedNormalization | NoNormalization,
    Field(discriminator="kind"),
]


class TargetUnits(Strict):
    """The units of targets, where they are others than the sources': target = gain · source +
    offset.

    Attributes
    ----------
    gain : float
        Target units to a source unit.
    offset : float
        In target units.
    """

    gain: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)


class NormalizationConfig(Strict):
    """How images are brought to the network's units, and back.

    Attributes
    ----------
    source : Normalization
        Fitted to every whole source image.
    target : Normalization, "as_source" or "fitted"
        Fitted to every whole target image; "as_source" takes the source's offset and scale, for
        targets in the same units; "fitted" fits each target to its source first
        (`gvtzoo.metrics.units`), for targets that have units of their own, image by image.
    target_units : TargetUnits, optional
        With "as_source": the targets' units, which are those of predictions, too.
    undo : bool
        Whether predictions are brought back to the source's units, or to `target_units`.
    before_resampling : bool
        Whether offset and scale are those of the image before its resampling to the network's
        pixel size, as in the reference implementation, or of the resampled one.
    """

    source: Normalization = PercentileNormalization()
    target: Normalization | Literal["as_source", "fitted"] = PercentileNormalization()
    target_units: TargetUnits | None = None
    undo: bool = True
    before_resampling: bool = False  # packages and recipes that do not say were trained so

    @model_validator(mode="after")
    def _check_units(self) -> NormalizationConfig:
        if self.target_units is not None and self.target != "as_source":
            raise ValueError("target_units needs target: as_source")
        return self

    @property
    def text(self) -> str:
        """In a line, such as ``percentile (low 2, high 99.8), undone in predictions``."""
        settings = self.source.model_dump(exclude={"kind"})
        numbers = ", ".join(f"{key} {value:g}" for key, value in settings.items())
        undone = "undone in predictions" if self.undo else "predictions stay in its units"
        return f"{self.source.kind}{f' ({numbers})' if numbers else ''}, {undone}"

    def of_prediction(self, source: FittedNormalization) -> FittedNormalization:
        """What brings a prediction from the network's units to those that are promised for it.

        Parameters
        ----------
        source : FittedNormalization
            Of the source image.
        """
        if self.target_units is None:
            return source
        gain, offset = self.target_units.gain, self.target_units.offset
        return FittedNormalization(gain * source.offset + offset, gain * source.scale)
