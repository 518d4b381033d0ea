import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.metrics.calibration import (
    DEFAULT_LEVELS,
    Calibration,
    calibrate,
    merge_calibrations,
)

SAMPLES = 40_000


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A target drawn from the distribution that is predicted, the prediction, and σ."""
    rng = np.random.default_rng(0)
    prediction = rng.uniform(100, 200, (4, 100, 100))
    sigma = rng.uniform(0.5, 5, prediction.shape)
    return rng.laplace(prediction, sigma), prediction, sigma


def test_default_levels() -> None:
    assert len(DEFAULT_LEVELS) == 20
    assert DEFAULT_LEVELS[0] == 0.05
    assert DEFAULT_LEVELS[-2:] == (0.95, 0.99)


def test_laplace_samples_are_calibrated(images) -> None:
    calibration = calibrate(*images)
    sampling_error = 4 * np.sqrt(0.25 / SAMPLES)
    np.testing.assert_allclose(calibration.observed, DEFAULT_LEVELS, atol=sampling_error)
    assert calibration.calibration_error < sampling_error
    assert calibration.voxels == SAMPLES


def test_error_of_a_bin_is_its_sigma(images) -> None:
    calibration = calibrate(*images)
    # The standard deviation of |x − μ| is σ; 2,000 voxels are in a bin.
    np.testing.assert_allclose(calibration.error, calibration.sigma, rtol=4 / np.sqrt(2000))
    assert calibration.correlation > 0.95


def test_half_the_sigma_is_overconfident(images) -> None:
    target, prediction, sigma = images
    calibration = calibrate(target, prediction, sigma / 2)
    assert (calibration.observed < calibration.nominal).all()
    # An interval half as wide holds 1 − √(1 − level).
    expected = 1 - np.sqrt(1 - calibration.nominal)
    np.testing.assert_allclose(calibration.observed, expected, atol=4 * np.sqrt(0.25 / SAMPLES))


def test_coverage_by_hand() -> None:
    error = np.array([0.5, 1.5])  # the interval of level 0.632 is ± σ
    calibration = calibrate(error, np.zeros(2), np.ones(2), levels=[1 - np.exp(-1)], bins=1)
    assert calibration.observed == [0.5]
    assert calibration.calibration_error == pytest.approx(abs(0.5 - (1 - np.exp(-1))))
    assert calibration.sigma == [1]
    assert calibration.error == [1]


def test_bins_hold_equal_numbers() -> None:
    sigma = np.arange(1.0, 7)[::-1]
    calibration = calibrate(sigma * 2, np.zeros(6), sigma, bins=3)
    np.testing.assert_array_equal(calibration.sigma, [1.5, 3.5, 5.5])
    np.testing.assert_array_equal(calibration.error, [3, 7, 11])
    assert calibration.correlation == 1


def test_constant_sigma_tells_nothing() -> None:
    target = np.random.default_rng(0).normal(size=1001)
    assert calibrate(target, np.zeros(1001), np.full(1001, 0.1)).correlation == 0


def test_unsigned_integers_do_not_wrap() -> None:
    target, prediction = np.array([1, 9], np.uint16), np.array([3, 7], np.uint16)
    calibration = calibrate(target, prediction, np.ones(2, np.float32), bins=1)
    assert calibration.error == [2]


def test_merging_weighs_by_voxels() -> None:
    levels, few = np.array([0.5]), np.array([1.0, 2])
    merged = merge_calibrations(
        [
            Calibration(levels, np.array([0.2]), few, few, 100),
            Calibration(levels, np.array([0.6]), 2 * few, 3 * few, 300),
        ]
    )
    assert merged.observed == pytest.approx([0.5])
    np.testing.assert_allclose(merged.sigma, 1.75 * few)
    np.testing.assert_allclose(merged.error, 2.5 * few)
    assert merged.voxels == 400


def test_merging_images_gives_the_coverage_of_all(images) -> None:
    parts = [calibrate(*(image[n] for image in images)) for n in range(4)]
    merged, whole = merge_calibrations(parts), calibrate(*images)
    np.testing.assert_allclose(merged.observed, whole.observed)
    assert merged.voxels == whole.voxels


def test_only_alike_calibrations_merge(images) -> None:
    calibration = calibrate(*images)
    with pytest.raises(GvtzooError, match="at least one"):
        merge_calibrations([])
    with pytest.raises(GvtzooError, match="20 and of 10 bins"):
        merge_calibrations([calibration, calibrate(*images, bins=10)])
    with pytest.raises(GvtzooError, match="levels"):
        merge_calibrations([calibration, calibrate(*images, levels=[0.5])])


def test_shapes_have_to_agree() -> None:
    with pytest.raises(GvtzooError, match=r"σ \(2, 3\) differ"):
        calibrate(np.zeros((3, 2)), np.zeros((3, 2)), np.ones((2, 3)))


@pytest.mark.parametrize("wrong", [0, -1])
def test_sigma_has_to_be_positive(wrong: float) -> None:
    sigma = np.ones(30)
    sigma[3] = wrong
    with pytest.raises(GvtzooError, match=f"above 0 everywhere; its smallest value is {wrong}"):
        calibrate(np.zeros(30), np.zeros(30), sigma)


@pytest.mark.parametrize(("place", "name"), enumerate(["target", "prediction", "σ"]))
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_voxels_have_to_be_finite(place: int, name: str, wrong: float) -> None:
    images = [np.ones(30) for _ in range(3)]
    images[place][0] = wrong
    with pytest.raises(GvtzooError, match=f"the {name} has voxels that are not finite"):
        calibrate(*images)


@pytest.mark.parametrize("levels", [[], [0], [1], [0.5, 1.5], [np.nan]])
def test_levels_have_to_be_shares(levels: list[float]) -> None:
    with pytest.raises(GvtzooError, match="between 0 and 1"):
        calibrate(np.zeros(30), np.zeros(30), np.ones(30), levels=levels)


@pytest.mark.parametrize(("voxels", "bins"), [(3, 4), (3, 0), (0, 1)])
def test_bins_need_voxels(voxels: int, bins: int) -> None:
    with pytest.raises(GvtzooError, match=f"{voxels} voxels cannot be put into {bins} bins"):
        calibrate(np.zeros(voxels), np.zeros(voxels), np.ones(voxels), bins=bins)
