"""The bare networks agree with the reference implementation, on every golden case."""

from __future__ import annotations

import numpy as np
import pytest
import torch

CASES = [
    "denoise",
    "label_free",
    "projection",
    "variant_2d_down_v1_up_v1_softmax",
    "variant_2d_down_v2_up_v2_linear_heads2",
    "variant_3d_down_v1_up_v1_key_ratio2",
]
TOLERANCE = 1e-5


@pytest.mark.parametrize("case", CASES)
def test_output_agrees_with_reference(golden_case, case):
    golden = golden_case(case)
    network = golden.network()
    x = torch.from_numpy(golden.golden["input"])[None, None]
    with torch.no_grad():
        y = network(x)[0, 0].numpy()
    assert np.abs(y - golden.golden["output"]).max() < TOLERANCE


def test_sigma_agrees_with_reference(golden_case):
    golden = golden_case("denoise")
    x = torch.from_numpy(golden.golden["input"])[None, None]
    with torch.no_grad():
        y, sigma = golden.network().forward_with_sigma(x)
    assert np.abs(y[0, 0].numpy() - golden.golden["output"]).max() < TOLERANCE
    assert np.abs(sigma[0, 0].numpy() - golden.golden["sigma"]).max() < TOLERANCE


def test_projected_image_agrees_with_reference(golden_case):
    golden = golden_case("projection")
    x = torch.from_numpy(golden.golden["input"])[None, None]
    with torch.no_grad():
        projected = golden.network().projection(x)[0, 0].numpy()
    assert np.abs(projected - golden.golden["projected"]).max() < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_attention_matters_in_these_numbers(golden_case, case):
    """Without what the operators attend to, the outputs are others: the cases can fail."""
    golden = golden_case(case)
    network = golden.network()
    for module in network.modules():
        if hasattr(module, "attention"):
            module.output.convolution.weight.data.zero_()
    x = torch.from_numpy(golden.golden["input"])[None, None]
    with torch.no_grad():
        y = network(x)[0, 0].numpy()
    assert np.abs(y - golden.golden["output"]).max() > 100 * TOLERANCE
