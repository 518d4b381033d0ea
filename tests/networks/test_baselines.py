"""The networks of other papers: sizes, shapes, and what they are known by."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.networks.baselines import (
    CAREProjection,
    CAREUNet,
    CENet,
    DenseAtrousConvolution,
    FNet,
    GlobalPooling,
    ResidualMultiKernelPooling,
    RSGUNet,
    SurfaceProjection,
)

UNETS = [FNet, CAREUNet, RSGUNet, CENet]
BOTH = pytest.mark.parametrize("dimensions", [2, 3])


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolution(before: int, after: int, kernel: int, bias: bool = True) -> int:
    return before * after * kernel + after * bias


def basic_block(before: int, width: int, kernel: int, shortcut: bool) -> int:
    inner = convolution(before, width, kernel, False) + convolution(width, width, kernel, False)
    return inner + 4 * width + (before * width + 2 * width) * shortcut


def test_the_label_free_unet_has_the_published_number_of_parameters():
    assert parameters(FNet()) == 23_280_769


@BOTH
def test_the_care_unet_has_the_parameters_of_its_layers(dimensions):
    kernel = {2: 5**2, 3: 3**3}[dimensions]
    layers = [(1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 64)]  # down and middle
    layers += [(128, 64), (64, 32), (64, 32), (32, 32)]  # up
    expected = sum(convolution(*layer, kernel) for layer in layers) + convolution(32, 1, 1)
    assert parameters(CAREUNet(dimensions)) == expected


def test_the_projection_has_the_parameters_of_its_layers():
    layers = [(1, 8), (8, 8), (8, 8), (8, 8), (8, 8), (8, 1)]
    expected = sum(convolution(*layer, 3 * 5 * 5) for layer in layers)
    assert parameters(SurfaceProjection()) == expected
    assert parameters(CAREProjection()) == expected + parameters(CAREUNet(2))


@BOTH
def test_the_rsgu_net_has_the_parameters_of_its_layers(dimensions):
    kernel, doubling = 3**dimensions, 2**dimensions
    encoder = [(1, 32), (32, 64), (64, 128), (128, 256)]
    expected = sum(basic_block(*level, kernel, True) for level in encoder)
    expected += 2 * convolution(256, 256, 1)  # global pooling
    for width in (128, 64, 32):
        expected += convolution(2 * width, width, doubling)
        expected += basic_block(2 * width, width, kernel, True)
    assert parameters(RSGUNet(dimensions)) == expected + convolution(32, 1, kernel)


@BOTH
def test_the_ce_net_has_the_parameters_of_its_layers(dimensions):
    kernel = 3**dimensions
    expected = convolution(1, 32, kernel, False) + 2 * 32
    for before, width, count in [(32, 32, 3), (32, 64, 4), (64, 128, 6), (128, 256, 3)]:
        expected += basic_block(before, width, kernel, before != width)
        expected += (count - 1) * basic_block(width, width, kernel, False)
    expected += 7 * convolution(256, 256, kernel) + 3 * convolution(256, 256, 1)  # dilated
    expected += 4 * convolution(256, 1, 1)  # pooling
    for before, width in [(260, 128), (128, 64), (64, 32)]:
        narrow = before // 4
        expected += before * narrow + kernel * narrow**2 + narrow * width + 4 * narrow + 2 * width
    expected += convolution(32, 32, kernel) + convolution(32, 1, kernel)
    assert parameters(CENet(dimensions)) == expected


@pytest.mark.parametrize("kind", UNETS)
@given(
    dimensions=st.sampled_from([2, 3]),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    depth=st.integers(2, 3),
    data=st.data(),
)
@settings(max_examples=8, deadline=None)
def test_images_keep_their_size(kind, dimensions, channels, depth, data):
    network = kind(
        dimensions,
        input_channels=channels[0],
        output_channels=channels[1],
        depth=depth,
        features=2,
        uncertainty=True,
    ).eval()
    sizes = [data.draw(st.integers(1, 3)) * multiple for multiple in network.multiple]
    x = torch.randn(2, channels[0], *sizes)
    with torch.no_grad():
        y, sigma = network.forward_with_sigma(x)
        torch.testing.assert_close(network(x), y, rtol=0, atol=0)
    assert y.shape == sigma.shape == (2, channels[1], *sizes)
    assert (sigma > 0).all()


@given(planes=st.integers(1, 7), y=st.integers(1, 2), x=st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_projections_lose_z(planes, y, x):
    network = CAREProjection(features=2, uncertainty=True).eval()
    stack = torch.randn(2, 1, planes, 16 * y, 16 * x)
    with torch.no_grad():
        image, sigma = network.forward_with_sigma(stack)
        torch.testing.assert_close(network(stack), image, rtol=0, atol=0)
    assert image.shape == sigma.shape == (2, 1, 16 * y, 16 * x)


@pytest.mark.parametrize(
    ("kind", "dimensions"),
    [*((kind, dimensions) for kind in UNETS for dimensions in (2, 3)), (CAREProjection, 3)],
)
def test_every_parameter_learns(kind, dimensions):
    torch.manual_seed(0)
    network = kind(dimensions, features=8, depth=3, uncertainty=True).eval()
    sizes = [max(4, 2 * multiple) for multiple in network.multiple]
    y, sigma = network.forward_with_sigma(torch.randn(1, 1, *sizes))
    (y.square().mean() + sigma.mean()).backward()
    assert [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("kind", [*UNETS, CAREProjection])
def test_sizes_that_cannot_be_halved_are_refused(kind):
    network = kind(3, features=2)
    sizes = [multiple + 1 for multiple in network.multiple]
    with pytest.raises(ValueError, match="have to be multiples of"):
        network(torch.zeros(1, 1, *sizes))


@pytest.mark.parametrize("kind", UNETS)
def test_sigma_needs_the_uncertainty_head(kind):
    network = kind(2, features=2)
    with pytest.raises(ValueError, match="uncertainty=True"):
        network.forward_with_sigma(torch.zeros(1, 1, *network.multiple))


@BOTH
def test_the_care_unet_adds_to_its_input(dimensions):
    network = CAREUNet(dimensions, features=2).eval()
    x = torch.randn(1, 1, *[8, 12, 4][:dimensions])
    torch.nn.init.zeros_(network.output.weight)
    torch.nn.init.zeros_(network.output.bias)
    assert torch.equal(network(x), x)


def test_weights_over_z_sum_to_one():
    torch.manual_seed(0)
    stack = torch.randn(1, 1, 5, 16, 32)
    weights = SurfaceProjection().weights(stack)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(1, 1, 16, 32))
    flat = torch.full_like(stack, 3.0)
    torch.testing.assert_close(SurfaceProjection()(flat), torch.full((1, 1, 16, 32), 3.0))


@BOTH
def test_global_pooling_is_its_formula(dimensions):
    torch.manual_seed(0)
    pooling = GlobalPooling(dimensions, 3)
    x = torch.randn(2, 3, *[4, 5, 6][:dimensions])
    first, _, second = pooling.inner
    for sample, found in zip(x, pooling(x), strict=True):
        mean = sample.flatten(1).mean(dim=1)
        hidden = torch.relu(first.weight.flatten(1) @ mean + first.bias)
        added = second.weight.flatten(1) @ hidden + second.bias
        expected = sample + added.reshape(-1, *[1] * dimensions)
        torch.testing.assert_close(found, expected)


def test_the_rsgu_net_knows_the_whole_image():
    assert influence(RSGUNet(2, features=8, depth=2), 128)[0] > 0
    local = RSGUNet(2, features=8, depth=2)
    local.bottom = torch.nn.Identity()
    assert influence(local, 128)[0] == 0


def test_range_scaling_multiplies_the_input():
    torch.manual_seed(0)
    network = RSGUNet(2, features=4, range_scaling=True).eval()
    x = torch.randn(1, 1, 8, 16)
    torch.nn.init.zeros_(network.output.weight)
    torch.nn.init.constant_(network.output.bias, 2.5)
    torch.testing.assert_close(network(x), 2.5 * x)


def test_dilated_convolutions_see_as_far_as_the_paper_says():
    torch.manual_seed(0)
    block = DenseAtrousConvolution(2, 4)
    seen = []
    for branch in block.branches:
        x = torch.randn(1, 4, 41, 41, requires_grad=True)
        # before the ReLU, which may hide what is seen
        (gradient,) = torch.autograd.grad(branch[:-1](x)[0, :, 20, 20].sum(), x)
        rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
        seen.append(int(rows.max() - rows.min() + 1))
    assert seen == [3, 7, 9, 19]


@BOTH
def test_pooling_takes_maps_smaller_than_its_windows(dimensions):
    torch.manual_seed(0)
    pooling = ResidualMultiKernelPooling(dimensions, 3)
    x = torch.randn(1, 3, *[1] * dimensions)
    y = pooling(x)
    torch.testing.assert_close(y[:, :3], x)
    for number, (_, convolve) in enumerate(pooling.levels):
        torch.testing.assert_close(y[:, 3 + number : 4 + number], convolve(x))


def test_the_label_free_unet_reaches_far():
    assert influence(FNet(2, features=8), 64)[0] > 0


def influence(network: torch.nn.Module, size: int) -> torch.Tensor:
    """How much each row of an image changes the output in the middle."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, size, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.eval()(x)[0, 0, size // 2].sum(), x)
    return gradient[0, 0].abs().sum(dim=1)
