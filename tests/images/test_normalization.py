from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from gvtzoo.images import statistics
from gvtzoo.images.normalization import (
    EPSILON,
    FittedNormalization,
    FixedNormalization,
    NoNormalization,
    Normalization,
    PercentileNormalization,
    ZScoreNormalization,
)
from gvtzoo.images.statistics import percentiles

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=7)
INTEGERS = st.sampled_from(["u1", "i1", "u2", ">u2", "i2", "u4", "i4"])
RANKS = st.tuples(st.floats(0, 100), st.floats(0, 100))


def images(dtypes=INTEGERS):
    return dtypes.flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))


@given(images(), RANKS)
def test_percentiles_of_integers_are_numpys(image, ranks):
    # numpy interpolates signed integers in their own type, where differences overflow.
    expected = np.percentile(image.astype(np.float64), ranks)
    np.testing.assert_allclose(percentiles(image, ranks), expected, rtol=1e-12, atol=1e-9)


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-1e6, 1e6, width=32)), RANKS)
def test_percentiles_of_floats_are_numpys(image, ranks):
    np.testing.assert_array_equal(percentiles(image, ranks), np.percentile(image, ranks))


@given(images())
def test_zscore_statistics_are_numpys(image):
    fitted = ZScoreNormalization().fit(image)
    wide = image.astype(np.float64)
    assert fitted.offset == pytest.approx(wide.mean(), rel=1e-12, abs=1e-9)
    assert fitted.scale == pytest.approx(wide.std() + EPSILON, rel=1e-9, abs=1e-9)


def test_statistics_do_not_depend_on_the_chunks(monkeypatch):
    image = np.random.default_rng(0).integers(0, 4096, (11, 13, 17)).astype(np.uint16)
    kinds = PercentileNormalization(), ZScoreNormalization()
    whole = [kind.fit(image) for kind in kinds]
    monkeypatch.setattr(statistics, "CHUNK", 100)
    for kind, expected in zip(kinds, whole, strict=True):
        fitted = kind.fit(image)
        assert (fitted.offset, fitted.scale) == pytest.approx((expected.offset, expected.scale))


def test_statistics_of_a_view_are_those_of_its_copy():
    image = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    for kind in PercentileNormalization(), ZScoreNormalization():
        assert kind.fit(image) == kind.fit(image.copy())


def test_percentiles_become_zero_and_one():
    image = np.arange(1001, dtype=np.uint16)
    normalized = PercentileNormalization(low=10, high=90).fit(image).apply(image)
    assert normalized[100] == pytest.approx(0)
    assert normalized[900] == pytest.approx(1)


def test_zscore_has_mean_zero_and_deviation_one():
    image = np.random.default_rng(1).normal(300, 20, (5, 30, 30)).astype(np.float32)
    normalized = ZScoreNormalization().fit(image).apply(image)
    assert normalized.mean() == pytest.approx(0, abs=1e-4)
    assert normalized.std() == pytest.approx(1, abs=1e-4)


def test_fixed_and_none_do_not_look_at_the_image():
    image = np.array([3, 5], np.uint8)
    assert FixedNormalization(mean=3, std=2).fit(image).apply(image).tolist() == [0, 1]
    assert NoNormalization().fit(image).apply(image).tolist() == [3, 5]


@pytest.mark.parametrize("kind", [PercentileNormalization(), ZScoreNormalization()])
def test_a_constant_image_becomes_zero(kind):
    image = np.full((3, 4), 7, np.uint8)
    fitted = kind.fit(image)
    assert fitted == FittedNormalization(7, EPSILON)
    assert not fitted.apply(image).any()


@given(images(), st.floats(-1e4, 1e4), st.floats(0.01, 1e4))
def test_apply_is_float32_rounded_once_and_leaves_the_image(image, offset, scale):
    before = image.copy()
    normalized = FittedNormalization(offset, scale).apply(image)
    assert normalized.dtype == np.float32
    expected = (image.astype(np.float64) - offset) / scale
    tiny = np.finfo(np.float32).tiny  # below it float32 has fewer digits
    np.testing.assert_allclose(normalized, expected, rtol=3e-7, atol=tiny)
    np.testing.assert_array_equal(image, before)


@given(images(st.sampled_from(["u1", "u2", "f4"])).filter(lambda image: np.isfinite(image).all()))
def test_undo_inverts_apply(image):
    image = np.clip(image, -60000, 60000)
    fitted = FittedNormalization(100.0, 50.0)
    restored = fitted.denormalize(fitted.apply(image))
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, image, atol=0.02)


def test_a_width_is_scaled_but_not_shifted():
    sigma = FittedNormalization(1000.0, 4.0).denormalize_scale(np.ones(3, np.float32))
    assert sigma.dtype == np.float32
    assert sigma.tolist() == [4, 4, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.int32])
def test_tensors_are_treated_as_arrays(dtype):
    tensor = torch.arange(12).reshape(3, 4).to(dtype)
    before = tensor.clone()
    fitted = FittedNormalization(2.0, 3.0)
    normalized = fitted.apply(tensor)
    assert normalized.dtype == torch.float32
    np.testing.assert_allclose(normalized.numpy(), fitted.apply(tensor.numpy()), rtol=1e-6)
    np.testing.assert_allclose(fitted.denormalize(normalized).numpy(), tensor.numpy(), rtol=1e-6)
    assert torch.equal(tensor, before)


def test_the_kind_chooses_the_normalization():
    adapter = TypeAdapter(Normalization)
    for kind in (
        PercentileNormalization(low=1, high=99),
        ZScoreNormalization(),
        FixedNormalization(mean=1, std=2),
        NoNormalization(),
    ):
        assert adapter.validate_python(kind.model_dump()) == kind


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "percentile", "low": 50, "high": 50},
        {"kind": "percentile", "high": 101},
        {"kind": "percentile", "middle": 50},
        {"kind": "fixed", "mean": 0, "std": 0},
        {"kind": "fixed"},
        {"kind": "quantile"},
        {},
    ],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        TypeAdapter(Normalization).validate_python(settings)


def test_a_normalization_cannot_be_changed():
    with pytest.raises(ValidationError):
        PercentileNormalization().low = 1.0
