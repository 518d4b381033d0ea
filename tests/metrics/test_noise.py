"""Noise is told from an image alone, and its photons are divided."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gvtzoo.metrics.noise import LEAST, NoiseModel, estimate_noise, noise_level


def clean(photons: float) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(4, 128, 128)), (0, 6, 6))
    return photons * np.clip(smooth / smooth.std() + 1, 0, None)


@pytest.mark.parametrize(
    ("photons", "gain", "offset", "read_noise"), [(10, 1, 100, 0), (40, 3, 400, 1), (5, 1, 100, 2)]
)
def test_photon_transfer(photons, gain, offset, read_noise):
    generator = np.random.default_rng(1)
    counts = generator.poisson(clean(photons)) + generator.normal(0, read_noise, (4, 128, 128))
    model = NoiseModel.of(gain * counts + offset)
    assert model.gain == pytest.approx(gain, rel=0.2)
    expected = gain**2 * (photons + read_noise**2)
    assert model.gain * (gain * photons + offset - model.offset) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize(("gain", "read_noise"), [(1, 0.5), (2, 20)])
def test_the_two_parts_have_independent_noise(gain, read_noise):
    generator = np.random.default_rng(2)
    truth = gain * clean(20) + 100
    image = gain * generator.poisson(clean(20)) + 100 + generator.normal(0, read_noise, truth.shape)
    first, second = NoiseModel.of(image).split(image, 0.75, generator)
    assert first.mean() == pytest.approx(image.mean(), rel=0.02)
    assert second.mean() == pytest.approx(image.mean(), rel=0.02)
    noise = np.corrcoef((first - truth).ravel(), (second - truth).ravel())[0, 1]
    assert abs(noise) < 0.1


@pytest.mark.parametrize("shape", [(1, 40, 50), (1, 8, 40, 50), (2, 1, 60, 60), (1, 4, 600, 520)])
def test_level_of_white_noise(shape):
    noise = np.random.default_rng(0).normal(0, 0.3, shape)
    assert noise_level(noise) == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize("width", [0.7, 1.3, 2.0, 2.9, 5.5])
@pytest.mark.parametrize("scale", [1, 1 / 13])
def test_counts_that_are_few_have_the_noise_that_they_have(width, scale):
    image = np.rint(np.random.default_rng(0).normal(100, width, (16, 64, 64)))
    expected = np.sqrt(width**2 + 1 / 12)  # rounding is noise, too
    assert estimate_noise((scale * image).astype(np.float32)) == pytest.approx(
        scale * expected, rel=0.03
    )


def test_what_has_no_noise_has_the_least():
    assert noise_level(np.ones((1, 8, 8))) == LEAST
    assert noise_level(np.ones((1, 1, 1))) == LEAST
