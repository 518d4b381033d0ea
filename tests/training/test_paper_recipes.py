"""The paper's sixteen trainings run by one command each, with its full-size networks.

One of each network is trained; of all of them images are read and cut into patches (the lists of
training: data/test_label_free.py). Patches and batches are smaller than the paper's, for the time
that it takes.
"""

from __future__ import annotations

import csv

import numpy as np
import pytest
from paper_data import CARE, PAPER_RECIPES, allen_stand_in, care_stand_in
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.data.patches import PatchDataset, load_images

PARAMETERS = {"label_free": 6_172_225, "denoising": 1_347_328 + 32, "projection": 538_873}


def test_there_are_sixteen():
    assert len(PAPER_RECIPES) == 16


@pytest.mark.parametrize("recipe", PAPER_RECIPES)
def test_the_network_is_the_papers(recipe):
    network = load_recipe(recipe).network.build()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == PARAMETERS[recipe.partition("/")[0]]


@pytest.fixture
def data(tmp_path, recipe):
    stand_in = care_stand_in if recipe in CARE else allen_stand_in
    return stand_in(tmp_path / "data", recipe, 64)


def quick(recipe: str) -> list[str]:
    depth = load_recipe(recipe).training.patch[0]
    return [
        "training.steps=3",
        "training.validate_every=3",
        "training.batch_size=1",
        f"training.patch=[{min(depth, 16) if recipe not in CARE else depth}, 16, 16]",
    ]


@pytest.mark.parametrize("recipe", PAPER_RECIPES)
def test_patches_are_what_the_network_takes(data, recipe):
    settings = load_recipe(recipe, quick(recipe))
    patch = settings.training.patch
    target_axes = settings.network.output_dimensions
    images = load_images(data, "train" if recipe in CARE else "test", settings)
    source, target = PatchDataset(images, settings, 0, 1)[0]
    assert source.shape == (settings.network.input_channels, *patch)
    assert target.shape[0] == settings.network.output_channels
    assert target.shape[-target_axes:] == patch[-target_axes:]
    assert np.isfinite(source).all() and np.isfinite(target).all()
    assert source.std() > 0 and target.std() > 0


@pytest.mark.parametrize("recipe", ["label_free/tom20", "denoising/planaria", "projection/flywing"])
def test_a_few_steps(tmp_path, data, recipe):
    settings = quick(recipe)
    options = [part for setting in settings for part in ("--set", setting)]
    run = tmp_path / "run"
    result = CliRunner().invoke(
        app,
        ["train", recipe, "--data", str(data), "-o", str(run), "--device", "cpu", *options],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    assert result.stdout.strip() == str(run)
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [3]
    assert all(float(row["loss"]) == float(row["loss"]) for row in rows)
    assert (run / "best.safetensors").stat().st_size > 4 * PARAMETERS[recipe.partition("/")[0]]
