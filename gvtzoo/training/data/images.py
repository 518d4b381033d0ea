"""What a training learns from: source images and targets, from files or with noise made anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.training.data.camera import simulate_camera

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import CameraNoise

Box = tuple[slice, ...]


class TrainingImage(Protocol):
    """A source image and its target.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the source, (channel, (z,) y, x).
    calibration : mapping
        The source's ``pixel_size`` by axis and its ``unit``, as far as the file tells.
    files : tuple of Path
        That it was read from.
    """

    @property
    def name(self) -> str:
        """The source's name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the source, (channel, (z,) y, x)."""

    @property
    def calibration(self) -> Mapping[str, Any]:
        """The source's ``pixel_size`` by axis and its ``unit``, as far as the file tells."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it was read from."""

    def raw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The whole source and target in their own units, (channel, …)."""

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Source and target inside `box` (spatial slices), normalized, float32, (channel, …)."""


@dataclass(frozen=True, eq=False)
class PairedImage:
    """A source image and a target image from files."""

    name: str
    calibration: Mapping[str, Any]
    source: np.ndarray
    target: np.ndarray
    source_normalization: FittedNormalization
    target_normalization: FittedNormalization
    files: tuple[Path, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the source, (channel, (z,) y, x)."""
        return self.source.shape

    def raw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Source and target as they were read; the generator is not used."""
        return self.source, self.target

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Source and target inside `box`, normalized; the generator is not used."""
        return (
            self.source_normalization.apply(self.source[(slice(None), *box)]),
            self.target_normalization.apply(
                self.target[(slice(None), *target_box(box, self.target))]
            ),
        )


def target_box(box: Box, target: np.ndarray) -> Box:
    """The part of a patch's slices that a target (channel, …) has: y and x of a 2D target."""
    return box[len(box) - (target.ndim - 1) :]


@dataclass(frozen=True, eq=False)
class NoisyImage:
    """A clean image that gets fresh camera noise of one level whenever it is read.

    `intensity` is the clean image between 0 (background) and about 1 (its 99.8 percentile), and
    `truth` what the network shall make of it, in the same units: the same, or its projection.
    """

    name: str
    calibration: Mapping[str, Any]
    intensity: np.ndarray
    truth: np.ndarray
    photons: float
    noise: CameraNoise
    source_normalization: FittedNormalization
    target_normalization: FittedNormalization
    files: tuple[Path, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the clean image, (channel, (z,) y, x)."""
        return self.intensity.shape

    def raw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The clean image with noise drawn anew, and what is expected of it, in camera units."""
        return self._expose(self.intensity, generator), self._expected(self.truth)

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The same inside `box`, normalized."""
        noisy = self._expose(self.intensity[(slice(None), *box)], generator)
        truth = self.truth[(slice(None), *target_box(box, self.truth))]
        return (
            self.source_normalization.apply(noisy),
            self.target_normalization.apply(self._expected(truth)),
        )

    def _expose(self, intensity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return simulate_camera(
            intensity,
            photons=self.photons,
            read_noise=self.noise.read_noise,
            offset=self.noise.offset,
            generator=generator,
        )

    def _expected(self, intensity: np.ndarray) -> np.ndarray:
        """What the camera would count without noise."""
        return (intensity * self.photons + self.noise.offset).astype(np.float32)


RAW = FittedNormalization(0.0, 1.0)
