"""Blocks along an axis: every output voxel comes once, from the inside of a block."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.bioimageio.axes import Extent, cuts_of, joint_cuts


@given(
    size=st.integers(1, 90),
    minimum=st.integers(1, 40),
    step=st.integers(1, 9),
    scale=st.sampled_from([Fraction(1), Fraction(2), Fraction(1, 2), Fraction(3, 2)]),
    halo=st.integers(0, 6),
    lost=st.integers(0, 4),
    block=st.none() | st.integers(1, 60),
)
def test_every_output_voxel_is_written_once(size, minimum, step, scale, halo, lost, block):
    extent = Extent(minimum, step, "x", scale, -2 * lost, halo)
    reserve = 2 * extent.margin + 2 * step
    blocks = None if block is None else {"x": block + reserve}
    cut = cuts_of({"x": size}, {"x": extent}, blocks, {})["x"]
    assert cut.block >= minimum
    assert (cut.block - minimum) % step == 0
    written = np.zeros(cut.output_size, int)
    padded = size + sum(cut.padding)
    for start in cut.starts:
        assert start % step == 0
        assert start + cut.block <= padded
        place, part = cut.output(start)
        result = int(cut.block * scale) - 2 * lost
        assert part.start >= halo
        assert part.stop <= result - halo
        assert part.stop - part.start == place.stop - place.start
        # The same voxel: where the block begins, and what it loses at its front.
        assert part.start + lost - cut.margin * scale + start * scale == place.start
        written[place] += 1
    assert (written == 1).all()
    assert cut.output_size == -(-size * scale // 1)


@given(
    n=st.integers(0, 9),
    step=st.integers(1, 9),
    halos=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    larger=st.integers(0, 3),
)
def test_sizes_that_are_taken_get_no_margin_and_others_do(n, step, halos, larger):
    outputs = [{"x": Extent(7, step, "x", halo=halo)} for halo in halos]
    size = 7 + n * step
    for cuts in joint_cuts({"x": size}, outputs, None, {}):
        assert cuts["x"].padding == (0, 0)
        assert cuts["x"].output(0) == (slice(0, size), slice(0, size))
    if step > 1:
        (cut, *_) = joint_cuts({"x": size + 1}, outputs, None, {})
        assert cut["x"].margin == max(halos)
    with_margin = joint_cuts({"x": size}, outputs, None, {"x": larger})[0]["x"].margin
    assert with_margin == (max(larger, *halos) if larger else 0)
