"""How a microscope makes the source of a pair out of its target, learned from the pair itself.

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
from scipy.ndimage import correlate

from gvtzoo.metrics.units import noise_ratio
from gvtzoo.recipes.recipe import Recipe, with_settings
from gvtzoo.training.data.images import Box, PairedImage, TrainingImage

log = logging.getLogger(__name__)

BLUR = (1, 2, 2)  # voxels along z, y, x over which a source may be less sharp than its target
REACH = (1, 4, 4)  # voxels over which noise may be correlated
LOOKED_AT = (16, 128, 128)  # voxels along z, y, x of large images
LOOKED_AT_2D = (512, 512)
RIDGE = 1e-3  # of the mean square of the target: what smooth targets do not show stays near zero
GROUPS = 20  # of voxels of similar brightness
DARK = 0.1  # percentile of the target where there is no light
LEAST = 1e-3  # of the mean variance
CLEAN = 0.4  # times the source's noise
OUTLIERS = 3.0  # excess kurtosis, from where on noise is not that of photons and read-out
SIGNIFICANT = 3.0  # standard deviations of a correlation of white noise
CLEARLY = 2.0  # times the variance that means of rows have anyway


@dataclass(frozen=True, eq=False)
class Recording:
    """What turns a clean image into a noisy one, in the noisy one's units.

    Attributes
    ----------
    kernel : ndarray
        What the clean image is blurred and multiplied with, (z,) y, x.
    middle, base : float
        A clean value, and what the noisy image has there in the mean.
    dark_target, dark : float
        Brightness without light, of the clean image and of the noisy one.
    gain : float
        Variance of the noise by brightness: counts a photon; 0 where it does not depend on it.
    read_noise : float
        Standard deviation of the noise without light.
    correlation : ndarray
        Of the noise, at lags from −REACH to REACH along each axis; 1 in the middle.
    rows, columns : float
        Standard deviations of offsets that whole rows or columns have.
    outliers : float
        Excess kurtosis of the noise, against its brightness: large where single voxels jump.
    """

    kernel: np.ndarray
    middle: float
    base: float
    dark_target: float
    dark: float
    gain: float
    read_noise: float
    correlation: np.ndarray
    rows: float
    columns: float
    outliers: float

    @classmethod
    def of(cls, source: np.ndarray, target: np.ndarray) -> Recording:
        """Learned from an image and its clean counterpart; of large ones, from a part.

        Parameters
        ----------
        source, target : ndarray
            (channel, (z,) y, x), of the same shape.
        """
        part = _most_structure(target)
        source, target = (image[part].astype(np.float64) for image in (source, target))
        middle, base = float(target.mean()), float(source.mean())
        kernel = _kernel(source - base, target - middle)
        expected = base + _blurred(target - middle, kernel)
        error = source - expected
        rows, columns = error.mean(-1, keepdims=True), error.mean(-2, keepdims=True)
        local = error - rows - columns
        dark_target = float(np.percentile(target, DARK))
        dark = base + float(kernel.sum()) * (dark_target - middle)
        gain, read_noise = _photon_transfer(expected - dark, local)
        deviation = _deviation(expected - dark, gain, read_noise)
        relative = local / deviation
        outliers = float(np.mean(relative**4) / np.mean(relative**2) ** 2) - 3
        correlation = _correlation(relative)
        typical = float(np.mean(deviation**2))
        spreads = [
            _offsets(means, typical * _sum_along(correlation, axis) / error.shape[axis])
            for means, axis in ((rows, -1), (columns, -2))
        ]
        return cls(
            kernel=kernel,
            middle=middle,
            base=base,
            dark_target=dark_target,
            dark=dark,
            gain=gain,
            read_noise=read_noise,
            correlation=correlation,
            rows=spreads[0],
            columns=spreads[1],
            outliers=outliers,
        )

    @property
    def directed(self) -> bool:
        """Whether noise along x is another than along y, as lines of a scanner are."""
        return self.rows > 0 or self.columns > 0

    @property
    def margin(self) -> tuple[int, ...]:
        """Voxels around a box, (z,) y, x, that `expected` looks at."""
        return tuple(size // 2 for size in self.kernel.shape)

    def expected(self, target: np.ndarray) -> np.ndarray:
        """What the source would be without noise.

        Parameters
        ----------
        target : ndarray
            (channel, (z,) y, x); mirrored at its borders.
        """
        return self.base + _blurred(target.astype(np.float64) - self.middle, self.kernel)

    def record(self, expected: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """An image with noise drawn anew, float32.

        Parameters
        ----------
        expected : ndarray
            (channel, (z,) y, x), from `expected`.
        generator : numpy.random.Generator
        """
        light = np.maximum(expected - self.dark, 0)
        noise = self.read_noise * generator.standard_normal(expected.shape)
        if self.gain > 0:
            noise += self.gain * generator.poisson(light / self.gain) - light
        if np.count_nonzero(self.correlation) > 1:
            deviation = _deviation(light, self.gain, self.read_noise)
            noise = deviation * _correlated(noise / deviation, self.correlation)
        *outer, height, width = expected.shape
        noise += self.rows * generator.standard_normal((*outer, height, 1))
        noise += self.columns * generator.standard_normal((*outer, 1, width))
        return (expected + noise).astype(np.float32)


def _most_structure(target: np.ndarray) -> Box:
    """The part of an image (channel, …), of the largest size, whose values vary most."""
    sizes = target.shape[1:]
    limits = LOOKED_AT_2D if len(sizes) == 2 else LOOKED_AT
    starts = [
        range(0, max(1, size - limit + 1), limit) for size, limit in zip(sizes, limits, strict=True)
    ]
    boxes = [
        (slice(None), *(slice(f, f + limit) for f, limit in zip(first, limits, strict=True)))
        for first in product(*starts)
    ]
    return max(boxes, key=lambda box: float(np.std(target[box])))


def _kernel(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The linear combination of each voxel and those around it that is nearest to the source.

    Parameters
    ----------
    source, target : ndarray
        (channel, (z,) y, x), of mean 0.
    """
    sizes = target.shape[1:]
    radius = _within(BLUR, sizes)
    padded = np.pad(target, [(0, 0), *((r, r) for r in radius)], mode="reflect")
    terms = np.stack(
        [
            padded[(slice(None), *(slice(f, f + s) for f, s in zip(first, sizes, strict=True)))]
            for first in product(*(range(2 * r + 1) for r in radius))
        ]
    ).reshape(math.prod(2 * r + 1 for r in radius), -1)
    products = terms @ terms.T
    products += RIDGE * float(np.mean(np.diag(products))) * np.eye(len(terms))
    weights = np.linalg.lstsq(products, terms @ source.ravel(), rcond=None)[0]
    return weights.reshape([2 * r + 1 for r in radius])


