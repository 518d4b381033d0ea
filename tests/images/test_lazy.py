"""Images that are read in parts give what they give when they are read at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gvtzoo.images.lazy import LazyImage, View, boxes, piece_sizes, pieces
from gvtzoo.images.statistics import mean_and_deviation, percentiles

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)


def lazily(array: np.ndarray) -> View:
    """The same array, but not as a NumPy array."""
    return View(array, tuple(range(array.ndim)))


@given(data=st.data(), shape=SHAPES)
def test_a_view_is_what_numpy_gives(data, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    order = data.draw(st.permutations(range(3)))
    index = data.draw(st.integers(0, shape[order[0]] - 1))
    view = View(array, (None, order[2], order[1]), ((order[0], index),))
    expected = array.take(index, axis=order[0])
    if order[2] > order[1]:
        expected = expected.T
    assert view.shape == (1, *expected.shape)
    np.testing.assert_array_equal(view.load()[0], expected)
    stop = data.draw(st.integers(1, expected.shape[1]))
    part = view[(slice(0, 1), slice(0, 1), slice(stop - 1, stop))]
    np.testing.assert_array_equal(part[0], expected[:1, stop - 1 : stop])


@given(shape=SHAPES, chunks=st.tuples(*[st.integers(1, 9)] * 3), voxels=st.integers(1, 300))
def test_pieces_are_whole_chunks_and_cover_everything_once(shape, chunks, voxels):
    sizes = piece_sizes(shape, chunks, voxels)
    counts = np.zeros(shape, int)
    for box in boxes(shape, sizes):
        counts[box] += 1
    assert (counts == 1).all()
    for size, chunk, whole in zip(sizes, chunks, shape, strict=True):
        assert size == whole or size % min(chunk, whole) == 0
    assert np.prod(sizes) <= max(voxels, np.prod(np.minimum(chunks, shape)))


@given(array=hnp.arrays(np.int32, SHAPES), voxels=st.integers(1, 100))
def test_pieces_hold_every_value(array, voxels):
    for one in (array, lazily(array)):
        found = np.concatenate([piece.reshape(-1) for piece in pieces(one, voxels)])
        np.testing.assert_array_equal(np.sort(found), np.sort(array.reshape(-1)))


@given(
    data=st.data(),
    dtype=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]),
    shape=SHAPES,
    ranks=st.tuples(st.floats(0, 100), st.floats(0, 100)),
)
def test_percentiles_of_what_is_read_in_parts(data, dtype, shape, ranks):
    elements = hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    if dtype in ("f8", "i8", "u8"):
        elements = elements.filter(lambda value: abs(float(value)) < 1e15)
    array = data.draw(hnp.arrays(dtype, shape, elements=elements))
    expected = np.percentile(array.astype(np.float64), ranks)
    spread = float(np.ptp(array.astype(np.float64)))
    found = percentiles(lazily(array), ranks)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * max(spread, 1e-300))


@given(array=hnp.arrays("f4", SHAPES, elements=st.floats(-1e6, 1e6, width=32)))
def test_mean_and_deviation_of_what_is_read_in_parts(array):
    mean, deviation = mean_and_deviation(lazily(array))
    assert np.isclose(mean, array.mean(dtype=np.float64), atol=1e-6)
    assert np.isclose(deviation, array.std(dtype=np.float64), atol=1e-6)


def test_taking_a_channel_forgets_the_channels():
    array = np.arange(24).reshape(2, 3, 4)
    image = LazyImage(array, ("c", "y", "x"), "a", {"y": 0.5, "x": 0.5}, "µm", ["red", "green"])
    taken = image.take("c", 1)
    assert (taken.dims, taken.channels) == (("y", "x"), [])
    np.testing.assert_array_equal(taken.load(), array[1])
    assert list(image.load().coords["c"].values) == ["red", "green"]


def test_big_endian_arrays_become_native():
    image = LazyImage(np.arange(4, dtype=">u2").reshape(2, 2), ("y", "x"))
    assert image.load().dtype == np.dtype("=u2")
    np.testing.assert_array_equal(image.load(), [[0, 1], [2, 3]])
