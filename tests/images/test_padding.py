from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.images.padding import pad_to_multiple

AXES = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 8), st.integers(1, 20)), min_size=1, max_size=3
)


@given(AXES)
def test_sizes_are_the_next_multiples_and_the_crop_gives_the_image_back(axes):
    shape, multiples, _ = zip(*axes, strict=True)
    image = np.arange(np.prod(shape)).reshape(shape)
    padded, crop = pad_to_multiple(image, multiples)
    for size, multiple, found in zip(shape, multiples, padded.shape, strict=True):
        assert found % multiple == 0
        assert size <= found < size + multiple
    np.testing.assert_array_equal(padded[crop], image)


@given(AXES)
def test_sizes_are_at_least_the_minimum(axes):
    shape, multiples, minimum = zip(*axes, strict=True)
    image = np.arange(np.prod(shape)).reshape(shape)
    padded, crop = pad_to_multiple(image, multiples, minimum)
    for size, multiple, least, found in zip(shape, multiples, minimum, padded.shape, strict=True):
        assert found % multiple == 0
        assert max(size, least) <= found < max(size, least) + multiple
    np.testing.assert_array_equal(padded[crop], image)


def test_the_image_is_mirrored_and_the_larger_half_is_behind():
    padded, crop = pad_to_multiple(np.array([1, 2, 3, 4, 5]), (8,))
    assert padded.tolist() == [2, 1, 2, 3, 4, 5, 4, 3]
    assert crop == (slice(1, 6),)


def test_padding_wider_than_the_image_goes_on_mirroring():
    assert pad_to_multiple(np.array([1, 2]), (7,))[0].tolist() == [1, 2, 1, 2, 1, 2, 1]


def test_a_single_slice_is_repeated():
    padded, _ = pad_to_multiple(np.array([[3, 4]]), (4, 2))
    assert padded.tolist() == [[3, 4]] * 4


def test_the_mode_is_numpys():
    assert pad_to_multiple(np.array([1, 2]), (4,), mode="edge")[0].tolist() == [1, 1, 2, 2]


def test_nothing_is_copied_where_nothing_is_to_pad():
    image = np.zeros((4, 8))
    assert pad_to_multiple(image, (4, 4), (2, 8))[0] is image
