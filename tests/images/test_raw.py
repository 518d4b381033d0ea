from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import whole
from gvtzoo.images.raw import RawArray


@st.composite
def arrays(draw):
    """An array, how many of its axes count planes, and the gap between planes in bytes."""
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    dtype = draw(st.sampled_from(["u1", "<u2", ">u2", "<f4", ">f4", ">f8", "<i4"]))
    array = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 200, shape).astype(dtype)
    return array, draw(st.integers(0, len(shape) - 1)), draw(st.integers(0, 7))


def write(path, array, planes, gap):
    """The array in a file, after a header and with a gap before each plane."""
    content, offsets = b"header", []
    for plane in array.reshape(-1, *array.shape[planes:]):
        content += b"?" * gap
        offsets.append(len(content))
        content += plane.tobytes()
    path.write_bytes(content)
    return RawArray(path, array.shape, array.dtype, tuple(offsets))


@st.composite
def boxes_in(draw, shape):
    box = []
    for size in shape:
        start = draw(st.integers(0, size))
        box.append(slice(start, draw(st.integers(start, size))))
    return tuple(box)


examples = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@examples
@given(arrays(), st.data())
def test_boxes_are_those_of_the_array(tmp_path, case, data):
    array, planes, gap = case
    raw = write(tmp_path / "a", array, planes, gap)
    box = data.draw(boxes_in(array.shape))
    np.testing.assert_array_equal(raw[box], array[box])
    assert raw[box].dtype == array.dtype


@examples
@given(arrays(), st.data())
def test_boxes_are_written_into_their_place(tmp_path, case, data):
    array, planes, gap = case
    raw = write(tmp_path / "a", array, planes, gap)
    box = data.draw(boxes_in(array.shape))
    size = raw.path.stat().st_size
    raw[box] = np.full_like(array[box], 201)
    array[box] = 201
    np.testing.assert_array_equal(raw[whole(array.shape)], array)
    assert raw.path.stat().st_size == size


def test_a_file_that_ends_too_early_is_named(tmp_path):
    raw = write(tmp_path / "a.npy", np.arange(12, dtype=np.float32).reshape(3, 4), 0, 0)
    raw.path.write_bytes(raw.path.read_bytes()[:-1])
    with pytest.raises(GvtzooError, match=r"a.npy ends within its pixels"):
        raw[whole(raw.shape)]
