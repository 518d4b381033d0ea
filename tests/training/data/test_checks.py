"""Pairs that cannot be learned from are found before hours are spent on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from gvtzoo.training.data.checks import check_images, measure_shift, saturated_share
from gvtzoo.training.data.images import RAW, PairedImage


def blobs(seed: int, noise: float = 0.0) -> np.ndarray:
    """(1, y, x), float32, standard deviation 1."""
    generator = np.random.default_rng(seed)
    image = gaussian_filter(np.random.default_rng(0).standard_normal((96, 80)), 2, mode="wrap")
    return (image / image.std() + noise * generator.standard_normal(image.shape))[None]


def pair(source: np.ndarray, target: np.ndarray) -> PairedImage:
    return PairedImage("pair", {}, source, target, RAW, RAW)


@given(y=st.integers(-12, 12), x=st.integers(-12, 12))
@settings(max_examples=20, deadline=None)
def test_shifts_are_measured_in_spite_of_noise(y, x):
    target = np.roll(blobs(0), (y, x), (1, 2))
    assert measure_shift(blobs(1, noise=0.5), target) == (y, x)


def test_images_that_do_not_look_alike_have_no_shift():
    generator = np.random.default_rng(0)
    assert measure_shift(blobs(0), generator.standard_normal((1, 96, 80))) is None


def test_shifted_pairs_are_named():
    (finding,) = check_images([pair(blobs(1, 0.2), np.roll(blobs(0), (4, -3), (1, 2)))])
    assert "pair: the target seems shifted by 4.0 pixels along y and -3.0 along x" in finding


def test_good_pairs_are_not_suspected():
    assert check_images([pair(blobs(1, 0.2), blobs(0))]) == []


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_saturated_images_are_named(bits):
    largest = 2**bits - 1
    image = np.clip(blobs(0) * largest / 2 + largest / 2, 0, largest)
    image = image.astype(np.uint8 if bits == 8 else np.uint16)
    assert saturated_share(image) == pytest.approx((image == largest).mean())
    (finding, _) = check_images([pair(image, image)])
    assert "of the source's voxels are saturated" in finding


def test_numbers_without_a_ceiling_cannot_be_saturated():
    assert saturated_share(np.full((1, 4, 4), 255.0)) == 0
    assert saturated_share(np.full((1, 4, 4), 201, np.uint8)) == 0
