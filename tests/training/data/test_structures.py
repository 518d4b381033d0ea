"""Synthetic stacks: bright enough, varied, and the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from gvtzoo.training.data.structures import KINDS, synthetic_stack

SHAPE = (8, 32, 32)


def stack(number: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> torch.Tensor:
    return synthetic_stack(number, shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_stacks_are_relative_intensities(number):
    for seed in range(3):
        image = stack(number, seed=seed)
        assert image.shape == SHAPE
        assert torch.isfinite(image).all()
        assert float(image.min()) >= 0
        assert float(torch.quantile(image, 0.998)) == pytest.approx(1, rel=1e-4)
        assert float(image.std()) > 0.01


def test_stacks_follow_from_the_seed():
    torch.testing.assert_close(stack(1), stack(1))
    assert not torch.equal(stack(1), stack(1, seed=1))


def test_one_plane_is_an_image():
    assert stack(0, (1, 32, 32)).shape == (1, 32, 32)
