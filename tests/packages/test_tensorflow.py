"""Checkpoints of the reference implementation are read whole, and mistakes are named."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks import LABEL_FREE
from gvtzoo.packages.tensorflow import (
    config_from_reference,
    find_checkpoint,
    read_checkpoint,
    to_state_dict,
)


@pytest.fixture
def checkpoint(golden_case, tmp_path):
    """A copy of the denoising case's checkpoint, to be damaged."""
    shutil.copytree(golden_case("denoise").folder, tmp_path / "denoise")
    return tmp_path / "denoise"


def test_checkpoint_is_found_by_prefix_folder_and_index(checkpoint):
    prefix = checkpoint / "model.ckpt-pretrained"
    for path in (prefix, checkpoint, checkpoint / "model.ckpt-pretrained.index"):
        assert find_checkpoint(path) == prefix


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(GvtzooError, match=r"there is no .*nothing\.index"):
        find_checkpoint(tmp_path / "nothing")


def test_all_variables_are_read(golden_case):
    variables = read_checkpoint(golden_case("denoise").folder)
    assert variables["first_convolution/kernel"].shape == (3, 3, 3, 1, 8)
    assert variables["global_step"].shape == ()
    assert any(name.endswith("/Adam_1") for name in variables)
    assert all(np.isfinite(values).all() for values in variables.values())


def test_optimizer_state_is_left_aside(golden_case):
    golden = golden_case("denoise")
    state = to_state_dict(golden.variables, golden.config)
    assert set(state) == set(golden.config.build().state_dict())


def test_damaged_data_is_noticed(checkpoint):
    data = checkpoint / "model.ckpt-pretrained.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[5000] ^= 1
    data.write_bytes(content)
    with pytest.raises(GvtzooError, match=r"variable .* is damaged"):
        read_checkpoint(checkpoint)


def test_truncated_data_is_noticed(checkpoint):
    data = checkpoint / "model.ckpt-pretrained.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(GvtzooError, match="is damaged"):
        read_checkpoint(checkpoint)


def test_missing_data_is_named(checkpoint):
    (checkpoint / "model.ckpt-pretrained.data-00000-of-00001").unlink()
    with pytest.raises(GvtzooError, match="data-00000-of-00001 is missing"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("content", [b"", b"not an index" * 10, bytes(200)])
def test_other_files_are_not_taken_for_an_index(tmp_path, content):
    (tmp_path / "model.index").write_bytes(content)
    with pytest.raises(GvtzooError, match="damaged or not a TensorFlow V2 index"):
        read_checkpoint(tmp_path / "model")


def test_missing_variable_is_named(golden_case):
    golden = golden_case("denoise")
    del golden.variables["first_convolution/kernel"]
    with pytest.raises(GvtzooError, match=r"first_convolution\.convolution\.weight is missing"):
        to_state_dict(golden.variables, golden.config)


def test_variable_of_another_shape_is_named(golden_case):
    golden = golden_case("denoise")
    golden.variables["out_conv/kernel"] = np.zeros((1, 1, 1, 4, 1), np.float32)
    message = r"out_conv/kernel has shape \(1, 4, 1, 1, 1\), the network needs \(1, 8, 1, 1, 1\)"
    with pytest.raises(GvtzooError, match=message):
        to_state_dict(golden.variables, golden.config)


def test_unused_variable_is_named(golden_case):
    golden = golden_case("denoise")
    golden.variables["attention_gate/kernel"] = np.zeros((1, 1, 1, 8, 8), np.float32)
    with pytest.raises(GvtzooError, match="attention_gate/kernel is not used"):
        to_state_dict(golden.variables, golden.config)


def test_checkpoint_of_another_network_is_refused(golden_case):
    with pytest.raises(GvtzooError, match="does not fit the configuration"):
        to_state_dict(golden_case("denoise").variables, LABEL_FREE)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("conf_unet", "skip_method", "multiply"), ("conf_unet", "depth", None)],
)
def test_unknown_settings_of_the_reference_are_named(golden_case, section, key, value):
    settings = golden_case("denoise").settings
    if value is None:
        del settings[section][key]
    else:
        settings[section][key] = value
    with pytest.raises(GvtzooError, match=f"'{value or key}'"):
        config_from_reference(settings)
