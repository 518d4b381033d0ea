from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.patches import grid_starts, random_patch_start


def test_every_position_is_equally_likely_including_the_last():
    generator = np.random.default_rng(0)
    draws = 6000
    counts = Counter(random_patch_start((5, 7), (4, 5), generator) for _ in range(draws))
    assert set(counts) == set(itertools.product(range(2), range(3)))
    # Five standard deviations of a binomial count.
    assert all(abs(count - draws / 6) < 5 * np.sqrt(draws * 5 / 36) for count in counts.values())


def test_a_patch_as_large_as_the_image_starts_at_zero():
    assert random_patch_start((4, 5), (4, 5), np.random.default_rng()) == (0, 0)


def test_a_patch_larger_than_the_image_is_refused():
    with pytest.raises(GvtzooError, match=r"patch \(3, 8\) .* image \(4, 5\)"):
        random_patch_start((4, 5), (3, 8), np.random.default_rng())


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 59))
def test_a_grid_covers_the_axis_with_the_overlap(size, patch, overlap):
    assume(overlap < patch)
    starts = grid_starts(size, patch, overlap)
    assert starts[0] == 0
    if patch >= size:
        assert starts == [0]
        return
    assert starts[-1] == size - patch
    for first, second in itertools.pairwise(starts):
        assert 0 < second - first <= patch - overlap


def test_a_grid_has_no_patch_too_many():
    assert grid_starts(10, 4, 1) == [0, 3, 6]
    assert grid_starts(11, 4, 1) == [0, 3, 6, 7]


@pytest.mark.parametrize("overlap", [-1, 4, 5])
def test_an_overlap_that_leaves_no_step_is_refused(overlap):
    with pytest.raises(GvtzooError, match=f"overlap {overlap}"):
        grid_starts(10, 4, overlap)
