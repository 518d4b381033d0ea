"""Graphs are rewritten where that saves memory, and compute what they did before."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
import torch
from torch import nn
from torch.nn import functional

from gvtzoo.networks.operators import (
    DownSamplingGVTO,
    SizePreservingGVTO,
    TransposedConvolution,
    UpSamplingGVTO,
)
from gvtzoo.prediction import openvino as engine
from gvtzoo.prediction.rewrites import rewrite

X = np.random.default_rng(0).normal(size=(1, 4, 6, 8)).astype(np.float32)


class Joined(nn.Module):
    """Two convolutions, concatenated and activated."""

    def __init__(self, activation, read_twice=False):
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 5, 1)
        self.last = nn.Conv2d(8, 2, 3, padding=1)
        self.activation = activation
        self.read_twice = read_twice

    def forward(self, x):
        both = torch.cat([self.first(x), self.second(x)], dim=1)
        y = self.last(self.activation(both))
        return y + both[:, :2] if self.read_twice else y


class Doubled(nn.Module):
    """A transposed convolution, of which the last voxels are cut away, or others."""

    def __init__(self, bias, cut):
        super().__init__()
        self.layer = TransposedConvolution(2, 4, 3, bias=bias)
        self.cut = cut

    def forward(self, x):
        if self.cut == "last":
            return functional.relu6(self.layer(x))
        return functional.relu6(self.layer.convolution(x)[..., 1:, 1:])


def with_weights(network):
    """A module with weights that matter."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network.eval()


def rewritten(module):
    """The graph before and after, and what the engine computes of it."""
    torch.manual_seed(0)
    onnx = engine.export(module, [torch.from_numpy(X)])
    model = openvino.Core().read_model(onnx)
    model.reshape(list(X.shape))
    before = kinds(model)
    rewrite(model)
    (found,) = engine.Graph(onnx)(X)
    with torch.inference_mode():
        expected = module(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.ptp(expected))
    return before, kinds(model)


def kinds(model):
    """The nodes' kinds, each behind that which it reads first."""
    return [
        (node.input_value(0).get_node().get_type_name(), node.get_type_name())
        for node in model.get_ordered_ops()
        if node.get_input_size()
    ]


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6()])
def test_activations_go_in_front_of_concatenations(activation):
    before, after = rewritten(Joined(activation))
    assert ("Concat", "Convolution") not in before
    assert ("Concat", "Convolution") in after


@pytest.mark.parametrize(
    "module", [Joined(nn.ReLU(), read_twice=True), Joined(nn.Tanh()), Joined(nn.Identity())]
)
def test_other_concatenations_stay(module):
    before, after = rewritten(module)
    assert before == after


@pytest.mark.parametrize("bias", [False, True])
def test_what_is_cut_away_is_not_computed(bias):
    before, after = rewritten(Doubled(bias, "last"))
    assert any(kind == "Slice" for _, kind in before)
    assert not any(kind == "Slice" for _, kind in after)


def test_other_cuts_stay():
    before, after = rewritten(Doubled(True, "first"))
    assert before == after


@pytest.mark.parametrize(
    "operator",
    [
        SizePreservingGVTO(2, 4, heads=2, batch_norm=False),
        SizePreservingGVTO(2, 4, key_ratio=2, value_ratio=4, bias=False, batch_norm=False),
        UpSamplingGVTO(2, 4, 6, heads=3, batch_norm=False),
        DownSamplingGVTO(2, 4, 8, "v1", heads=2, batch_norm=False),
    ],
)
def test_queries_are_convolved_once(operator):
    before, after = rewritten(with_weights(operator))
    products = [sum(kind == "MatMul" for _, kind in found) for found in (before, after)]
    assert products == [2, 2]  # keys with values; then weights, and no longer queries, with these
    assert ("Reshape", "Convolution") in before
    assert ("Reshape", "Convolution") not in after


def test_queries_that_are_added_are_not_read_again():
    """Of a version 2 operator, queries are the residual; version 1 has another."""
    sums = {}
    for version in ("v1", "v2"):
        operator = DownSamplingGVTO(2, 4, 8, version, heads=2, bias=False, batch_norm=False)
        before, after = rewritten(with_weights(operator))
        sums[version] = [sum(kind == "Add" for _, kind in found) for found in (before, after)]
    assert sums["v1"] == [1, 1]
    assert sums["v2"] == [1, 1]  # of maps; then of weights
    assert ("Convolution", "Add") in before
    assert ("Convolution", "Add") not in after
