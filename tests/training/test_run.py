import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from gvtzoo import GvtzooError
from gvtzoo.packages.reader import open_package
from gvtzoo.recipes.recipe import Recipe, TrainingConfig
from gvtzoo.training.run import package_run

METRICS = [{"data": "blobs", "condition": "dim", "method": "GVTNet", "SSIM": 0.9}]


@pytest.fixture
def run(tmp_path, tiny_config):
    """A run folder as training leaves it."""
    config = tiny_config()
    recipe = Recipe(
        name="test/tiny",
        task="denoising",
        network=config.network,
        training=TrainingConfig(patch=(16, 16)),
        model=config.metadata,
    )
    torch.manual_seed(1)
    network = config.network.build()
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    save_file(network.state_dict(), folder / "best.safetensors")
    source = np.random.default_rng(0).integers(90, 900, (1, 75, 70), dtype=np.uint16)
    np.savez(folder / "example.npz", source=source, target=source)
    return folder


def test_package_holds_the_run(run, tmp_path):
    (run / "metrics.json").write_text(json.dumps(METRICS))
    pixel_size = {"pixel_size": {"y": 0.2, "x": 0.2}, "unit": "micrometer"}
    (run / "pixel_size.json").write_text(json.dumps(pixel_size))
    package = open_package(package_run(run, tmp_path / "model.zip"))
    config = package.config
    assert config.metadata.id == "tiny-model"
    assert config.recipe is not None
    assert config.recipe["name"] == "test/tiny"
    assert config.metrics[0].values == {"SSIM": 0.9}
    assert config.pixel_size == {"y": 0.2, "x": 0.2}
    assert "| blobs | dim | GVTNet | 0.9 |" in package.read("README.md").decode()
    assert package.rdf["inputs"][0]["axes"][-1]["scale"] == 0.2
    assert package.test_input().shape == (1, 1, 74, 70)
    source = np.load(run / "example.npz")["source"]
    np.testing.assert_array_equal(package.test_input()[0], source[:, :74])


def test_metrics_and_pixel_size_may_be_missing(run, tmp_path):
    config = open_package(package_run(run, tmp_path / "model.zip")).config
    assert config.metrics == ()
    assert config.pixel_size == {}
    assert config.unit is None


def test_existing_packages_stay(run, tmp_path):
    package_run(run, tmp_path / "model.zip")
    with pytest.raises(GvtzooError, match="exists"):
        package_run(run, tmp_path / "model.zip")
    package_run(run, tmp_path / "model.zip", overwrite=True)


@pytest.mark.parametrize("name", ["recipe.yaml", "best.safetensors", "example.npz"])
def test_missing_files_are_named(run, tmp_path, name):
    (run / name).unlink()
    with pytest.raises(GvtzooError, match=name):
        package_run(run, tmp_path / "model.zip")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("best.safetensors", b"\0" * 20, "damaged"),
        ("example.npz", b"PK\x03\x04", "source"),
        ("metrics.json", b"{", "not valid JSON"),
        ("metrics.json", b"{}", "a list"),
        ("metrics.json", b'[{"data": "blobs"}]', "method"),
        ("pixel_size.json", b'{"pixel_size": {"t": 1}}', "pixel_size"),
    ],
)
def test_damaged_files_are_named(run, tmp_path, name, content, words):
    (run / name).write_bytes(content)
    with pytest.raises(GvtzooError, match=words) as caught:
        package_run(run, tmp_path / "model.zip")
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(run, tmp_path):
    save_file({"other": torch.zeros(1)}, run / "best.safetensors")
    with pytest.raises(GvtzooError, match="does not fit") as caught:
        package_run(run, tmp_path / "model.zip")
    assert "\n" not in str(caught.value)