def _blurred(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Each channel of an image (channel, …), mirrored at its borders."""
    return correlate(image, kernel[np.newaxis], mode="mirror")


def _within(reach: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """A reach along z, y, x for the axes that an image has, less than its sizes."""
    last = reach[-len(sizes) :]
    return tuple(min(r, size - 1) for r, size in zip(last, sizes, strict=True))


def _photon_transfer(light: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Variance by brightness, and the deviation without light.

    The photon transfer curve (Janesick, *Photon Transfer*, SPIE 2007), of groups of voxels of
    similar brightness.
    """
    groups = np.array_split(np.argsort(light, axis=None), GROUPS)
    x = np.array([light.flat[group].mean() for group in groups])
    y = np.array([np.mean(error.flat[group] ** 2) for group in groups])
    least = max(LEAST * float(y.mean()), np.finfo(float).tiny)
    weights = 1 / np.maximum(y, least)
    gain = max(0.0, float(np.polyfit(x, y, 1, w=weights)[0])) if np.ptp(x) > 0 else 0.0
    without = float(np.average(y - gain * x, weights=weights**2))
    return gain, math.sqrt(max(without, least))


def _deviation(light: np.ndarray, gain: float, read_noise: float) -> np.ndarray:
    """Of the noise, by the brightness above that without light."""
    return np.sqrt(gain * np.maximum(light, 0) + read_noise**2)


def _correlation(noise: np.ndarray) -> np.ndarray:
    """Of noise (channel, …) with a variance of about 1, at small lags; what may be chance is 0."""
    sizes = noise.shape[1:]
    reach = _within(REACH, sizes)
    found = np.zeros([2 * r + 1 for r in reach])
    for lag in product(*(range(-r, r + 1) for r in reach)):
        one, other = (
            tuple(slice(max(0, s * d), n + min(0, s * d)) for d, n in zip(lag, sizes, strict=True))
            for s in (1, -1)
        )
        mean = float(np.mean(noise[(slice(None), *one)] * noise[(slice(None), *other)]))
        found[tuple(d + r for d, r in zip(lag, reach, strict=True))] = mean
    found /= found[reach]
    return np.where(np.abs(found) * math.sqrt(noise.size) < SIGNIFICANT, 0.0, found)


def _sum_along(correlation: np.ndarray, axis: int) -> float:
    """By how much means of as many voxels vary more, along an axis, for their correlation."""
    index: list[Any] = [size // 2 for size in correlation.shape]
    index[axis] = slice(None)
    return max(0.0, float(correlation[tuple(index)].sum()))


def _correlated(white: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """White noise (channel, …) made correlated: its power is the transform (Wiener-Khinchin)."""
    lags: np.ndarray = np.zeros(white.shape[1:])
    places: list[np.ndarray] = [
        (np.arange(count) - count // 2) % length
        for count, length in zip(correlation.shape, lags.shape, strict=True)
    ]
    np.add.at(lags, np.ix_(*places), correlation)
    power = np.maximum(np.fft.fftn(lags).real, 0)
    axes = tuple(range(1, white.ndim))
    filtered = np.fft.ifftn(np.fft.fftn(white, axes=axes) * np.sqrt(power), axes=axes).real
    return filtered / math.sqrt(power.mean())


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
        Learned from the pair.
    share : float
        Of the patches that get new noise.
    """

    recording: Recording = field(kw_only=True)
    share: float = field(kw_only=True)

    @classmethod
    def of(cls, pair: PairedImage, share: float) -> RecordedImage:
        """A pair whose source and target have the same shape.

        Parameters
        ----------
        pair : PairedImage
        share : float
            Of the patches that get new noise.
        """
        known = {item.name: getattr(pair, item.name) for item in fields(PairedImage)}
        return cls(**known, recording=Recording.of(pair.source, pair.target), share=share)

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Source and target inside `box`, normalized; the source with its own noise or new one."""
        source, target = super().patch(box, generator)
        if generator.random() >= self.share:
            return source, target
        recorded = self.recording.record(self._expected(box), generator)
        return self.source_normalization.apply(recorded), target

    def _expected(self, box: Box) -> np.ndarray:
        """The source inside a box without noise."""
        margins = self.recording.margin
        first = [max(0, part.start - m) for part, m in zip(box, margins, strict=True)]
        wide = (slice(f, part.stop + m) for f, part, m in zip(first, box, margins, strict=True))
        inner = (slice(p.start - f, p.stop - f) for f, p in zip(first, box, strict=True))
        expected = self.recording.expected(self.target[(slice(None), *wide)])
        return expected[(slice(None), *inner)]


def with_new_noise(
    recipe: Recipe, images: Sequence[TrainingImage]
) -> tuple[Recipe, list[TrainingImage]]:
    """Training images with noise made anew, where the recipe wants that; and the recipe.

    Rehearsal needs such images too. Only pairs whose targets are much cleaner than their sources: a
    target's noise would become a part of both; and not where single voxels jump, which is not
    simulated. Where noise has a direction, as lines of a scanner
    have, patches are not turned.

    Parameters
    ----------
    recipe : Recipe
    images : sequence of TrainingImage
    """
    share = recipe.augmentation.new_noise
    is_wanted = share > 0 or recipe.augmentation.rehearsal > 0
    if not is_wanted or recipe.data.without_truth is not None:
        return recipe, list(images)
    found = [_recorded(image, share) for image in images]
    if recipe.augmentation.turns and any(
        isinstance(image, RecordedImage) and image.recording.directed for image in found
    ):
        log.info("rows or columns have noise of their own: patches are not turned")
        recipe = with_settings(recipe, augmentation={"turns": False})
    return recipe, found


def _recorded(image: TrainingImage, share: float) -> TrainingImage:
    """The image with new noise, where it can be told what its noise is like."""
    if not (isinstance(image, PairedImage) and has_clean_target(image)):
        return image
    found = RecordedImage.of(image, share)
    return found if found.recording.outliers < OUTLIERS else image


def has_clean_target(pair: PairedImage) -> bool:
    """Whether the target shows what the source shows, with far less noise."""
    return pair.source.shape == pair.target.shape and noise_ratio(pair.source, pair.target) < CLEAN
