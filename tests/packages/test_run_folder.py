"""Run folders of strangers: read as models, without reading anything outside."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import invoke
from small_run import write_run

import gvtzoo
from gvtzoo.core.errors import GvtzooError


@pytest.fixture
def run(tmp_path):
    folder = write_run(tmp_path / "run")
    source = np.random.default_rng(0).integers(90, 900, (1, 64, 64), dtype=np.uint16)
    np.savez(folder / "example.npz", source=source, target=source)
    for place in ("data/source", "data/target"):
        (tmp_path / place).mkdir(parents=True)
        np.save(tmp_path / place / "a.npy", source[0])
    return folder


def commands(run):
    """Everything that reads a run folder of somebody else."""
    data, output = run.parent / "data", run.parent / "out"
    image = data / "source" / "a.npy"
    return [
        ["info", run],
        ["predict", run, image, "--axes", "YX", "-o", output / "p.tif"],
        ["preview", run, image, "-o", output / "p.png"],
        ["package", run, "-o", output / "p.zip"],
        ["finetune", run, "--noisy", image, "-o", output / "tuned"],
        ["evaluate", run, "--data", data, "-o", output / "report"],
        ["train", "--resume", "-o", run, "--data", data],
    ]


NAMES = ["info", "predict", "preview", "package", "finetune", "evaluate", "train"]


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_no_command_reads_what_a_runs_recipe_extends(run, number):
    (run.parent / "private.yaml").write_text("password: hunter2\n")
    (run / "recipe.yaml").write_text(f"extends: ../private\n{(run / 'recipe.yaml').read_text()}")
    result = invoke(*commands(run)[number])
    assert result.exit_code == 1
    assert "recipe.yaml extends '../private'" in str(result.exception)
    assert "password" not in str(result.exception)
    assert not (run.parent / "out").exists() or not any((run.parent / "out").iterdir())


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_no_command_follows_a_link_out_of_a_run(run, number):
    outside = run.parent / "outside.safetensors"
    (run / "best.safetensors").rename(outside)
    (run / "best.safetensors").symlink_to(outside)
    before = outside.read_bytes()
    result = invoke(*commands(run)[number])
    assert result.exit_code == 1
    assert "best.safetensors is a link that leads out" in str(result.exception)
    assert outside.read_bytes() == before


def test_nothing_is_written_through_a_link(run):
    outside = run.parent / "outside"
    outside.mkdir()
    (run / "validation").symlink_to(outside)
    result = invoke("train", "--resume", "-o", run, "--data", run.parent / "data")
    assert "validation is a link that leads out" in str(result.exception)
    assert not any(outside.iterdir())


def test_a_fine_tuning_that_goes_on_moves_nothing_through_a_link(run):
    outside = run.parent / "outside"
    outside.mkdir()
    (run / "attempt_1.partial").symlink_to(outside)
    data = run.parent / "data"
    model = "gvtnet-denoising-exposures"
    result = invoke("finetune", model, "--data", data, "-o", run, "--resume")
    assert "attempt_1.partial is a link that leads out" in str(result.exception)
    assert not any(outside.iterdir())


def test_a_run_of_ones_own_is_a_model_wherever_it_lies(run):
    (run.parent / "latest").symlink_to(run)
    assert gvtzoo.load(run.parent / "latest").config.task == "denoising"


def test_a_recipe_that_is_damaged_is_told_with_its_line(run):
    (run / "recipe.yaml").write_text("name: x\ntask: cooking\n")
    with pytest.raises(GvtzooError, match=r"recipe\.yaml: "):
        gvtzoo.load(run)
