import ast
import sys
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_networks import DENOISING
from torch import nn
from torch.nn import functional

from gvtzoo import GvtzooError
from gvtzoo.networks.any_size import AnySize
from gvtzoo.networks.baseline_config import network_config
from gvtzoo.networks.baselines import FNet
from gvtzoo.networks.config import AttentionConfig, AttentionConfigs, NetworkConfig
from gvtzoo.packages.exports import (
    TORCHSCRIPT_OPERATORS,
    architecture_callable,
    architecture_source,
    save_onnx,
    save_safetensors,
    save_state_dict,
    save_torchscript,
    torchscript_operators,
)

SOFTMAX = AttentionConfig(softmax=True, heads=2)
NETWORKS = {
    "3d": NetworkConfig(**DENOISING, uncertainty=True),
    "projection": NetworkConfig(**DENOISING, architecture="projection"),
    "2d, softmax": NetworkConfig(
        dimensions=2,
        depth=3,
        features=4,
        encoder_blocks=(1, 0, 0),
        downsampling=("gvto_v1", "residual"),
        bottom=("gvto", "residual"),
        upsampling=("gvto_v1", "transposed_convolution"),
        decoder_blocks=(1, 1),
        attention=AttentionConfigs(same=SOFTMAX, down=SOFTMAX, up=SOFTMAX),
        activation="relu",
        input_channels=2,
    ),
    **{
        f"{architecture}, {dimensions}d": network_config(
            {
                "architecture": architecture,
                "dimensions": dimensions,
                "depth": 5 - dimensions,
                "features": 2,
                "input_channels": 1 if architecture == "care_projection" else 2,
            }
        )
        for architecture, dimensions in [
            *product(["fnet", "care_unet", "rsgu_net", "ce_net"], [2, 3]),
            ("care_projection", 3),
        ]
    },
}


def build(name: str):
    """A network with weights that make attention matter, and an example input."""
    torch.manual_seed(0)
    config = NETWORKS[name]
    network = AnySize(config.build()).eval()
    sizes = [max(2, 2 * multiple) + 1 for multiple in config.multiple]
    return network, torch.rand(1, config.input_channels, *sizes)


def images(network, channels: int):
    """Inputs of sizes that no export has seen, on the network's grid and off it."""
    for batch, factor, more in ((1, 1, 0), (2, 3, 1), (1, 2, 3)):
        sizes = [
            factor * multiple + more + (multiple == 1) for multiple in network.network.multiple
        ]
        yield torch.rand(batch, channels, *sizes)


@pytest.mark.parametrize("name", NETWORKS)
def test_torchscript_takes_any_size_and_old_operators_only(name, tmp_path):
    network, example = build(name)
    save_torchscript(network, example, tmp_path / "network.pt")
    loaded = torch.jit.load(tmp_path / "network.pt")
    with torch.no_grad():
        for image in images(network, example.shape[1]):
            torch.testing.assert_close(loaded(image), network(image), rtol=1e-4, atol=1e-5)
    operators = torchscript_operators(loaded)
    assert "aten::_convolution" in operators
    assert operators <= TORCHSCRIPT_OPERATORS
    assert not any("attention" in operator for operator in operators)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_takes_any_size_in_an_old_version(name, tmp_path):
    network, example = build(name)
    save_onnx(network, example, tmp_path / "network.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["network.onnx"]
    model = onnx.load(tmp_path / "network.onnx")
    assert model.ir_version <= 8
    assert [entry.version for entry in model.opset_import] == [17]
    session = onnxruntime.InferenceSession(
        tmp_path / "network.onnx", providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        for image in images(network, example.shape[1]):
            actual = session.run(None, {"input": image.numpy()})[0]
            np.testing.assert_allclose(actual, network(image).numpy(), rtol=1e-4, atol=1e-5)


def test_state_dicts_are_plain_and_complete(tmp_path):
    from safetensors.torch import load_file

    network, _ = build("3d")
    save_state_dict(network, tmp_path / "weights.pt")
    save_safetensors(network, tmp_path / "weights.safetensors")
    expected = network.state_dict()
    assert "sigma_convolution.convolution.weight" in expected
    for stored in (
        torch.load(tmp_path / "weights.pt", weights_only=True),
        load_file(tmp_path / "weights.safetensors"),
    ):
        assert stored.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(stored[key], value, rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_architecture_imports_nothing_but_torch_and_python(name):
    tree = ast.parse(architecture_source(NETWORKS[name].network_class()))
    imported = {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    } | {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    tops = {name.split(".")[0] for name in imported}
    assert "torch" in tops
    assert tops - {"torch"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", NETWORKS)
def test_architecture_builds_the_same_network(name):
    source = architecture_source(NETWORKS[name].network_class())
    assert "SPDX-License-Identifier: BSD-3-Clause" in source
    namespace = {"__name__": "architecture"}
    exec(compile(source, "architecture.py", "exec"), namespace)
    network, example = build(name)
    function = architecture_callable(NETWORKS[name].network_class())
    copy = namespace[function](**NETWORKS[name].arguments()).eval()
    copy.load_state_dict(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(copy(example), network(example), rtol=0, atol=0)


def test_architecture_holds_its_own_network_only():
    own, gvtnets = architecture_source(FNet), architecture_source()
    assert own.startswith("# FNet, ")
    assert not {"GVTNet", "GVTO", "CAREUNet", "CENet"} & set(defined(own))
    assert "AnySize" in defined(own)
    assert not {"FNet", "Baseline"} & set(defined(gvtnets))


def defined(source: str) -> list[str]:
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]


class Odd(nn.Module):
    """A network that an export may get wrong."""

    multiple = (2, 2)


class SizeBound(Odd):
    def forward(self, x):
        return x * (x.shape[-1] if not torch.jit.is_tracing() else 7)


class FusedAttention(Odd):
    def forward(self, x):
        return functional.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize("save", [save_torchscript, save_onnx])
def test_an_export_that_differs_at_another_size_is_refused(save, tmp_path):
    with pytest.raises(GvtzooError, match="differs from the network"):
        save(SizeBound(), torch.rand(1, 1, 4, 4), tmp_path / "network")


def test_torchscript_holds_no_path_of_the_makers_computer(tmp_path):
    save_torchscript(*build("3d"), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        for name in archive.namelist():
            assert str(Path(torch.__file__).parent).encode() not in archive.read(name), name


def test_newer_operators_are_refused(tmp_path):
    with pytest.raises(GvtzooError, match="scaled_dot_product_attention"):
        save_torchscript(FusedAttention(), torch.rand(1, 1, 4, 4), tmp_path / "network.pt")


@pytest.mark.parametrize("training", [True, False])
def test_exports_leave_the_network_in_its_mode(training, tmp_path):
    network, example = build("2d, softmax")
    network.train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    save_torchscript(network, example, tmp_path / "network.pt")
    assert network.training == training
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
