import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk

from gvtzoo.core.errors import GvtzooError
from gvtzoo.metrics.segmentation import compare_segmentations, evaluate_segmentation, segment


def disks(*centres: tuple[int, int], radius: float = 6, shape=(60, 80)) -> np.ndarray:
    image = np.full(shape, 100.0)
    for centre in centres:
        image[disk(centre, radius, shape=shape)] = 300
    return image


def squares(*corners: tuple[int, int], side: int = 4) -> np.ndarray:
    """Labels of squares of 4 × 4 voxels, numbered from 1."""
    labels = np.zeros((20, 20), int)
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = number
    return labels


def test_disks_are_found_as_they_were_drawn() -> None:
    image = disks((15, 15), (15, 50), (45, 30))
    labels = segment(image, smoothing=0)
    assert labels.max() == 3
    np.testing.assert_array_equal(labels > 0, image == 300)


def test_noise_is_smoothed_away() -> None:
    image = disks((15, 15), (15, 50), (45, 30))
    noisy = image + np.random.default_rng(0).normal(0, 60, image.shape)
    assert segment(noisy, smoothing=2).max() == 3
    assert segment(noisy, smoothing=0, smallest=1).max() > 3


def test_spheres_of_a_stack() -> None:
    z, y, x = np.ogrid[:20, :30, :40]
    stack = np.zeros((20, 30, 40), np.uint16)
    for centre in ((10, 8, 8), (10, 20, 30)):
        stack[(z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 36] = 1000
    labels = segment(stack)
    assert labels.shape == stack.shape
    assert labels.max() == 2
    assert labels[10, 8, 8] != labels[10, 20, 30]


@pytest.mark.parametrize(
    ("smallest", "objects"), [(1, 3), (4, 3), (5, 2), (9, 2), (10, 1), (26, 0)]
)
def test_small_objects_are_removed(smallest: int, objects: int) -> None:
    image = np.zeros((20, 20))
    image[1:3, 1:3] = 1  # 4 voxels
    image[10:13, 1:4] = 1  # 9
    image[10:15, 10:15] = 1  # 25
    labels = segment(image, smoothing=0, smallest=smallest)
    assert set(np.unique(labels)) == set(range(objects + 1))


def test_objects_that_touch_at_a_corner_are_two() -> None:
    image = np.zeros((20, 20))
    image[2:8, 2:8] = image[8:14, 8:14] = 1
    assert segment(image, smoothing=0).max() == 2


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.1, 100), offset=st.floats(-1000, 1000))
def test_units_do_not_matter(scale: float, offset: float) -> None:
    image = disks((15, 15), (15, 50), (45, 30))
    metrics = evaluate_segmentation(image, scale * image + offset)
    assert metrics == {
        "foreground_iou": 1,
        "foreground_dice": 1,
        "count": 3,
        "count_target": 3,
        "object_f1": 1,
        "mean_matched_iou": 1,
    }


def test_a_constant_image_has_no_objects() -> None:
    assert not segment(np.full((5, 6), 7)).any()


def test_a_missed_disk_by_hand() -> None:
    target, prediction = disks((15, 15), (15, 50), (45, 30)), disks((15, 15), (45, 30))
    metrics = evaluate_segmentation(target, prediction, smoothing=0)
    assert metrics == pytest.approx(
        {
            "foreground_iou": 2 / 3,
            "foreground_dice": 2 * 2 / (3 + 2),
            "count": 2,
            "count_target": 3,
            "object_f1": 2 * 2 / (3 + 2),
            "mean_matched_iou": 1,
        }
    )


def test_shifted_squares_by_hand() -> None:
    # The first is shifted by one voxel of four, IoU 12 / 20; the second by two, 8 / 24: no match.
    metrics = compare_segmentations(squares((1, 1), (10, 10)), squares((1, 2), (10, 12)))
    assert metrics == pytest.approx(
        {
            "foreground_iou": 20 / 44,
            "foreground_dice": 2 * 20 / 64,
            "count": 2,
            "count_target": 2,
            "object_f1": 0.5,
            "mean_matched_iou": 0.6,
        }
    )


def test_halves_of_an_object_match_once() -> None:
    target, halves = squares((1, 1)), squares((1, 1))
    halves[1:5, 3:5] = 2
    for metrics in compare_segmentations(target, halves), compare_segmentations(halves, target):
        assert metrics["object_f1"] == pytest.approx(2 / 3)
        assert metrics["mean_matched_iou"] == 0.5
        assert metrics["foreground_iou"] == 1


def test_matches_at_the_limit_are_as_many_as_can_be() -> None:
    target, predicted = np.zeros((2, 1, 4), int)
    target[0] = [1, 1, 2, 0]
    predicted[0] = [3, 4, 4, 4]  # 1-3: 1/2, 1-4: 1/4, 2-4: 1/3
    assert compare_segmentations(target, predicted)["object_f1"] == 0.5
    target[0] = [1, 1, 2, 2]
    predicted[0] = [3, 4, 5, 5]  # 1-3 and 1-4: 1/2 both, 2-5: 1
    metrics = compare_segmentations(target, predicted)
    assert metrics["object_f1"] == pytest.approx(4 / 5)
    assert metrics["mean_matched_iou"] == 0.75


def test_the_numbers_of_the_labels_do_not_matter() -> None:
    target, predicted = squares((1, 1), (10, 10)), squares((1, 2), (10, 10))
    renumbered = np.array([0, 700, 5])[predicted]
    assert compare_segmentations(target, renumbered) == compare_segmentations(target, predicted)


def test_no_objects_at_all() -> None:
    nothing, one = squares(), squares((1, 1))
    neither = compare_segmentations(nothing, nothing)
    assert neither.pop("count") == neither.pop("count_target") == 0
    assert set(neither.values()) == {1}
    for pair in (nothing, one), (one, nothing):
        metrics = compare_segmentations(*pair)
        assert metrics.pop("count") + metrics.pop("count_target") == 1
        assert set(metrics.values()) == {0}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), shape=st.sampled_from([(8, 9), (3, 5, 6)]))
def test_metrics_are_shares_and_symmetric(seed: int, shape: tuple[int, ...]) -> None:
    first, second = np.random.default_rng(seed).integers(0, 4, (2, *shape))
    there, back = compare_segmentations(first, second), compare_segmentations(second, first)
    assert (there["count"], there["count_target"]) == (back["count_target"], back["count"])
    for name in ("foreground_iou", "foreground_dice", "object_f1", "mean_matched_iou"):
        assert 0 <= there[name] <= 1
        assert there[name] == pytest.approx(back[name])


def test_errors_for_people() -> None:
    with pytest.raises(GvtzooError, match=r"target \(2, 3\) and prediction \(3, 2\) differ"):
        compare_segmentations(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(GvtzooError, match="not finite"):
        segment(np.array([[np.nan, 1]]))
    with pytest.raises(GvtzooError, match="empty"):
        segment(np.zeros((0, 4)))
    with pytest.raises(GvtzooError, match="smoothing has to be 0 or more voxels, not -1"):
        segment(np.eye(3), smoothing=-1)
