"""Faster networks give the same results."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from strategies import configs, examples

from gvtzoo.networks import PRESETS
from gvtzoo.prediction.cpu_kernels import accelerate

TOLERANCE = 1e-5  # of the output's range


@given(config=configs())
@examples(15)
def test_results_are_the_same(config):
    torch.manual_seed(0)
    network = config.build().eval()
    x = torch.randn(1, config.input_channels, *(2 * m for m in config.multiple))
    fast = accelerate(copy.deepcopy(network))
    with torch.inference_mode():
        expected, found = network(x).numpy(), fast(x).numpy()
    assert np.abs(found - expected).max() <= TOLERANCE * np.ptp(expected)


def test_weights_are_the_same_and_convolutions_are_others():
    network = PRESETS["projection"].build()
    fast = accelerate(copy.deepcopy(network))
    for name, tensor in network.state_dict().items():
        assert torch.equal(fast.state_dict()[name], tensor)
    kinds = {type(module) for module in fast.modules()}
    assert not kinds & {torch.nn.Conv2d, torch.nn.Conv3d}
    assert {type(module) for module in network.modules()} & {torch.nn.Conv2d, torch.nn.Conv3d}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_still_compute(dtype):
    config = PRESETS["denoising"].model_copy(update={"features": 4})
    network = config.build().eval().to(dtype)
    x = torch.randn(1, 1, 4, 8, 8, dtype=dtype)
    with torch.inference_mode():
        assert accelerate(network)(x).dtype == dtype
