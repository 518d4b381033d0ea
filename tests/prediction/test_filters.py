"""Classical denoisers: each makes a noisy image better, and its best setting is found."""

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.prediction.filters import (
    CLASSICAL,
    ClassicalResult,
    best_results,
    estimate_noise,
    evaluate_classical,
    non_local_means,
)
from gvtzoo.training.data.camera import camera_noise


def blobs(shape):
    from scipy.ndimage import gaussian_filter

    spots = np.random.default_rng(0).random(shape) > 0.99
    return gaussian_filter(spots.astype(np.float32), 2.0)


def noisy_pair(shape):
    target = blobs(shape)
    noisy = camera_noise(
        target, photons=20, read_noise=2, offset=100, generator=np.random.default_rng(0)
    )
    return noisy, target


@pytest.mark.parametrize("shape", [(10, 24, 24), (48, 48)])
@pytest.mark.parametrize("name", CLASSICAL)
def test_every_denoiser_improves_noisy_blobs(name, shape):
    noisy, target = noisy_pair(shape)
    method = CLASSICAL[name]
    before = evaluate_pair(target, noisy)
    denoised = [method.denoise(noisy, **setting) for setting in method.settings]
    after = [evaluate_pair(target, image) for image in denoised]
    assert all(image.dtype == np.float32 and image.shape == shape for image in denoised)
    assert max(row["ssim"] for row in after) > 1.3 * before["ssim"]
    assert min(row["nrmse"] for row in after) < 0.8 * before["nrmse"]


def test_the_best_setting_of_each_denoiser():
    noisy, target = noisy_pair((40, 40))
    everything = evaluate_classical(noisy, target)
    assert len(everything) == sum(len(method.settings) for method in CLASSICAL.values())
    for score, best_of in (("ssim", max), ("nrmse", min)):
        rows = best_results(everything, score=score)
        assert [row.name for row in rows] == list(CLASSICAL)
        for row in rows:
            assert row.setting in CLASSICAL[row.name].settings
            scores = [other.metrics[score] for other in everything if other.name == row.name]
            assert row.metrics[score] == best_of(scores)


def test_the_lowest_nrmse_is_best_and_the_highest_of_the_others():
    rows = [
        ClassicalResult("Gaussian", {"sigma": 1}, {"nrmse": 0.1, "ssim": 0.5}),
        ClassicalResult("Gaussian", {"sigma": 2}, {"nrmse": 0.2, "ssim": 0.6}),
    ]
    assert best_results(rows, score="nrmse") == [rows[0]]
    assert best_results(rows, score="ssim") == [rows[1]]


@pytest.mark.parametrize("shape", [(20, 40, 40), (150, 150)])
def test_the_noise_is_found_under_a_smooth_image(shape):
    noise = np.random.default_rng(0).normal(0, 3, shape)
    assert estimate_noise(100 * blobs(shape) + noise) == pytest.approx(3, rel=0.05)


def test_an_image_without_noise_is_left_alone():
    image = np.full((6, 10, 10), 5, np.uint8)
    np.testing.assert_array_equal(
        non_local_means(image, strength=1, patch_size=3, patch_distance=2), image
    )


def test_images_of_different_shapes_are_refused():
    noisy, target = noisy_pair((20, 20))
    with pytest.raises(GvtzooError, match="differ in shape"):
        evaluate_classical(noisy, target[1:])
