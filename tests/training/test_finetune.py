"""A packaged model goes on learning from a few pairs, and says whether it helped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_package
import tifffile
from safetensors.torch import load_file
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import default_metadata
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.finetune import finetune, finetuning_recipe
from gvtzoo.training.run import read_run_config

QUICK = ["training.patch=[16, 16]", "training.steps=40", "training.learning_rate=0.01"]


@pytest.fixture
def package(tmp_path) -> Path:
    return small_package.write_folder(tmp_path / "package", small_package.members())


def save_pairs(folder: Path, count: int, size: int = 48) -> Path:
    generator = np.random.default_rng(0)
    for kind in ("source", "target"):
        (folder / kind).mkdir(parents=True)
    y, x = np.mgrid[:size, :size]
    for number in range(count):
        clean = 200 + 100 * np.sin(y / 4 + number) * np.cos(x / 5)
        for kind, image in (("source", generator.poisson(clean)), ("target", clean)):
            image = image.astype(np.uint16)
            tifffile.imwrite(folder / kind / f"{number}.tif", image, imagej=True)
    return folder


def test_one_pair_is_enough(package, tmp_path):
    data = save_pairs(tmp_path / "data", 1)
    result = finetune(package, data, tmp_path / "run", settings=QUICK, device="cpu")
    assert result.helped
    assert result.validation == "the lowest 25% of 1 pairs, not trained on"
    assert result.picture.is_file()


def test_the_new_model_names_its_parent_and_what_it_gained(package, tmp_path):
    data = save_pairs(tmp_path / "data", 4)
    result = finetune(package, data, tmp_path / "run", settings=QUICK, device="cpu")
    assert result.validation == "1 of 4 pairs, not trained on"
    config = read_run_config(result.run)
    assert config.metadata.parent == "small-model"
    assert config.metadata.authors[0].name == "unknown", "not those of the model before"
    assert {file.use for file in config.trained_on.files} == {"train", "val"}
    before, after = config.metrics
    assert (before.chose_weights, after.chose_weights) == (False, True)
    assert before.method == "before (small-model)"
    assert after.values == pytest.approx(result.after)


@pytest.mark.parametrize(
    ("frozen", "moved", "kept"),
    [("encoder", "bottom.", "first_convolution."), ("all-but-last", "output_", "bottom.")],
)
def test_frozen_parts_keep_their_weights(package, tmp_path, frozen, moved, kept):
    settings = [*QUICK, f"training.freeze={frozen}", "training.steps=5"]
    data = save_pairs(tmp_path / "data", 2)
    run = finetune(package, data, tmp_path / "run", settings=settings, device="cpu").run
    old, new = small_package.weights(), load_file(run / "best.safetensors")
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert any(name.startswith(moved) for name in changed)
    assert not any(name.startswith((kept, "encoder.")) for name in changed)


def test_settings_of_the_first_training_are_taken_and_softened():
    original = load_recipe("denoising/nuclei")
    config = small_package.CONFIG.model_copy(
        update={
            "network": original.network,
            "normalization": original.normalization,
            "recipe": original.model_dump(mode="json"),
        }
    )
    recipe = finetuning_recipe(config, ["training.steps=7"])
    assert recipe.training.learning_rate == pytest.approx(original.training.learning_rate / 4)
    assert recipe.training.loss == original.training.loss
    assert recipe.training.steps == 7
    assert recipe.data.noise is None


def test_wrong_settings_are_named():
    with pytest.raises(GvtzooError, match=r"training\.freeze: .*'encoder'"):
        finetuning_recipe(small_package.CONFIG, ["training.freeze=decoder"])


def test_pairs_that_cannot_be_divided_are_refused(package, tmp_path):
    data = save_pairs(tmp_path / "data", 1, size=4)
    with pytest.raises(GvtzooError, match="too few to hold some out"):
        finetune(package, data, tmp_path / "run", settings=QUICK, device="cpu")


def test_the_command_says_when_it_did_not_help(package, tmp_path):
    data = save_pairs(tmp_path / "data", 4)
    command = ["finetune", str(package), "--data", str(data), "-o", str(tmp_path / "run")]
    still = ["--set", "training.learning_rate=1e-30", "--set", "training.patch=[16, 16]"]
    result = CliRunner().invoke(app, [*command, *still, "--set", "training.steps=2"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == str(tmp_path / "run")
    assert "before  r " in result.stdout
    assert "not better than the original" in result.stderr


def test_a_baseline_is_fine_tuned_as_a_whole(tmp_path):
    data = save_pairs(tmp_path / "data", 2)
    network = {"architecture": "care_unet", "dimensions": 2, "depth": 2, "features": 2}
    config = PackageConfig(
        task="denoising",
        network=network,
        normalization=NormalizationConfig(),
        metadata=default_metadata("small", "denoising", "care_unet"),
    )
    package = write_package(
        tmp_path / "model.zip",
        network=config.network.build(),
        config=config,
        example=np.random.default_rng(0).normal(size=(32, 32)),
    )
    run = finetune(package, data, tmp_path / "run", settings=[*QUICK[:1], "training.steps=3"]).run
    assert load_recipe(run / "recipe.yaml").network == config.network
    with pytest.raises(GvtzooError, match="freeze 'encoder' is for GVTNets"):
        finetuning_recipe(config, ["training.freeze=encoder"])
    with pytest.raises(GvtzooError, match="is a care_unet: train a fnet from the beginning"):
        finetuning_recipe(config, ["network=fnet"])
