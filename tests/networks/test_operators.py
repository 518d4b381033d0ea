"""The operators: the paper's equations, sizes, and TensorFlow's padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.networks.operators import (
    Convolution,
    DownSamplingGVTO,
    InPlaneUpSamplingGVTO,
    Interpolation,
    KeepGrain,
    LinearAttention,
    SizePreservingGVTO,
    SoftmaxAttention,
    TransposedConvolution,
    UpSamplingGVTO,
    attention_matrix,
)


def random_heads(queries: int, keys: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 3, 4, queries), (2, 3, 4, keys), (2, 3, 5, keys))
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def test_linear_attention_is_the_papers_equation():
    query, key, value = random_heads(queries=7, keys=11)
    expected = value @ (key.transpose(-1, -2) @ query) / 7
    torch.testing.assert_close(LinearAttention()(query, key, value), expected)


def test_softmax_attention_is_the_papers_equation():
    query, key, value = random_heads(queries=7, keys=11)
    expected = value @ torch.softmax(key.transpose(-1, -2) @ query, dim=-2)
    torch.testing.assert_close(SoftmaxAttention()(query, key, value), expected)


def test_softmax_attention_is_the_same_in_exported_graphs():
    attention = SoftmaxAttention()
    traced = torch.jit.trace(attention, random_heads(queries=7, keys=11))
    unseen = random_heads(queries=13, keys=5, seed=1)
    torch.testing.assert_close(traced(*unseen), attention(*unseen))
    assert "scaled_dot_product" not in str(traced.inlined_graph)


def test_linear_attention_does_not_depend_on_the_order_of_voxels():
    query, key, value = random_heads(queries=7, keys=11)
    order = torch.randperm(11)
    shuffled = LinearAttention()(query, key[..., order], value[..., order])
    torch.testing.assert_close(shuffled, LinearAttention()(query, key, value))


def test_matrix_is_a_sum_over_voxels():
    _, key, value = random_heads(queries=1, keys=11)
    parts = attention_matrix(key[..., :4], value[..., :4])
    parts = parts + attention_matrix(key[..., 4:], value[..., 4:])
    torch.testing.assert_close(attention_matrix(key, value), parts)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_matrix_of_half_precision_is_summed_in_float32(dtype):
    # 100,000 × 1 overflows float16 and is rounded to 256 by bfloat16's additions of 1.
    ones = torch.ones(1, 1, 1, 100_000, dtype=dtype)
    assert attention_matrix(ones, ones).item() == 100_000


@given(
    dimensions=st.sampled_from([2, 3]),
    heads=st.sampled_from([1, 2, 4]),
    key_ratio=st.sampled_from([1, 2]),
    value_ratio=st.sampled_from([1, 2]),
    softmax=st.booleans(),
    batch_norm=st.booleans(),
    size=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None)
def test_sizes_of_every_operator(
    dimensions, heads, key_ratio, value_ratio, softmax, batch_norm, size
):
    kwargs = {
        "heads": heads,
        "key_ratio": key_ratio,
        "value_ratio": value_ratio,
        "softmax": softmax,
        "batch_norm": batch_norm,
    }
    x = torch.randn(1, 8, *(2 * size,) * dimensions)
    spatial = x.shape[2:]
    halved, doubled = (tuple(int(s * f) for s in spatial) for f in (0.5, 2))
    versions = ["v1"] if key_ratio > 1 else ["v1", "v2"]
    with torch.no_grad():
        assert SizePreservingGVTO(dimensions, 8, **kwargs).eval()(x).shape[2:] == spatial
        for version in versions:
            down = DownSamplingGVTO(dimensions, 8, 16, version, **kwargs).eval()(x)
            up = UpSamplingGVTO(dimensions, 8, 8, version, **kwargs).eval()(x)
            assert down.shape == (1, 16, *halved)
            assert up.shape == (1, 8, *doubled)


def test_in_plane_upsampling_repeats_voxels_and_keeps_z():
    operator = InPlaneUpSamplingGVTO(8, batch_norm=False)
    operator.output.convolution.weight.data.zero_()
    operator.output.convolution.bias.data.zero_()
    x = torch.rand(1, 8, 3, 2, 5)
    y = operator(x)
    assert y.shape == (1, 8, 3, 8, 20)
    for offset in range(4):
        torch.testing.assert_close(y[..., offset::4, offset::4], x)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_stride_2_pads_one_row_at_the_end(dimensions):
    convolution = Convolution(dimensions, 1, 1, 3, stride=2)
    convolution.convolution.weight.data.fill_(1.0)
    x = torch.zeros(1, 1, *(4,) * dimensions)
    x[(..., *(0,) * dimensions)] = 1
    y = convolution(x)
    assert y.shape[2:] == (2,) * dimensions
    # Voxel 0 is in the window of output 0 alone: windows start at 0 and 2.
    assert y[(0, 0, *(0,) * dimensions)] == 1
    assert y.sum() == 1


@pytest.mark.parametrize("dimensions", [2, 3])
def test_transposed_convolution_is_the_adjoint_of_stride_2(dimensions):
    forward = Convolution(dimensions, 2, 3, 3, stride=2)
    backward = TransposedConvolution(dimensions, 3, 2)
    backward.convolution.weight.data = forward.convolution.weight.data
    x = torch.randn(1, 2, *(6,) * dimensions)
    y = torch.randn(1, 3, *(3,) * dimensions)
    with torch.no_grad():
        torch.testing.assert_close((forward(x) * y).sum(), (x * backward(y)).sum())


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    operator = SizePreservingGVTO(2, 8, dropout=0.5)
    x = torch.randn(1, 8, 4, 4)
    assert not torch.equal(operator(x), operator(x))
    operator.eval()
    assert torch.equal(operator(x), operator(x))


def test_channels_that_cannot_be_split_are_refused():
    with pytest.raises(ValueError, match=r"8 channels cannot be divided by key_ratio 1 × 3 heads"):
        SizePreservingGVTO(2, 8, heads=3)


def test_version_2_refuses_a_key_ratio():
    with pytest.raises(ValueError, match="key_ratio has to be 1, not 2"):
        UpSamplingGVTO(2, 8, 8, "v2", key_ratio=2)


def inside(image: torch.Tensor) -> torch.Tensor:
    return image[..., 2:-2, 2:-2, 2:-2]


def test_interpolation_keeps_what_is_flat_flat():
    torch.manual_seed(0)
    flat = torch.ones(1, 4, 4, 4, 4)
    interpolated, transposed = (
        inside(layer(3, 4, 2)(flat)) for layer in (Interpolation, TransposedConvolution)
    )
    assert interpolated.shape == transposed.shape == (1, 2, 4, 4, 4)
    assert float(interpolated.detach().std((2, 3, 4)).max()) < 1e-6
    assert float(transposed.detach().std((2, 3, 4)).min()) > 1e-2


def test_interpolation_is_linear_between_voxels():
    layer = Interpolation(2, 1, 1)
    torch.nn.init.ones_(layer.convolution.convolution.weight)
    ramp = torch.arange(5.0).expand(1, 1, 5, 5)
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4])
    torch.testing.assert_close(layer(ramp)[0, 0, 3], expected)


def test_grain_of_the_truth_is_given_back():
    removed = torch.full((1, 1, 8, 8, 8), 0.02)
    assert KeepGrain(0.02)(removed).flatten()[0] == pytest.approx(0.01)
    noise = torch.randn(1, 1, 16, 16, 16)
    little_light, much_light = (float(KeepGrain(0.02)(s * noise).std() / s) for s in (0.5, 0.005))
    assert little_light > 0.99 * float(noise.std())
    assert much_light < 0.1 * float(noise.std())


def test_stacks_of_few_planes_keep_their_grain_too():
    assert KeepGrain(0.02)(torch.zeros(1, 1, 4, 4, 4)).shape == (1, 1, 4, 4, 4)
