"""Gain and offset between images are found in spite of noise, and units told apart by them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from gvtzoo.metrics.units import compare_units, fit_units, noise_ratio


def clean_and_noisy(
    seed: int, photons: float = 20, shape=(8, 64, 64), offset: float = 100
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    smooth = gaussian_filter(generator.normal(size=shape), 4)
    clean = photons * np.clip(smooth / smooth.std() + 1, 0, None)
    noisy = generator.poisson(clean) + generator.normal(0, 2, shape) + offset
    return (clean + offset)[None], noisy[None]


@settings(max_examples=15, deadline=None)
@given(gain=st.floats(0.05, 500), offset=st.floats(-1000, 1000), photons=st.floats(3, 100))
def test_gain_and_offset_are_found(gain, offset, photons):
    clean, noisy = clean_and_noisy(0, photons)
    fit = fit_units(noisy, gain * clean + offset)
    assert fit.gain == pytest.approx(gain, rel=0.08)
    middle = fit.middle
    assert fit.apply(middle) == pytest.approx(gain * middle + offset, abs=0.1 * gain * fit.spread)


def test_hot_pixels_do_not_tilt_the_line():
    clean, noisy = clean_and_noisy(1)
    generator = np.random.default_rng(2)
    hot = generator.random(noisy.shape) < 1e-4
    assert fit_units(np.where(hot, 65535, noisy), clean).gain == pytest.approx(1, rel=0.1)


def test_kinds_of_units():
    pairs = [clean_and_noisy(seed)[::-1] for seed in range(3)]
    assert compare_units(pairs).kind == "same"
    common = compare_units([(source, 60 * target + 500) for source, target in pairs])
    assert common.kind == "common"
    assert common.line.startswith("target = ")
    own = [
        (source, gain * target) for gain, (source, target) in zip((3, 9, 20), pairs, strict=True)
    ]
    assert compare_units(own).kind == "own"
    noise = np.random.default_rng(5).normal(5000, 1000, pairs[0][0].shape)
    assert compare_units([(pairs[0][0], noise)]).kind == "unknown"


def test_the_noisier_of_two_is_known_in_any_units():
    clean, noisy = clean_and_noisy(3)
    assert noise_ratio(noisy, 60 * clean) < 0.7
    assert noise_ratio(60 * clean, noisy) > 1.5
    other = clean_and_noisy(3)[0] + np.random.default_rng(9).normal(0, 5, clean.shape)
    again = clean + np.random.default_rng(10).normal(0, 5, clean.shape)
    assert noise_ratio(other, again) == pytest.approx(1, abs=0.2)
