import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import View
from gvtzoo.images.statistics import CHUNK
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.metrics.streaming import evaluate_slabs

GOLDEN = Path(__file__).parents[1] / "golden"
REFERENCE = json.loads((GOLDEN / "metrics.json").read_text())


class Slices:
    """An image with nothing but a shape and slices along its first axis."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape
        self.most = 0  # voxels that were read at a time

    def __getitem__(self, planes: slice) -> np.ndarray:
        part = self.array[planes.start : planes.stop]
        self.most = max(self.most, part.size)
        return part


def pair(
    shape: tuple[int, ...], dtype: str = "float32", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.gamma(2, 20, shape)
    return target.astype(dtype), (0.5 * target + rng.normal(80, 8, shape)).astype("float32")


def close(expected: dict[str, float]):
    return pytest.approx(expected, rel=1e-5, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.one_of(
        st.tuples(st.integers(3, 40), st.integers(3, 12), st.integers(3, 12)),
        st.tuples(st.integers(3, 60), st.integers(3, 30)),
        st.tuples(st.integers(3, 30), st.just(1), st.integers(3, 12)),
    ),
    slab=st.integers(1, 20),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32", "float64", ">u2", ">f4"]),
    seed=st.integers(0, 5),
)
def test_the_numbers_are_those_of_the_whole_images(shape, slab, dtype, seed) -> None:
    target, prediction = pair(shape, dtype, seed)
    assert evaluate_slabs(target, prediction, slab=slab) == close(evaluate_pair(target, prediction))


@pytest.mark.parametrize("case", REFERENCE)
def test_the_reference_implementations_numbers(case: str) -> None:
    arrays = np.load(GOLDEN / case / "pipeline.npz")
    metrics = evaluate_slabs(arrays["image"], arrays["prediction"], slab=5)
    expected = REFERENCE[case]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 30, 20), (1, 1, 30)])
def test_one_plane(shape) -> None:
    target, prediction = pair(shape)
    assert evaluate_slabs(target, prediction) == close(evaluate_pair(target, prediction))


def test_lazy_images() -> None:
    target, prediction = pair((20, 12, 14), "uint16")
    expected = close(evaluate_pair(target, prediction))
    store = zarr.create_array({}, shape=target.shape, chunks=(4, 6, 7), dtype=target.dtype)
    store[:] = target
    assert evaluate_slabs(store, Slices(prediction), slab=4) == expected
    turned = View(np.ascontiguousarray(target.transpose(2, 0, 1))[None], (2, 3, 1), ((0, 0),))
    assert evaluate_slabs(turned, prediction, slab=4) == expected


def test_only_a_few_slabs_are_in_memory() -> None:
    target, prediction = map(Slices, pair((20, 256, 256)))
    assert evaluate_slabs(target, prediction, slab=2)["r"] > 0.8
    assert target.most <= CHUNK  # what percentiles are counted of at a time
    assert prediction.most == (2 + 2 * 3) * 256 * 256


def test_a_large_offset_costs_no_digits() -> None:
    target, prediction = (image.astype(np.float64) for image in pair((20, 12, 14)))
    shifted = evaluate_slabs(target + 1e9, prediction + 1e9, slab=3)
    assert shifted == close(evaluate_pair(target, prediction))


def test_a_drift_over_the_slabs_costs_no_digits() -> None:
    target, prediction = (image.astype(np.float64) for image in pair((20, 12, 14)))
    drift = np.linspace(0, 1e5, 20)[:, None, None]
    expected = close(evaluate_pair(target + drift, prediction + drift))
    assert evaluate_slabs(target + drift, prediction + drift, slab=3) == expected


def test_equal_images_are_perfect() -> None:
    target, _ = pair((20, 12, 14))
    metrics = evaluate_slabs(target, target, slab=3)
    assert (metrics["mse"], metrics["mae"], metrics["r2"]) == (0, 0, 1)
    assert metrics["r"] == metrics["ssim"] == pytest.approx(1)
    assert metrics["psnr"] > 200


def test_a_constant_prediction() -> None:
    target, prediction = pair((20, 12, 14))
    prediction[:] = 0.1
    metrics = evaluate_slabs(target, prediction, slab=3)
    assert metrics == close(evaluate_pair(target, prediction))
    assert metrics["r"] == 0


def test_a_mask_as_target() -> None:
    target, prediction = pair((20, 12, 14))
    target = target > np.median(target)
    metrics = evaluate_slabs(target, prediction, slab=3)
    assert metrics == close(evaluate_pair(target.astype(float), prediction))


def test_a_constant_slab_is_no_constant_image() -> None:
    target, prediction = pair((20, 12, 14))
    target[:7] = prediction[7:12] = 0
    metrics = evaluate_slabs(target, prediction, slab=3)
    assert metrics == close(evaluate_pair(target, prediction))


@pytest.mark.parametrize("slab", [3, 16])
def test_images_that_cannot_be_compared_are_refused_like_whole_ones(slab: int) -> None:
    def changed(image: np.ndarray, value: float) -> np.ndarray:
        image = image.copy()
        image[-1, -1, -1] = value
        return image

    target, prediction = pair((8, 9, 10))
    nearly_constant = changed(np.zeros((20, 20, 20)), 1)
    for images in (
        (target, prediction[1:]),
        (changed(target, np.nan), prediction),
        (target, changed(prediction, np.inf)),
        (np.ones_like(target), prediction),
        (target[:0], prediction[:0]),
        (nearly_constant, nearly_constant),
        (target[:, :2], prediction[:, :2]),
    ):
        with pytest.raises(GvtzooError) as whole:
            evaluate_pair(*images)
        with pytest.raises(GvtzooError) as streamed:
            evaluate_slabs(*images, slab=slab)
        assert str(streamed.value) == str(whole.value)


def test_a_slab_has_planes() -> None:
    with pytest.raises(GvtzooError, match="at least 1 plane, not 0"):
        evaluate_slabs(*pair((8, 9, 10)), slab=0)
