"""The configuration builds every network, and its messages can be understood."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies import configs

from gvtzoo.networks import PRESETS, NetworkConfig


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("preset", "count"),
    [("label_free", 6_172_225), ("denoising", 1_347_328), ("projection", 538_873)],
)
def test_presets_have_the_papers_number_of_parameters(preset, count):
    config = PRESETS[preset]
    assert parameters(config.build()) == count
    with_sigma = config.model_copy(update={"uncertainty": True})
    assert parameters(with_sigma.build()) == count + 32


@given(config=configs(), size=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_every_configuration_gives_an_image_of_the_same_size(config, size):
    x = torch.randn(1, 2, *(multiple * size for multiple in config.multiple))
    network = config.build().eval()
    with torch.no_grad():
        y, sigma = network.forward_with_sigma(x)
        torch.testing.assert_close(network(x), y)
    assert y.shape == sigma.shape == (1, config.output_channels, *x.shape[2:])
    assert (sigma > 0).all()


@given(config=configs())
@settings(max_examples=25, deadline=None)
def test_configurations_survive_json(config):
    assert NetworkConfig.model_validate_json(config.model_dump_json()) == config


def test_projection_gives_a_2d_image():
    config = PRESETS["projection"].model_copy(update={"features": 8})
    network = config.build()
    assert network.multiple == config.multiple == (1, 16, 16)
    assert network(torch.randn(1, 1, 5, 32, 16)).shape == (1, 1, 32, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, r"encoder_blocks has 4 entries .* depth 3 needs 3"),
        ({"bottom": ["attention"]}, "Input should be 'gvto' or 'residual'"),
        ({"add_input": True, "input_channels": 2}, "as many input_channels"),
        ({"features": 30, "attention": {"same": {"heads": 7}}}, "240 features cannot be divided"),
        ({"skip": "concatenate", "decoder_blocks": [0, 1, 1]}, "at least one residual block"),
        ({"output_kernel_size": 2}, "has to be odd"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
        ({"architecture": "projection", "dimensions": 2}, "takes stacks of one channel"),
        (
            {
                "architecture": "projection",
                "depth": 1,
                "encoder_blocks": [0],
                **{key: [] for key in ("downsampling", "upsampling", "decoder_blocks")},
            },
            "depth of at least 2",
        ),
        (
            {"upsampling": ["gvto_v2"] * 3, "attention": {"up": {"key_ratio": 2}}},
            "key_ratio has to be 1, not 2",
        ),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        NetworkConfig(**settings)


def test_sizes_that_cannot_be_halved_are_refused():
    network = PRESETS["label_free"].model_copy(update={"features": 2}).build()
    with pytest.raises(ValueError, match=r"\(8, 8, 12\) have to be multiples of \(8, 8, 8\)"):
        network(torch.zeros(1, 1, 8, 8, 12))


def test_sigma_needs_the_uncertainty_head():
    network = PRESETS["denoising"].model_copy(update={"features": 2}).build()
    with pytest.raises(ValueError, match="uncertainty=True"):
        network.forward_with_sigma(torch.zeros(1, 1, 4, 4, 4))


def test_constants_that_are_written_twice_agree():
    """The projection's file goes into packages alone, and the configuration needs no PyTorch."""
    from gvtzoo.networks import config, projection

    assert config.PROJECTION_FEATURES == projection.PROJECTION_FEATURES
