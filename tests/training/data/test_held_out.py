"""What is held out is a part of every image that tells something."""

from __future__ import annotations

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.training.data.held_out import divide, hold_out
from gvtzoo.training.data.images import PairedImage

SAME = FittedNormalization(0, 1)


def image(array: np.ndarray) -> PairedImage:
    return PairedImage("image", {}, array[None], array[None], SAME, SAME)


def test_an_empty_border_is_not_what_is_judged_by():
    array = np.random.default_rng(0).normal(size=(64, 64))
    array[40:] = 0  # the lower rows are empty
    array[:, 48:] *= 1.05
    training, held_out = divide(image(array), (4, 4))
    assert held_out.target.std() > 0.5 * array.std()
    assert training.target.size + held_out.target.size == array.size


def test_whole_pairs_are_held_out_of_four():
    pairs = [image(np.random.default_rng(n).normal(size=(32, 32))) for n in range(8)]
    training, held_out, described = hold_out(pairs, (4, 4))
    assert (len(training), len(held_out)) == (6, 2)
    assert described == "2 of 8 pairs, held out"


@pytest.mark.parametrize(("count", "chosen"), [(2, [1]), (3, [2]), (9, [3, 7])])
def test_another_image_is_held_out_where_there_is_one(count, chosen):
    pairs = [image(np.random.default_rng(n).normal(size=(32, 32))) for n in range(count)]
    training, held_out, _ = hold_out(pairs, (4, 4))
    assert held_out == [pairs[n] for n in chosen]
    assert training == [pair for pair in pairs if pair not in held_out]


def test_small_images_are_refused():
    with pytest.raises(GvtzooError, match="too few to hold some out"):
        divide(image(np.random.default_rng(0).normal(size=(12, 12))), (4, 4))
