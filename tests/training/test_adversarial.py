"""The discriminator learns to tell predictions from targets, and the network to fool it."""

from __future__ import annotations

import pytest
import torch

from gvtzoo.training.adversarial import PatchDiscriminator, adversarial_loss


@pytest.fixture
def discriminator():
    torch.manual_seed(0)
    return PatchDiscriminator(2, 1, 8)


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth predictions, noisy targets."""
    generator = torch.Generator().manual_seed(0)
    return torch.zeros(4, 1, 32, 32), torch.randn(4, 1, 32, 32, generator=generator)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_patch_is_judged(dimensions):
    sizes = (16, 32, 24)[-dimensions:]
    judged = PatchDiscriminator(dimensions, 2, 4)(torch.zeros(1, 2, *sizes))
    assert judged.shape == (1, 1, *(size // 8 for size in sizes))


def test_the_discriminator_learns(discriminator):
    prediction, target = images()
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = adversarial_loss(discriminator, prediction, target, 1.0)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
    assert discriminator(target).mean() > 0.5
    assert discriminator(prediction).mean() < -0.5


def test_the_network_gets_the_reversed_gradient(discriminator):
    prediction, target = images()
    prediction.requires_grad_()
    adversarial_loss(discriminator, prediction, target, 0.5).backward()
    found = prediction.grad
    prediction.grad = None
    torch.relu(1 + discriminator(prediction)).mean().backward()
    torch.testing.assert_close(found, -0.5 * prediction.grad)
    assert found.abs().max() > 0
