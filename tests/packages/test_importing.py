import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gvtzoo import GvtzooError
from gvtzoo.images.normalization import (
    NoNormalization,
    NormalizationConfig,
    PercentileNormalization,
)
from gvtzoo.packages.importing import example_image, import_checkpoint, read_config
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.tensorflow import config_from_reference
from gvtzoo.recipes.metadata import default_metadata
from gvtzoo.recipes.recipe import Recipe, TrainingConfig

GOLDEN = Path(__file__).parent.parent / "golden"


def settings(case: str) -> dict:
    return json.loads((GOLDEN / case / "config.json").read_text())


@pytest.mark.parametrize("case", ["denoise", "label_free", "projection"])
def test_packaged_network_is_the_reference(imported, golden_numbers, case):
    golden = golden_numbers(case)
    network = open_package(imported[case]).build_network()
    image = torch.from_numpy(golden["input"])[None, None]
    with torch.no_grad():
        np.testing.assert_allclose(network(image)[0, 0], golden["output"], atol=1e-5)
        if "sigma" in golden:
            sigma = network.forward_with_sigma(image)[1]
            np.testing.assert_allclose(sigma[0, 0], golden["sigma"], atol=1e-5)


def test_tasks_bring_the_reference_normalization(imported):
    denoise, label_free, projection = (
        open_package(imported[case]).config for case in ("denoise", "label_free", "projection")
    )
    for config in (denoise, projection):
        assert config.normalization.source == PercentileNormalization(low=2, high=99.8)
        assert config.normalization.undo
    assert label_free.normalization.source == NoNormalization()
    assert not label_free.normalization.undo
    assert [config.task for config in (denoise, label_free, projection)] == [
        "denoising",
        "label_free",
        "projection",
    ]


def test_uncertainty_head_comes_with_the_checkpoint(imported):
    assert open_package(imported["denoise"]).config.uncertainty
    assert not open_package(imported["label_free"]).config.uncertainty


def test_licence_of_the_weights_is_the_references(imported):
    package = open_package(imported["denoise"])
    assert package.config.metadata.license == package.rdf["license"] == "GPL-3.0-only"
    readme = package.read("README.md").decode()
    assert "Weights: GPL-3.0-only" in readme
    assert "reference implementation" in readme


def test_recipe_brings_network_normalization_and_description(tmp_path):
    network = config_from_reference(settings("denoise"))
    metadata = default_metadata("import", "denoising")
    recipe = Recipe(
        name="test/import",
        task="denoising",
        network=network,
        normalization=NormalizationConfig(source=PercentileNormalization(low=1, high=99)),
        training=TrainingConfig(patch=(8, 16, 16)),
        model=metadata.model_copy(update={"license": "MIT"}).model_validate(
            metadata.model_dump() | {"license": "MIT"}
        ),
    )
    path = import_checkpoint(GOLDEN / "denoise", recipe=recipe, output=tmp_path / "model.zip")
    config = open_package(path).config
    assert config.normalization.source == PercentileNormalization(low=1, high=99)
    assert config.recipe is not None
    assert config.recipe["name"] == "test/import"
    assert config.metadata.license == "MIT"
    assert config.network == network.model_copy(update={"uncertainty": True})


@pytest.mark.parametrize("case", ["denoise", "label_free"])
def test_example_is_the_same_every_time(imported, case):
    config = open_package(imported[case]).config
    first, second = example_image(config), example_image(config)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (1, 16, 64, 64)
    assert not np.array_equal(first, example_image(config, seed=1))
    assert first.dtype == (np.float32 if case == "label_free" else np.uint16)


def test_needs_one_of_config_and_recipe(tmp_path):
    with pytest.raises(GvtzooError, match="either a config or a recipe"):
        import_checkpoint(GOLDEN / "denoise", output=tmp_path / "model.zip")


def test_checkpoint_of_another_network_is_refused(tmp_path):
    with pytest.raises(GvtzooError, match="does not fit"):
        import_checkpoint(
            GOLDEN / "denoise", config=settings("label_free"), output=tmp_path / "model.zip"
        )
    assert list(tmp_path.iterdir()) == []


def test_settings_that_contradict_themselves_are_refused(tmp_path):
    wrong = settings("denoise")
    wrong["conf_unet"]["encoding_block_sizes"] = [1]
    with pytest.raises(GvtzooError, match="encoder_blocks"):
        import_checkpoint(GOLDEN / "denoise", config=wrong, output=tmp_path / "model.zip")


def test_read_config(tmp_path):
    assert read_config(GOLDEN / "denoise" / "config.json") == settings("denoise")
    with pytest.raises(GvtzooError, match="does not exist"):
        read_config(tmp_path / "config.json")
    for text, words in (("{", "not valid JSON"), ("[]", "JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(GvtzooError, match=words):
            read_config(tmp_path / "config.json")
