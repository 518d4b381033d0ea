import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal.windows import tukey

from gvtzoo.core.errors import GvtzooError
from gvtzoo.metrics.resolution import FourierCorrelation, fourier_correlation


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def band_limited(shape: tuple[int, ...], pixel_size: tuple[float, ...], limit: float) -> np.ndarray:
    """White noise without the frequencies above a limit (cycles per unit)."""
    axes = [np.fft.fftfreq(n, size) for n, size in zip(shape, pixel_size, strict=True)]
    frequency = np.sqrt(sum(q**2 for q in np.meshgrid(*axes, indexing="ij")))
    return np.fft.ifftn(np.fft.fftn(noise(shape)) * (frequency <= limit)).real


@pytest.mark.parametrize(
    ("shape", "pixel_size", "limit"),
    [
        ((128, 128), (1, 1), 0.25),
        ((101, 140), (0.1, 0.1), 2.0),
        ((128, 64), (0.1, 0.2), 1.5),
        ((32, 32, 32), (1, 1, 1), 0.25),
        ((24, 64, 64), (0.3, 0.1, 0.1), 1.2),
    ],
)
def test_resolution_is_where_the_signal_ends(shape, pixel_size, limit) -> None:
    signal = band_limited(shape, pixel_size, limit)
    first, second = (signal + 0.4 * noise(shape, seed) for seed in (1, 2))
    correlation = fourier_correlation(first, second, pixel_size=pixel_size)
    assert correlation.pixel_size == pixel_size
    ring = correlation.frequency[0]
    assert 1 / correlation.resolution() == pytest.approx(limit, abs=2.5 * ring)
    # Without the lowest rings, which have few frequencies, and the one that the limit cuts.
    inside = (correlation.frequency > 4 * ring) & (correlation.frequency < limit - 1.5 * ring)
    assert (correlation.correlation[inside] > 0.7).all()


def test_anisotropic_pixels_matter() -> None:
    shape, pixel_size = (24, 64, 64), (0.3, 0.1, 0.1)
    signal = band_limited(shape, pixel_size, 1.2)
    first, second = (signal + 0.4 * noise(shape, seed) for seed in (1, 2))
    known = fourier_correlation(first, second, pixel_size=pixel_size).resolution()
    assert known == pytest.approx(1 / 1.2, rel=0.15)
    assert fourier_correlation(first, second, pixel_size=0.1).resolution() < 0.8 * known


def test_independent_noise_does_not_correlate() -> None:
    correlation = fourier_correlation(noise((256, 256)), noise((256, 256), 1))
    assert np.abs(correlation.correlation[60:]).max() < 1 / 7
    assert abs(correlation.correlation[20:].mean()) < 0.02
    assert correlation.resolution(0.9) == float("inf")


def test_noise_does_not_resolve_fine_details() -> None:
    found = [
        fourier_correlation(noise((64, 64), seed), noise((64, 64), 100 + seed)).resolution()
        for seed in range(50)
    ]
    assert min(found) > 8
    assert np.isinf(found).any()


@pytest.mark.parametrize(
    ("shape", "pixel_size", "nyquist"),
    [
        ((1, 32, 32), (0.1, 0.3, 0.3), 0.6),
        ((32, 40), 0.5, 1.0),
        ((1, 32, 40), (1, 0.5, 0.5), 1.0),
        ((8, 16, 17), (0.3, 0.1, 0.2), 0.2),
    ],
)
def test_equal_images_reach_the_nyquist_limit(shape, pixel_size, nyquist) -> None:
    correlation = fourier_correlation(noise(shape), noise(shape), pixel_size=pixel_size)
    np.testing.assert_allclose(correlation.correlation, 1)
    assert correlation.resolution() == pytest.approx(nyquist)
    assert correlation.frequency[-1] <= 1 / nyquist * (1 + 1e-9)


def test_the_negative_anticorrelates() -> None:
    correlation = fourier_correlation(noise((32, 32)), -noise((32, 32)))
    np.testing.assert_allclose(correlation.correlation, -1)
    assert correlation.resolution() == float("inf")


def test_correlation_is_that_of_the_whole_spectrum() -> None:
    """The half spectrum of a real image, weighted, sums to the whole one."""
    first, second = noise((12, 15)), noise((12, 15)) + noise((12, 15), 1)
    correlation = fourier_correlation(first, second)
    window = np.outer(tukey(14, 0.25)[1:-1], tukey(17, 0.25)[1:-1])
    spectra = [np.fft.fft2((image - image.mean()) * window) for image in (first, second)]
    y, x = np.meshgrid(np.fft.fftfreq(12), np.fft.fftfreq(15), indexing="ij")
    ring = np.rint(np.hypot(y, x) * 12) == 3
    covariance = (spectra[0] * spectra[1].conj())[ring].sum().real
    powers = [(np.abs(spectrum[ring]) ** 2).sum() for spectrum in spectra]
    assert correlation.correlation[2] == pytest.approx(covariance / np.sqrt(np.prod(powers)))


@settings(max_examples=20, deadline=None)
@given(
    shape=st.lists(st.integers(4, 20), min_size=2, max_size=3).map(tuple),
    scale=st.floats(0.01, 100),
    offset=st.floats(-100, 100),
)
def test_units_of_intensity_and_order_do_not_matter(shape, scale, offset) -> None:
    first, second = noise(shape), noise(shape) + noise(shape, 1)
    before = fourier_correlation(first, second)
    after = fourier_correlation(scale * second + offset, first)
    np.testing.assert_allclose(after.correlation, before.correlation, atol=1e-6)
    assert (np.abs(before.correlation) <= 1 + 1e-9).all()


@settings(max_examples=10, deadline=None)
@given(size=st.floats(0.01, 100))
def test_resolution_is_in_units_of_the_pixel_size(size) -> None:
    signal = band_limited((48, 48), (1, 1), 0.25)
    pair = signal + 0.4 * noise((48, 48), 1), signal + 0.4 * noise((48, 48), 2)
    pixels = fourier_correlation(*pair).resolution()
    assert fourier_correlation(*pair, pixel_size=size).resolution() == pytest.approx(size * pixels)


@pytest.mark.parametrize(
    ("correlation", "expected"),
    [
        ([0.9, 0.5, 0.1, 0.9], 1 / 2.5),  # the first crossing
        ([0.1, 0.9, 0.5, 0.1], 1 / 3.5),  # not the few frequencies of the first ring
        ([0.1, 0.2, 0.1, 0.0], float("inf")),
        ([0.9, 0.8, 0.7, 0.6], 0.2),
    ],
)
def test_crossing_by_hand(correlation, expected) -> None:
    curve = FourierCorrelation(np.arange(1.0, 5), np.array(correlation), (0.5, 0.1))
    assert curve.resolution(0.3) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "pixel_size", "message"),
    [
        (noise((8, 8)), noise((8, 9)), 1, "differ in shape"),
        (noise((8,)), noise((8,)), 1, "axes y, x or z, y, x"),
        (noise((8, 3)), noise((8, 3)), 1, "at least 4 voxels"),
        (noise((8, 8)), np.zeros((8, 8)), 1, "the second image is constant"),
        (np.full((8, 8), np.nan), noise((8, 8)), 1, "the first image has voxels that are not"),
        (noise((8, 8)), noise((8, 8)), (1, 1, 1), "3 pixel sizes for an image of 2 axes"),
        (noise((8, 8)), noise((8, 8)), 0, "above 0"),
    ],
)
def test_errors_for_people(first, second, pixel_size, message) -> None:
    with pytest.raises(GvtzooError, match=message):
        fourier_correlation(first, second, pixel_size=pixel_size)
