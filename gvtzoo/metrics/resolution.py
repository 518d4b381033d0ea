"""Resolution by Fourier ring (2D) and Fourier shell (3D) correlation of two images.

The images are of one object with independent noise: a prediction and its target, or two
acquisitions. The frequency up to which they agree says how fine the structures are that both show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gvtzoo.core.errors import GvtzooError

COARSEST = 3  # rings, of which one has to agree; few frequencies lie in each
THRESHOLD = 1 / 7
FADED = 0.25  # of each axis, half of it at each end


@dataclass(frozen=True)
class FourierCorrelation:
    """Correlation of two images in rings or shells of spatial frequency.

    Attributes
    ----------
    frequency : ndarray
        (rings,), the middle of each ring, ascending, above 0, in cycles per unit of `pixel_size`.
    correlation : ndarray
        (rings,), −1 to 1.
    pixel_size : tuple of float
        Of the axes that have more than one voxel.
    """

    frequency: np.ndarray
    correlation: np.ndarray
    pixel_size: tuple[float, ...]

    def resolution(self, threshold: float = THRESHOLD) -> float:
        """The period at which the correlation first falls below a threshold.

        Parameters
        ----------
        threshold : float
            The fixed 1/7 is that of Nieuwenhuizen et al., "Measuring image resolution in optical
            nanoscopy", Nature Methods 10 (2013), 557-562.

        Returns
        -------
        float
            1 / frequency of the crossing, interpolated linearly between rings, in units of
            `pixel_size`. Infinite where the correlation does not reach the threshold in the
            coarsest rings: what agrees in fine ones only is chance. The Nyquist limit, twice the
            smallest pixel size, where it never falls below it.
        """
        above = self.correlation >= threshold
        if not above[:COARSEST].any():
            return float("inf")
        first = int(above.argmax())
        below = np.flatnonzero(~above[first:])
        if below.size == 0:
            return 2 * min(self.pixel_size)
        last = first + below[0] - 1
        high, low = self.correlation[last : last + 2]
        fraction = (high - threshold) / (high - low)
        before, after = self.frequency[last : last + 2]
        return float(1 / (before + fraction * (after - before)))


def fourier_correlation(
    first: np.ndarray,
    second: np.ndarray,
    *,
    pixel_size: float | Sequence[float] = 1.0,
) -> FourierCorrelation:
    """Correlate two images ring by ring, or shell by shell, of spatial frequency.

    With F₁ and F₂ the Fourier transforms, and the sums over the frequencies q of a ring::

        FRC(ring) = Re Σ F₁(q) F₂*(q) / √(Σ |F₁(q)|² · Σ |F₂(q)|²)

    Rings: Saxton and Baumeister, "The correlation averaging of a regularly arranged bacterial cell
    envelope protein", Journal of Microscopy 127 (1982), 127-138. Shells: Harauz and van Heel,
    "Exact filters for general geometry three dimensional reconstruction", Optik 73 (1986), 146-156.

    The mean is taken off and a Tukey window laid over the images, which fades an eighth of them at
    each edge, since the jumps between opposite edges would correlate at all frequencies. Rings are
    as wide as the coarsest frequency step of the axes, so that each cuts all of them, and are of
    physical frequency: beyond the Nyquist limit of the axis of largest voxels, shells hold the
    frequencies of the other axes only. A sharp end of the structures is found to about two rings.

    Parameters
    ----------
    first, second : ndarray
        (z,) y, x, the same shape. Axes of one voxel do not count.
    pixel_size : float or sequence of float
        Of all axes, or of each of (z,) y, x, in any unit of length.

    Returns
    -------
    FourierCorrelation
        From the lowest ring above frequency 0 to the Nyquist limit of the smallest pixel size.

    Raises
    ------
    GvtzooError
        When shapes differ, the images are not 2D or 3D, have fewer than 4 voxels along an axis,
        are constant or not finite, or a pixel size is missing or not above 0.
    """
    sizes = _pixel_sizes(pixel_size, first.ndim)
    _check_images(first, second)
    steps = [1 / (n * size) for n, size in zip(first.shape, sizes, strict=True) if n > 1]
    width, nyquist = max(steps), 1 / (2 * min(_of_long_axes(sizes, first.shape)))
    spectra = [np.fft.rfftn(_windowed(np.squeeze(image))) for image in (first, second)]
    shape = tuple(n for n in first.shape if n > 1)
    ring = np.rint(_frequencies(shape, _of_long_axes(sizes, first.shape)) / width).astype(np.intp)
    weights = _multiplicity(shape)
    rings = int(nyquist / width * (1 + 1e-9))  # a ring at the limit itself counts

    def total(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(ring.ravel(), (values * weights).ravel(), minlength=rings + 1)
        return sums[1 : rings + 1]

    covariance = total((spectra[0] * spectra[1].conj()).real)
    power = np.sqrt(total(np.abs(spectra[0]) ** 2) * total(np.abs(spectra[1]) ** 2))
    correlation = np.divide(covariance, power, out=np.zeros_like(power), where=power > 0)
    counted = tuple(_of_long_axes(sizes, first.shape))
    return FourierCorrelation(width * np.arange(1, rings + 1), correlation, counted)


def _pixel_sizes(pixel_size: float | Sequence[float], axes: int) -> tuple[float, ...]:
    sizes = np.asarray(pixel_size, dtype=np.float64)
    if sizes.ndim == 0:
        sizes = np.full(axes, sizes)
    if sizes.shape != (axes,):
        raise GvtzooError(f"{sizes.size} pixel sizes for an image of {axes} axes: give one each")
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise GvtzooError(f"pixel sizes have to be above 0, not {sizes.tolist()}")
    return tuple(sizes.tolist())


def _check_images(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape:
        raise GvtzooError(f"the images {first.shape} and {second.shape} differ in shape")
    lengths = [n for n in first.shape if n != 1]
    if first.ndim not in (2, 3) or len(lengths) < 2:
        raise GvtzooError(f"an image has the axes y, x or z, y, x, not the shape {first.shape}")
    if min(lengths) < 4:
        raise GvtzooError(
            f"Fourier correlation needs at least 4 voxels along each axis, not {first.shape}"
        )
    for name, image in (("first", first), ("second", second)):
        if not np.isfinite(image).all():
            raise GvtzooError(f"the {name} image has voxels that are not finite (NaN or infinite)")
        if image.min() == image.max():
            raise GvtzooError(f"the {name} image is constant: it has no resolution")


def _of_long_axes(values: Sequence[float], shape: tuple[int, ...]) -> list[float]:
    """The values of the axes that have more than one voxel."""
    return [value for value, length in zip(values, shape, strict=True) if length > 1]


def _windowed(image: np.ndarray) -> np.ndarray:
    """The image less its mean, faded to its edges by a Tukey window; float64."""
    from scipy.signal.windows import tukey

    faded = image.astype(np.float64)
    faded -= faded.mean()
    for axis, length in enumerate(image.shape):
        window = tukey(length + 2, FADED)[
            1:-1
        ]  # without the zeros at both ends, which would lose voxels
        faded *= window.reshape([-1 if n == axis else 1 for n in range(image.ndim)])
    return faded


def _frequencies(shape: tuple[int, ...], sizes: Sequence[float]) -> np.ndarray:
    """|q| of every element of a real image's Fourier transform, cycles per unit."""
    axes = [np.fft.fftfreq(n, size) for n, size in zip(shape, sizes, strict=True)]
    axes[-1] = np.fft.rfftfreq(shape[-1], sizes[-1])
    squares = sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    return np.sqrt(squares)


def _multiplicity(shape: tuple[int, ...]) -> np.ndarray:
    """How often each column of a real image's half spectrum occurs in the whole one: 1 or 2."""
    weights = np.full(shape[-1] // 2 + 1, 2.0)
    weights[0] = 1
    if shape[-1] % 2 == 0:
        weights[-1] = 1
    return weights
