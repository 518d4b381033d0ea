"""A camera's noise: its mean and variance are those of the physics."""

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.training.data.camera import camera_noise, relative_intensity, simulate_camera

CAMERA = {"photons": 20.0, "read_noise": 2.0, "offset": 100.0}


def clean_image(dtype=np.uint16):
    return np.random.default_rng(1).gamma(2, 1000, (10, 40, 50)).astype(dtype)


@pytest.mark.parametrize("intensity", [0.0, 0.25, 1.0, 3.0])
def test_mean_and_variance_are_those_of_shot_noise_and_read_out(intensity):
    counts = simulate_camera(
        np.full((400, 500), intensity), generator=np.random.default_rng(0), **CAMERA
    ).astype(float)
    photons = intensity * CAMERA["photons"]
    # Poisson: variance = mean. Rounding adds 1/12.
    variance = photons + CAMERA["read_noise"] ** 2 + 1 / 12
    deviation_of_mean = np.sqrt(variance / counts.size)
    assert counts.mean() == pytest.approx(100 + photons, abs=5 * deviation_of_mean)
    assert counts.var() == pytest.approx(variance, rel=0.02)


def test_without_read_noise_the_counts_are_photons():
    counts = simulate_camera(
        np.full((300, 300), 0.1),
        photons=20,
        read_noise=0,
        offset=0,
        generator=np.random.default_rng(0),
    )
    # Poisson with mean 2: no photon at all in exp(−2) of the voxels.
    assert (counts == 0).mean() == pytest.approx(np.exp(-2), abs=0.006)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_intensities_run_from_the_background_to_the_bright_structures(dtype):
    clean = clean_image(np.float64) / 100
    intensity = relative_intensity(clean.astype(dtype))
    assert intensity.dtype == np.float32
    assert intensity.min() == 0
    assert np.percentile(intensity, 99.8) == pytest.approx(1, abs=1e-5)


def test_the_units_of_the_clean_image_do_not_matter():
    clean = clean_image(np.float64)
    np.testing.assert_allclose(
        relative_intensity(3 * clean + 700), relative_intensity(clean), atol=1e-5
    )


def test_the_same_seed_gives_the_same_image():
    first, again, other = (
        camera_noise(clean_image(), generator=np.random.default_rng(seed), **CAMERA)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == clean_image().shape
    assert first.dtype == np.uint16


def test_counts_are_clipped_to_16_bits():
    settings = {"photons": 1e6, "read_noise": 50.0, "offset": 0.0}
    counts = simulate_camera(
        np.tile([0.0, 1.0], (50, 50)), generator=np.random.default_rng(0), **settings
    )
    assert counts.min() == 0
    assert counts[:, 0].max() < 1000
    assert (counts[:, 1] == 65535).all()


@pytest.mark.parametrize("value", [0, 7])
def test_a_clean_image_without_structure_is_refused(value):
    with pytest.raises(GvtzooError, match=f"percentiles are {value} and {value}"):
        camera_noise(
            np.full((5, 20, 20), value, np.uint16), generator=np.random.default_rng(0), **CAMERA
        )


@pytest.mark.parametrize("setting", ["photons", "read_noise"])
def test_negative_settings_are_refused(setting):
    with pytest.raises(GvtzooError, match=r"-1.*must not be negative"):
        camera_noise(clean_image(), generator=np.random.default_rng(0), **{**CAMERA, setting: -1.0})
