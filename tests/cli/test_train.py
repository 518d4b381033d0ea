"""``gvtzoo train`` on the command line, and what its run folder is good for."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.demo import demo_images
from gvtzoo.images.files import write_image

SHORT = [
    *("--set", "training.steps=2", "--set", "training.validate_every=2"),
    *("--set", "training.patch=[8, 32, 32]", "--set", "data.regions=null"),
    *("--set", "data.noise.photons=[10]", "--set", "training.batch_size=1"),
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    _, truth = demo_images()
    write_image(tmp_path / "clean_stacks" / "clean.tif", truth[:8, :64, :64].astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, f"{done.stderr}{done.exception}"
    return done.stdout


def test_clean_stacks_become_a_package(here):
    out = run("train", "denoising/nuclei", "--data", "clean_stacks", "-o", "run", *SHORT)
    assert out.strip() == "run"
    run("package", "run", "-o", "my_model.zip")


def test_recipes_and_data_sets_are_listed():
    assert "label_free/tom20" in run("recipes")
    assert "architecture" in run("recipes", "label_free/tom20")
    assert "tom20" in run("data", "list")
