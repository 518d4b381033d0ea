"""How a microscope made the source out of a pair's target, learned from the pair itself.

A few pairs show few examples of noise, and a network that learns from them for long remembers
these. What made them can be told from the same pairs: how sharp the source is, how its noise grows
with the light, over how many voxels it is correlated, and whether rows or columns have offsets of
their own. With that, patches get noise that the network has not seen.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from typing import Any

import numpy as np

from gvtzoo.core.layered_yaml import merge
from gvtzoo.recipes.recipe import Recipe, build_recipe
from gvtzoo.training.data.images import Box, PairedImage, TrainingImage

log = logging.getLogger(__name__)

BLUR = (1, 2, 2)  # voxels along z, y, x over which a source may be less sharp than its target
REACH = (1, 4, 4)  # voxels over which noise may be correlated
RIDGE = 1e-3  # of the mean square of the target: what smooth targets do not show stays near zero
GROUPS = 20  # of voxels of similar brightness
DARK = 0.1  # percentile of the brightness where there are no photons
SIGNIFICANT = 3.0  # standard deviations of a correlation of white noise
CLEARLY = 2.0  # times the variance that means of rows have anyway


@dataclass(frozen=True, eq=False)
class Recording:
    """What turns a clean image into a noisy one, in the noisy one's units.

    Attributes
    ----------
    dark : float
        The brightness without light.
    gain : float
        Variance of the noise by brightness: counts a photon; 0 where it does not depend on it.
    read_noise : float
        Standard deviation of the noise without light.
    correlation : ndarray
        Of the noise, at lags from −REACH to REACH along each axis; 1 in the middle.
    rows, columns : float
        Standard deviations of offsets that whole rows or columns have.
    """

    dark: float
    gain: float
    read_noise: float
    correlation: np.ndarray
    rows: float
    columns: float

    @classmethod
    def of(cls, expected: np.ndarray, source: np.ndarray) -> Recording:
        """What is between an image without noise and its recording.

        Parameters
        ----------
        expected : ndarray
            (channel, (z,) y, x), as `expected_source` gives it.
        source : ndarray
            Of the same shape.
        """
        error = source.astype(np.float64) - expected
        rows, columns = error.mean(-1, keepdims=True), error.mean(-2, keepdims=True)
        local = error - rows - columns
        dark, gain, read_noise = _photon_transfer(expected, local)
        deviation = np.sqrt(np.maximum(gain * (expected - dark), 0) + read_noise**2)
        correlation = _correlation(local / deviation)
        typical = float(np.mean(deviation**2))
        lines = [
            _offsets(means, typical * float(sums) / error.shape[axis])
            for means, axis, sums in (
                (rows, -1, _middle(correlation, -1).sum()),
                (columns, -2, _middle(correlation, -2).sum()),
            )
        ]
        return cls(dark, gain, read_noise, correlation, *lines)

    @property
    def directed(self) -> bool:
        """Whether noise along x is another than along y, as lines of a scanner are."""
        return self.rows > 0 or self.columns > 0

    def record(self, expected: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """An image with noise drawn anew, float32.

        Parameters
        ----------
        expected : ndarray
            (channel, (z,) y, x).
        generator : numpy.random.Generator
        """
        light = np.maximum(expected - self.dark, 0)
        noise = self.read_noise * generator.standard_normal(expected.shape)
        if self.gain > 0:
            noise += self.gain * generator.poisson(light / self.gain) - light
        deviation = np.sqrt(self.gain * light + self.read_noise**2)
        if np.count_nonzero(self.correlation) > 1:
            noise = deviation * self._correlated(noise / deviation)
        for spread, axis in ((self.rows, -1), (self.columns, -2)):
            if spread > 0:
                shape = [
                    1 if n == axis % expected.ndim else s for n, s in enumerate(expected.shape)
                ]
                noise += spread * generator.standard_normal(shape)
        return (expected + noise).astype(np.float32)

    def _correlated(self, white: np.ndarray) -> np.ndarray:
        """White noise with this correlation (Wiener-Khinchin: its power is the transform)."""
        axes = tuple(range(1, white.ndim))
        lags = np.zeros(white.shape[1:])
        places = [
            (np.arange(length) - length // 2) % size
            for length, size in zip(self.correlation.shape, lags.shape, strict=True)
        ]
        np.add.at(lags, np.ix_(*places), self.correlation)
        power = np.maximum(np.fft.fftn(lags).real, 0)
        filtered = np.fft.ifftn(np.fft.fftn(white, axes=axes) * np.sqrt(power), axes=axes).real
        return filtered / math.sqrt(power.mean())


def expected_source(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The target as the source would show it without noise: in its units, and as sharp.

    The linear combination of each voxel and those around it that is nearest to the source, by
    least squares.

    Parameters
    ----------
    source, target : ndarray
        (channel, (z,) y, x), of the same shape.

    Returns
    -------
    ndarray
        Float64.
    """
    middle = target.mean()
    clean = target.astype(np.float64) - middle
    radius = _within(BLUR, clean.shape[1:])
    padded = np.pad(clean, [(0, 0), *((r, r) for r in radius)], mode="reflect")
    shifted = [
        padded[
            (slice(None), *(slice(o, o + s) for o, s in zip(first, clean.shape[1:], strict=True)))
        ]
        for first in product(*(range(2 * r + 1) for r in radius))
    ]
    terms = np.stack([part.ravel() for part in shifted])
    products = terms @ terms.T
    products += RIDGE * float(np.mean(np.diag(products))) * np.eye(len(terms))
    base = float(source.mean())
    weights = np.linalg.solve(products, terms @ (source.astype(np.float64).ravel() - base))
    return base + (weights @ terms).reshape(clean.shape)


