"""Passes as graphs: made once for each network, and compiled once for each size of image."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
import torch

from gvtzoo.networks import DENOISING, GVTO
from gvtzoo.prediction import openvino
from gvtzoo.prediction.exact import graphs as module
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.execution import Runner
from gvtzoo.prediction.exact.graphs import Graphs
from gvtzoo.prediction.pytorch import run_network

TILE = (8, 8, 8)
MEMORY = 150_000  # bytes: the finest level is not kept


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = DENOISING.model_copy(update={"features": 4}).build().eval().requires_grad_(False)
    for operator in network.modules():
        if isinstance(operator, GVTO):
            operator.value.convolution.weight.mul_(3)
            operator.output.convolution.weight.mul_(3)
    return network


@pytest.fixture
def calls(monkeypatch):
    """How often graphs are exported, and compiled."""
    counts = {"export": 0, "compile": 0}

    def counted(name, function):
        def call(*arguments):
            counts[name] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(module, "export", counted("export", module.export))
    monkeypatch.setattr(openvino, "_compile", counted("compile", openvino._compile))
    return counts


def image(seed, *shape):
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)


def check(network, graphs, x):
    runner = Runner(compiled=graphs)
    (found,) = predict_exact(network, x, memory=MEMORY, tile=TILE, runner=runner)
    (expected,) = run_network(network, x, uncertainty=False)
    assert np.abs(found - expected).max() < 2e-6 * np.ptp(expected)


def test_another_image_needs_no_new_graphs(network, calls):
    """Its matrices are others, and given to the graphs that are there."""
    graphs = Graphs("float32")
    check(network, graphs, image(0, 8, 24, 32))
    first = dict(calls)
    check(network, graphs, 5 * image(1, 8, 24, 32))
    assert calls == first
    check(network, graphs, image(2, 8, 32, 40))
    assert calls["export"] == first["export"]


def test_after_a_prediction_no_graph_holds_memory_for_its_tiles(network):
    graphs = Graphs("float32")
    check(network, graphs, image(0, 8, 24, 32))
    assert len(graphs._graphs) > 5
    assert all(graph._request is None for graph in graphs._graphs.values())


def test_all_tiles_of_a_pass_have_one_size(network, calls):
    check(network, Graphs("float32"), image(0, 16, 28, 36))
    assert calls["compile"] == calls["export"] > 5


def test_other_weights_have_other_graphs(network):
    graphs = Graphs("float32")
    check(network, graphs, image(0, 8, 16, 16))
    other = DENOISING.model_copy(update={"features": 4}).build().eval().requires_grad_(False)
    check(other, graphs, image(0, 8, 16, 16))


def test_a_released_graph_gives_its_memory_back_and_runs_again():
    """Else the graphs of all passes would hold their maps at once."""
    convolution = torch.nn.Conv2d(1, 32, 3, padding=1)
    layers = torch.nn.Sequential(convolution, torch.nn.Conv2d(32, 1, 1))
    graph = openvino.Graph(openvino.export(layers, [torch.zeros(1, 1, 16, 16)]))
    x = np.zeros((1, 1, 1024, 1024), np.float32)
    process = psutil.Process()
    (expected,) = graph(x)
    taken = process.memory_info().rss
    graph.release()
    one_map = 4 * 32 * 1024**2
    assert taken - process.memory_info().rss > 0.8 * one_map
    (found,) = graph(x)
    np.testing.assert_array_equal(found, expected)
