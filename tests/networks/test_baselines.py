"""The networks of other papers: sizes, shapes, and what they are known by."""

from __future__ import annotations

import pytest
import torch

from gvtzoo.networks.baselines import CAREUNet, FNet


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_label_free_unet_has_the_published_number_of_parameters():
    assert parameters(FNet()) == 23_280_769


def test_the_label_free_unet_keeps_the_size_and_reaches_far():
    torch.manual_seed(0)
    network = FNet(features=8).eval()
    x = torch.randn(1, 1, 16, 16, 64, requires_grad=True)
    y = network(x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y[0, 0, 8, 8, 32], x)
    assert gradient[..., 0].abs().sum() > 0


@pytest.mark.parametrize(("dimensions", "shape"), [(2, (12, 20)), (3, (4, 8, 12))])
def test_the_care_unet_adds_to_its_input(dimensions, shape):
    network = CAREUNet(dimensions, features=2).eval()
    x = torch.randn(1, 1, *shape)
    torch.nn.init.zeros_(network.output.weight)
    torch.nn.init.zeros_(network.output.bias)
    assert torch.equal(network(x), x)


def test_the_care_unet_halves_twice():
    with pytest.raises(ValueError, match="multiples of"):
        CAREUNet(2, features=2)(torch.zeros(1, 1, 6, 8))
