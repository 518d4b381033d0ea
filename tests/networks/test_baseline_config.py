"""Configurations of the baselines: each has its own settings, and builds its network."""

from __future__ import annotations

import pytest
import torch
from pydantic import BaseModel, ValidationError

from gvtzoo.networks import LABEL_FREE, NetworkConfig
from gvtzoo.networks.baseline_config import BASELINES, AnyNetworkConfig, network_config


class Holder(BaseModel):
    network: AnyNetworkConfig


@pytest.mark.parametrize("architecture", BASELINES)
def test_a_bare_name_is_an_architecture_with_its_settings(architecture):
    config = Holder(network=architecture).network
    assert type(config) is BASELINES[architecture]
    assert Holder.model_validate_json(Holder(network=config).model_dump_json()).network == config


@pytest.mark.parametrize("architecture", BASELINES)
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_networks_are_what_their_configuration_says(architecture, depth):
    settings = {"architecture": architecture, "depth": depth, "features": 2, "uncertainty": True}
    config = network_config(settings)
    with torch.device("meta"):
        network = config.build().eval()
    assert type(network) is config.network_class()
    assert network.multiple == config.multiple
    x = torch.zeros(1, 1, *(max(2, multiple) for multiple in config.multiple), device="meta")
    y, sigma = network.forward_with_sigma(x)
    assert y.shape == sigma.shape == (1, 1, *x.shape[-config.output_dimensions :])


def test_settings_without_an_architecture_are_a_gvtnets():
    assert Holder(network={}).network == LABEL_FREE
    assert isinstance(Holder(network="projection").network, NetworkConfig)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "fnet", "bottom": ["gvto"]}, "bottom is not a setting of fnet"),
        ({"architecture": "care_unet", "range_scaling": True}, "not a setting of care_unet"),
        ({"architecture": "fnet", "features": 2048}, "give 32768 features"),
        ({"architecture": "ce_net", "depth": 5}, "less than or equal to 4"),
        ({"architecture": "care_projection", "dimensions": 2}, "stacks of one channel"),
        ({"architecture": "care_projection", "input_channels": 2}, "stacks of one channel"),
        (
            {"architecture": "rsgu_net", "range_scaling": True, "input_channels": 3},
            r"as many input_channels \(3\)",
        ),
        ({"architecture": "unet"}, "no architecture 'unet': choose one of gvtnet"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValidationError, match=message):
        Holder(network=settings)
