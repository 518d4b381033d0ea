"""Whether two images of the same object have the same units, and how one's become the other's.

Two exposures often differ by a gain and an offset. Both are found from means over blocks of voxels,
in which noise hardly counts, by the ratio of the two standard deviations (the geometric mean of the
two regressions), each less what noise is left of it. Blocks that lie far from the
line (hot pixels, saturation, dust) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gvtzoo.metrics.noise import estimate_noise

BLOCK = 8  # voxels along each axis, at most
FEWEST_BLOCKS = 4  # along each axis
ROUNDS = 5
OUTLIER = 4.0  # median absolute deviations, brought to standard deviations
NORMAL = 1.4826
ALIKE = 0.5  # correlation of the blocks' means below which nothing can be said
SAME_GAIN = 1.25  # as a factor
SAME_OFFSET = 0.25  # of the image's range
EDGES = (5.0, 95.0)  # percentiles of the blocks' means, between which the range lies
LEAST_SIGNAL = 0.1  # of the variance of blocks
NOISIER = 1.5  # times the source's noise, from where on a target is not a target


@dataclass(frozen=True)
class UnitFit:
    """second ≈ gain · first + offset.

    Attributes
    ----------
    gain, offset : float
        In units of the second image (to one of the first).
    correlation : float
        Of the blocks' means, −1 to 1.
    middle, spread : float
        Centre and width of the first image's range.
    """

    gain: float
    offset: float
    correlation: float
    middle: float
    spread: float

    @property
    def comparable(self) -> bool:
        """Whether the two show the same, so that the fit means something."""
        return self.correlation >= ALIKE and self.gain > 0

    def agrees(
        self, other: UnitFit, *, gain: float = SAME_GAIN, offset: float = SAME_OFFSET
    ) -> bool:
        """Whether the other fit makes about the same of this one's first image.

        Parameters
        ----------
        other : UnitFit
        gain : float
            The largest factor between the two gains.
        offset : float
            How far apart the two may be in the middle of the range, as a share of the range.
        """
        if not (self.gain > 0 and other.gain > 0):
            return False
        apart = abs(self.apply(self.middle) - other.apply(self.middle))
        range_ = self.spread * max(self.gain, other.gain)
        return 1 / gain <= self.gain / other.gain <= gain and apart <= offset * range_

    def within(self, *, gain: float, offset: float) -> bool:
        """Whether the two images have the same units, or as nearly as that."""
        same = UnitFit(1.0, 0.0, 1.0, self.middle, self.spread)
        return self.agrees(same, gain=gain, offset=offset)

    @property
    def same(self) -> bool:
        """Whether both images have the same units."""
        return self.within(gain=SAME_GAIN, offset=SAME_OFFSET)

    def apply(self, value: float) -> float:
        """A value of the first image in units of the second."""
        return self.gain * value + self.offset


@dataclass(frozen=True)
class Units:
    """How the units of targets relate to those of their sources.

    Attributes
    ----------
    kind : {"same", "common", "own", "unknown"}
        The same units; others, by one gain and offset for all pairs; others, pair by pair; or
        images that do not look alike enough to tell, as transmitted light and fluorescence.
    fit : UnitFit
        The middle one of the pairs' (by their gain).
    """

    kind: Literal["same", "common", "own", "unknown"]
    fit: UnitFit

    @property
    def line(self) -> str:
        """target = gain × source + offset, in words."""
        offset = f"{abs(self.fit.offset):.4g}"
        return (
            f"target = {self.fit.gain:.4g} × source {'-' if self.fit.offset < 0 else '+'} {offset}"
        )


def compare_units(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Units:
    """Compare the units of sources with those of their targets.

    Parameters
    ----------
    pairs : sequence of (ndarray, ndarray)
        Source and target, (channel, (z,) y, x), of the same y and x; of a source with more axes
        the maximum along them is compared.
    """
    fits = [fit_units(source, target) for source, target in pairs]
    alike = [fit for fit in fits if fit.comparable]
    if 2 * len(alike) < len(fits) or not alike:
        return Units("same" if all(fit.same for fit in fits) else "unknown", fits[0])
    middle = sorted(alike, key=lambda fit: fit.gain)[len(alike) // 2]
    if sum(fit.same for fit in alike) * 2 > len(alike) and middle.same:
        return Units("same", middle)
    common = all(fit.agrees(middle) for fit in alike)
    return Units("common" if common else "own", middle)


def fit_units(first: np.ndarray, second: np.ndarray) -> UnitFit:
    """The robust affine fit of the second image to the first.

    Parameters
    ----------
    first, second : ndarray
        (channel, (z,) y, x), of the same y and x, any numeric type.
    """
    x, y = _aligned(first, second)
    kept = np.ones(x.means.shape, bool)
    gain, offset, correlation = _line(x, y, kept)
    for _ in range(ROUNDS):
        errors = y.means - gain * x.means - offset
        centre = float(np.median(errors[kept]))
        typical = NORMAL * float(np.median(np.abs(errors[kept] - centre)))
        within = np.abs(errors - centre) <= OUTLIER * typical
        if typical == 0 or within.sum() < FEWEST_BLOCKS or np.array_equal(within, kept):
            break
        kept = within
        gain, offset, correlation = _line(x, y, kept)
    low, high = np.percentile(x.means[kept], EDGES)
    return UnitFit(gain, offset, correlation, float(low + high) / 2, float(high - low))


def noise_ratio(source: np.ndarray, target: np.ndarray) -> float:
    """Noise of a target over that of its source, both relative to what they show.

    Parameters
    ----------
    source, target : ndarray
        (channel, (z,) y, x), the same shape.
    """
    fit = fit_units(source, target)
    noise = [
        float(np.median([estimate_noise(channel) for channel in image]))
        for image in (source, target)
    ]
    if noise[0] == 0 or not fit.comparable:
        return np.inf if noise[1] > 0 and fit.comparable else 1.0
    return noise[1] / fit.gain / noise[0]


@dataclass(frozen=True)
class _Blocks:
    """Means over blocks of an image, and the variance that its noise gives them."""

    means: np.ndarray
    noise: float

    def deviation(self, kept: np.ndarray) -> float:
        """Standard deviation of what is seen, without the noise, where that can be told apart."""
        variance = float(self.means[kept].var())
        return float(np.sqrt(max(variance - self.noise, LEAST_SIGNAL * variance)))


def _line(x: _Blocks, y: _Blocks, kept: np.ndarray) -> tuple[float, float, float]:
    """Gain, offset and correlation."""
    means = float(x.means[kept].mean()), float(y.means[kept].mean())
    if not (np.ptp(x.means[kept]) and np.ptp(y.means[kept])):
        return 1.0, means[1] - means[0], 0.0
    correlation = float(np.corrcoef(x.means[kept], y.means[kept])[0, 1])
    gain = float(np.copysign(y.deviation(kept) / x.deviation(kept), correlation))
    return gain, means[1] - gain * means[0], correlation


def _aligned(first: np.ndarray, second: np.ndarray) -> tuple[_Blocks, _Blocks]:
    """Blocks of both, of the axes that both have."""
    if first.shape != second.shape:
        # A stack and its projection, or planes as channels: the plane of their maxima.
        first, second = (
            image.reshape(-1, *image.shape[-2:]).max(axis=0) for image in (first, second)
        )
    return _blocks(first), _blocks(second)


def _blocks(image: np.ndarray) -> _Blocks:
    """Of an image (channel, (z,) y, x), or (y, x)."""
    spatial = image.shape[1:] if image.ndim > 2 else image.shape
    sizes = [max(1, min(BLOCK, size // FEWEST_BLOCKS)) for size in spatial]
    counts = [size // block for size, block in zip(spatial, sizes, strict=True)]
    whole: Any = (..., *(slice(0, n * b) for n, b in zip(counts, sizes, strict=True)))
    parts = [length for pair in zip(counts, sizes, strict=True) for length in pair]
    blocks = image[whole].astype(np.float64).reshape(-1, *parts)
    means = blocks.mean(axis=tuple(range(2, blocks.ndim, 2))).ravel()
    return _Blocks(means, estimate_noise(image.reshape(-1, *spatial)[0]) ** 2 / math.prod(sizes))
