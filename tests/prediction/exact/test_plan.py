"""Tiles are those with which least is computed."""

from __future__ import annotations

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.prediction.exact.plan import best_tile

MULTIPLE = (2, 4)


def computed(size, tile, halo):
    counts = [-(-s // t) for s, t in zip(size, tile, strict=True)]
    sides = [min(2, count - 1) for count in counts]
    windows = [min(s, t + n * h) for s, t, n, h in zip(size, tile, sides, halo, strict=True)]
    return math.prod(windows), math.prod(
        count * w for count, w in zip(counts, windows, strict=True)
    )


@given(
    factors=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    halo=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    voxels=st.integers(1, 2500),
)
@settings(max_examples=100, deadline=None)
def test_no_other_tile_that_fits_computes_less(factors, halo, voxels):
    size = tuple(f * m for f, m in zip(factors, MULTIPLE, strict=True))
    found = best_tile(size, MULTIPLE, halo, voxels)
    assert all(t % m == 0 and t <= s for t, m, s in zip(found, MULTIPLE, size, strict=True))
    every = itertools.product(*(range(m, s + 1, m) for m, s in zip(MULTIPLE, size, strict=True)))
    fitting = [c for c in (computed(size, tile, halo) for tile in every) if c[0] <= voxels]
    window, least = computed(size, found, halo)
    if not fitting:
        assert found == MULTIPLE
        return
    assert window <= voxels
    assert least == min(c for _, c in fitting)


def test_an_image_that_fits_is_one_tile():
    assert best_tile((32, 64), MULTIPLE, (6, 6), 32 * 64) == (32, 64)


def test_planes_are_not_cut_as_long_as_rows_can_be():
    """Few planes would be little more than their halo."""
    assert best_tile((32, 512), MULTIPLE, (6, 6), 32 * 100)[0] == 32
