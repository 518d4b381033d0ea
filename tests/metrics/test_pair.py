"""The paper's metrics: the reference implementation's numbers, and what must hold of any image."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from gvtzoo.core.errors import GvtzooError
from gvtzoo.metrics.pair import (
    evaluate_pair,
    mae,
    mse,
    nrmse,
    paper_normalize,
    pearson_r,
    psnr,
    r2,
    ssim,
    ssim_by_slice,
)

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE = json.loads((GOLDEN / "metrics.json").read_text())
PAPER = ("r", "nrmse", "psnr", "ssim")


def pair(shape=(8, 12, 16), seed=0):
    generator = np.random.default_rng(seed)
    target = generator.gamma(2, 100, shape)
    return target, target + generator.normal(0, 60, shape)


@pytest.mark.parametrize("case", REFERENCE)
def test_the_reference_implementations_numbers(case):
    arrays = np.load(GOLDEN / case / "pipeline.npz")
    metrics = evaluate_pair(arrays["image"], arrays["prediction"])
    assert {name: metrics[name] for name in PAPER} == pytest.approx(REFERENCE[case], abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    scale=st.floats(0.01, 100),
    sign=st.sampled_from((-1, 1)),
    offset=st.floats(-1000, 1000),
    shape=st.sampled_from(((7, 9, 11), (20, 15))),
)
def test_an_affine_change_of_the_prediction_costs_nothing(scale, sign, offset, shape):
    target, prediction = pair(shape)
    before = evaluate_pair(target, prediction)
    after = evaluate_pair(target, sign * scale * prediction + offset)
    assert after["r"] == pytest.approx(sign * before["r"], abs=1e-6)
    for name in ("nrmse", "psnr", "ssim"):
        assert after[name] == pytest.approx(before[name], abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_the_units_of_the_target_do_not_matter_to_the_papers_metrics(scale, offset):
    target, prediction = pair()
    before, after = (
        evaluate_pair(image, prediction) for image in (target, scale * target + offset)
    )
    for name in PAPER:
        assert after[name] == pytest.approx(before[name], abs=1e-6)


@pytest.mark.parametrize("shape", [(8, 9, 10), (1, 9, 10), (3, 9, 10), (9, 10)])
def test_a_perfect_prediction(shape):
    target, _ = pair(shape)
    metrics = evaluate_pair(target, target.copy())
    assert metrics["ssim"] == pytest.approx(1)
    assert metrics["r"] == pytest.approx(1)
    assert metrics["r2"] == 1
    assert metrics["nrmse"] == pytest.approx(0, abs=1e-12)
    assert metrics["mse"] == metrics["mae"] == 0


def test_equal_images_have_an_infinite_psnr():
    target, _ = pair()
    assert psnr(target, target, data_range=1) == np.inf


def test_normalized_target_and_fitted_prediction():
    target, prediction = pair()
    normalized, fitted = paper_normalize(target, prediction)
    low, high = np.percentile(normalized, (0.1, 99.9))
    assert high - low == pytest.approx(1)
    assert normalized.mean() == pytest.approx(0, abs=1e-12)
    assert fitted.mean() == pytest.approx(0, abs=1e-12)
    # Least squares: what is left has nothing of the prediction in it.
    assert (fitted * (normalized - fitted)).mean() == pytest.approx(0, abs=1e-12)


def test_the_inputs_stay_as_they_are():
    target, prediction = pair()
    copies = target.copy(), prediction.copy()
    evaluate_pair(target, prediction)
    np.testing.assert_array_equal(target, copies[0])
    np.testing.assert_array_equal(prediction, copies[1])


def test_errors_of_known_images():
    target = np.array([[0, 2], [4, 6]], np.uint8)
    prediction = np.array([[1, 1], [4, 8]], np.uint8)  # off by 1, −1, 0, 2
    assert mse(target, prediction) == pytest.approx(1.5)
    assert mae(target, prediction) == pytest.approx(1)
    assert r2(target, prediction) == pytest.approx(1 - 1.5 / 5)
    assert nrmse(target, prediction, data_range=6) == pytest.approx(np.sqrt(1.5) / 6)
    assert psnr(target, prediction, data_range=6) == pytest.approx(10 * np.log10(36 / 1.5))


@pytest.mark.parametrize("metric", [nrmse, psnr, ssim])
def test_the_data_range_is_stated_never_guessed(metric):
    with pytest.raises(TypeError, match="data_range"):
        metric(*pair())


@pytest.mark.parametrize(("planes", "window"), [(3, 3), (4, 3), (5, 5), (6, 5), (7, 7), (9, 7)])
def test_the_ssim_window_fits_few_planes(planes, window):
    target, prediction = pair((planes, 12, 13))
    expected = structural_similarity(target, prediction, win_size=window, data_range=500)
    assert ssim(target, prediction, data_range=500) == pytest.approx(expected)


def test_ssim_of_one_plane_is_that_of_the_image():
    target, prediction = pair((12, 13))
    assert ssim(target[None], prediction[None], data_range=500) == ssim(
        target, prediction, data_range=500
    )


def test_ssim_of_two_planes_is_refused():
    with pytest.raises(GvtzooError, match=r"at least 3 voxels.*\(2, 12, 13\)"):
        ssim(*pair((2, 12, 13)), data_range=500)


def test_ssim_by_slice_is_the_mean_over_planes():
    target, prediction = pair((3, 12, 16))
    planes = [
        structural_similarity(*plane, data_range=500)
        for plane in zip(target, prediction, strict=True)
    ]
    assert ssim_by_slice(target, prediction, data_range=500) == pytest.approx(np.mean(planes))


def test_ssim_by_slice_of_one_plane_is_that_of_the_image():
    target, prediction = pair((1, 12, 16))
    expected = ssim(target[0], prediction[0], data_range=500)
    assert ssim_by_slice(target, prediction, data_range=500) == pytest.approx(expected)


def test_ssim_by_slice_takes_stacks_of_two_planes_and_constant_planes():
    target, prediction = pair((2, 12, 16))
    target[0] = prediction[0] = 7
    expected = (1 + ssim(target[1], prediction[1], data_range=500)) / 2
    assert ssim_by_slice(target, prediction, data_range=500) == pytest.approx(expected)


def test_slices_are_those_of_a_stack():
    with pytest.raises(GvtzooError, match=r"z, y, x, not of the shape \(12, 16\)"):
        ssim_by_slice(*pair((12, 16)), data_range=1)


def test_a_constant_prediction_has_no_correlation():
    target, _ = pair()
    metrics = evaluate_pair(target, np.full_like(target, 5))
    assert metrics["r"] == 0
    assert metrics["nrmse"] == pytest.approx(paper_normalize(target, target)[0].std())


METRICS = [
    pearson_r,
    paper_normalize,
    evaluate_pair,
    mse,
    lambda *images: nrmse(*images, data_range=1),
    lambda *images: psnr(*images, data_range=1),
    lambda *images: ssim(*images, data_range=1),
]


@pytest.mark.parametrize("metric", METRICS)
def test_images_that_cannot_be_compared_are_refused_in_one_line(metric):
    target, prediction = pair()
    broken = prediction.copy()
    broken[0, 0, 0] = np.nan
    for images, message in (
        ((np.full_like(target, 3), prediction), "target is constant"),
        ((target, prediction[1:]), r"\(8, 12, 16\).*\(7, 12, 16\).*shape"),
        ((target, broken), "prediction has voxels that are not finite"),
    ):
        with pytest.raises(GvtzooError, match=message) as caught:
            metric(*images)
        assert "\n" not in str(caught.value)


def test_a_target_of_almost_nothing_but_background_is_refused():
    target = np.zeros((20, 20, 20))
    target[0, 0, 0] = 1
    with pytest.raises(GvtzooError, match=r"is 0 at both its 0\.1 and its 99\.9 percentile"):
        evaluate_pair(target, pair((20, 20, 20))[0])
