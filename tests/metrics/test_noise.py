"""The noise level is that of white noise, whatever the size of the image."""

from __future__ import annotations

import numpy as np
import pytest

from gvtzoo.metrics.noise import LEAST, noise_level


@pytest.mark.parametrize("shape", [(1, 40, 50), (1, 8, 40, 50), (2, 1, 60, 60), (1, 4, 600, 520)])
def test_level_of_white_noise(shape):
    noise = np.random.default_rng(0).normal(0, 0.3, shape)
    assert noise_level(noise) == pytest.approx(0.3, rel=0.06)


def test_what_has_no_noise_has_the_least():
    assert noise_level(np.ones((1, 8, 8))) == LEAST
    assert noise_level(np.ones((1, 1, 1))) == LEAST