def _within(reach: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """A reach along the last axes, of (z,) y, x, that images of few planes have too."""
    last = reach[-len(shape) :]
    return tuple(min(r, size - 1) for r, size in zip(last, shape, strict=True))


def _photon_transfer(expected: np.ndarray, error: np.ndarray) -> tuple[float, float, float]:
    """Brightness without light, variance by brightness, and deviation without light.

    The photon transfer curve (Janesick, *Photon Transfer*, SPIE 2007), of groups of voxels of
    similar brightness.
    """
    order = np.argsort(expected, axis=None)
    brightness, squares = expected.ravel()[order], error.ravel()[order] ** 2
    groups = [
        (b.mean(), s.mean())
        for b, s in zip(
            np.array_split(brightness, GROUPS), np.array_split(squares, GROUPS), strict=True
        )
    ]
    x, y = np.array(groups).T
    floor = max(float(y.mean()) * 1e-3, np.finfo(float).tiny)
    slope = 0.0
    if np.ptp(x) > 0:
        slope = max(0.0, float(np.polyfit(x, y, 1, w=1 / np.maximum(y, floor))[0]))
    dark = float(np.percentile(brightness, DARK))
    without = float(np.average(y - slope * (x - dark), weights=1 / np.maximum(y, floor) ** 2))
    return dark, slope, math.sqrt(max(without, floor))


def _correlation(noise: np.ndarray) -> np.ndarray:
    """Of noise with a variance of about 1, at small lags; what may be chance is 0."""
    reach = _within(REACH, noise.shape[1:])
    sizes = noise.shape[1:]
    found = np.zeros([2 * r + 1 for r in reach])
    centred = noise - noise.mean()
    for lag in product(*(range(-r, r + 1) for r in reach)):
        one, other = (
            tuple(slice(max(0, s * d), n + min(0, s * d)) for d, n in zip(lag, sizes, strict=True))
            for s in (1, -1)
        )
        mean = float(np.mean(centred[(slice(None), *one)] * centred[(slice(None), *other)]))
        found[tuple(d + r for d, r in zip(lag, reach, strict=True))] = mean
    found /= found[reach]
    return np.where(np.abs(found) * math.sqrt(noise.size) < SIGNIFICANT, 0.0, found)


def _middle(correlation: np.ndarray, axis: int) -> np.ndarray:
    """The correlation along one axis."""
    index: list[Any] = [size // 2 for size in correlation.shape]
    index[axis] = slice(None)
    return correlation[tuple(index)]


def _offsets(means: np.ndarray, anyway: float) -> float:
    """The deviation of offsets of lines, of whose means a part of the variance is local noise."""
    variance = float(means.var())
    return math.sqrt(variance - anyway) if variance > CLEARLY * anyway else 0.0


@dataclass(frozen=True, eq=False)
class RecordedImage(PairedImage):
    """A pair most of whose patches get noise made anew.

    Attributes
    ----------
    recording : Recording
    expected : ndarray
        The source without noise.
    share : float
        Of the patches that get new noise.
    """

    recording: Recording = field(kw_only=True)
    expected: np.ndarray = field(kw_only=True)
    share: float = field(kw_only=True)

    @classmethod
    def of(cls, pair: PairedImage, share: float) -> RecordedImage:
        """With what is learned from a pair, whose source and target have the same shape.

        Parameters
        ----------
        pair : PairedImage
        share : float
            Of the patches that get new noise.
        """
        expected = expected_source(pair.source, pair.target)
        return cls(
            **{item.name: getattr(pair, item.name) for item in fields(PairedImage)},
            recording=Recording.of(expected, pair.source),
            expected=expected,
            share=share,
        )

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Source and target inside `box`, normalized; the source with its own noise or new one."""
        source, target = super().patch(box, generator)
        if generator.random() >= self.share:
            return source, target
        recorded = self.recording.record(self.expected[(slice(None), *box)], generator)
        return self.source_normalization.apply(recorded), target


def with_new_noise(
    recipe: Recipe, images: Sequence[TrainingImage]
) -> tuple[Recipe, list[TrainingImage]]:
    """Training images with noise made anew, where the recipe wants that; and the recipe.

    Where noise has a direction, as lines of a scanner have, it is not turned.

    Parameters
    ----------
    recipe : Recipe
    images : sequence of TrainingImage
    """
    if recipe.augmentation.new_noise == 0:
        return recipe, list(images)
    found = [_with_new_noise(image, recipe.augmentation.new_noise) for image in images]
    if recipe.augmentation.turns and any(
        isinstance(image, RecordedImage) and image.recording.directed for image in found
    ):
        log.info("rows or columns have noise of their own: patches are not turned")
        values = recipe.model_dump(mode="json")
        recipe = build_recipe(merge(values, {"augmentation": {"turns": False}}))
    return recipe, found


def _with_new_noise(image: TrainingImage, share: float) -> TrainingImage:
    if type(image) is not PairedImage or image.source.shape != image.target.shape:
        return image
    return RecordedImage.of(image, share)
