import numpy as np
import pytest
import torch
from small_networks import DENOISING

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks.baseline_config import network_config
from gvtzoo.networks.config import AttentionConfig, AttentionConfigs, NetworkConfig
from gvtzoo.networks.fixed_attention import (
    Constants,
    fix,
    load_constants,
    measured_radius,
    operators,
    save_constants,
)
from gvtzoo.networks.operators import GVTO, attention_matrix

CONFIGS = {
    "denoising": NetworkConfig(**DENOISING, uncertainty=True),
    "projection": NetworkConfig(**DENOISING, architecture="projection"),
    "every operator": NetworkConfig(
        dimensions=2,
        depth=3,
        features=8,
        encoder_blocks=(1, 0, 0),
        downsampling=("gvto_v1", "gvto_v2"),
        bottom=("gvto", "residual"),
        upsampling=("gvto_v1", "gvto_v2"),
        decoder_blocks=(1, 1),
        attention=AttentionConfigs(
            same=AttentionConfig(heads=2, bias=False, key_ratio=2),
            down=AttentionConfig(value_ratio=2),
            up=AttentionConfig(heads=4),
        ),
    ),
}


def matrices(network, x):
    """V Kᵀ / N of every operator, by looking at its attention at work."""
    found = {}

    def keep(name):
        def hook(module, arguments):
            query, key, value = arguments
            found[name] = attention_matrix(key, value)[0] / query.shape[-1]

        return hook

    hooks = [
        operator.attention.register_forward_pre_hook(keep(name))
        for name, operator in operators(network).items()
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_with_its_own_matrices_a_network_is_the_same(name):
    torch.manual_seed(0)
    config = CONFIGS[name]
    network = config.build().eval()
    for key, tensor in network.state_dict().items():
        if key.endswith("bias"):
            tensor.normal_(0, 0.3)
    fixed = config.model_copy(update={"fixed_attention": True}).build().eval()
    x = torch.randn(1, 1, *(3 * multiple for multiple in config.multiple))
    fix(network, fixed, matrices(network, x))
    with torch.no_grad():
        expected, found = network(x), fixed(x)
    assert float((found - expected).abs().max()) <= 2e-6 * float(expected.max() - expected.min())
    assert not any(isinstance(module, GVTO) for module in fixed.modules())


def test_a_network_with_fixed_attention_looks_at_a_neighbourhood():
    for name, config in CONFIGS.items():
        fixed = config.model_copy(update={"fixed_attention": True})
        assert config.sees_whole_image, name
        assert not fixed.sees_whole_image, name
        radius = measured_radius(fixed)
        assert all(0 < r < 64 * m for r, m in zip(radius[-2:], fixed.multiple[-2:], strict=True))


def test_radius_of_what_is_easily_counted():
    # 3-wide convolutions: two at the image's scale and two behind (1 each), two of twice its scale;
    # the 2-wide ones that change the scale do not look beyond their own window.
    config = network_config({"architecture": "fnet", "dimensions": 2, "depth": 2})
    assert measured_radius(config) == (10, 10)


def test_constants_are_kept_in_a_small_file(tmp_path):
    constants = Constants(
        ("a.tif", "b.tif"),
        100.5,
        20.25,
        (0, 1),
        (1, 1),
        {"bottom.0": torch.rand(2, 3, 4)},
        "abc",
        ({"client": "ilastik", "max_difference": 0.1},),
    )
    path = tmp_path / "attention.safetensors"
    save_constants(constants, path)
    again = load_constants(path)
    np.testing.assert_array_equal(again.matrices["bottom.0"], constants.matrices["bottom.0"])
    assert (again.images, again.offset, again.scale) == (("a.tif", "b.tif"), 100.5, 20.25)
    assert (again.front, again.back) == ((0, 1), (1, 1))
    assert (again.weights, again.losses) == ("abc", constants.losses)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(GvtzooError, match="no attention"):
        load_constants(path)
