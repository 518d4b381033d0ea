"""The zoo's index: what it says of every model, and that wrong files are named with their line."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.resources import recipes_folder
from gvtzoo.hub.index import read_entry, read_index
from gvtzoo.hub.registry import bundled_models
from gvtzoo.networks.config import PRESETS
from gvtzoo.packages.reader import open_package
from gvtzoo.recipes.recipe import load_recipe

INDEX = read_index()
PUBLISHED = [name for name, entry in INDEX.items() if entry.checkpoint]
BUNDLED = [name for name, entry in INDEX.items() if entry.package]


def test_the_sixteen_published_models_are_there():
    tasks = [INDEX[name].task for name in PUBLISHED]
    assert {task: tasks.count(task) for task in set(tasks)} == {
        "label_free": 13,
        "denoising": 2,
        "projection": 1,
    }
    assert len({INDEX[name].checkpoint for name in PUBLISHED}) == 16


def test_every_bundled_model_is_there():
    assert set(BUNDLED) == set(bundled_models())


@pytest.mark.parametrize("name", INDEX)
def test_entry_agrees_with_its_recipe(name):
    entry = INDEX[name]
    recipe = load_recipe(entry.recipe)
    assert recipe.model is not None
    assert (entry.id, entry.task, entry.dimensions, entry.output_dimensions) == (
        recipe.model.id,
        recipe.task,
        recipe.network.dimensions,
        recipe.network.output_dimensions,
    )
    assert entry.structure
    assert entry.metadata.data


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_the_papers(name):
    entry = INDEX[name]
    plain = {"uncertainty": False, "sigma_input": "features"}
    network = load_recipe(entry.recipe).network
    assert network.model_copy(update=plain) == PRESETS[entry.network].model_copy(update=plain)
    assert entry.license == "GPL-3.0-only"
    assert entry.metadata.authors[0].name == "Zhengyang Wang"
    assert entry.metrics == ()
    assert entry.as_dict()["metrics"] == "not yet measured"
    assert entry.commands == (f"gvtzoo download {name}",)
    clone, command = entry.manual_commands
    assert clone.startswith("git clone https://")
    assert command == (
        f"gvtzoo import-tf GVTNets/save_dir/{entry.checkpoint.folder} --recipe {entry.recipe}"
    )


FIFTY_EPOCHS = {"planaria": 53_141, "tribolium": 46_016, "flywing": 52_785}


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipes_follow_the_published_trainings(name):
    entry = INDEX[name]
    recipe = load_recipe(entry.recipe)
    training, structure = recipe.training, entry.recipe.rpartition("/")[2]
    assert entry.checkpoint is not None
    if entry.task == "label_free":
        assert training.steps == entry.checkpoint.steps in range(70_000, 100_001, 5_000)
        assert training.betas == (0.5, 0.999)
        assert training.schedule.kind == "constant"
        assert recipe.normalization.before_resampling
        return
    assert training.steps == FIFTY_EPOCHS[structure]
    assert training.betas == (0.9, 0.999)
    schedule = (training.schedule.factor, training.schedule.every)
    assert schedule == ((0.5, 20_000) if structure == "flywing" else (0.7, 10_000))
    form = "activated" if entry.task == "denoising" else "features"
    assert recipe.network.sigma_input == form


@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_of_images_are_those_of_the_lists(name):
    entry = INDEX[name]
    if entry.task != "label_free":
        structure = entry.recipe.rpartition("/")[2]
        assert entry.images.test == {"planaria": 20, "tribolium": 6, "flywing": 26}[structure]
        return
    files = load_recipe(entry.recipe).data.files
    assert files is not None
    counts = {}
    for split, file in files.items():
        with (recipes_folder() / file).open(newline="") as rows:
            counts[split] = len(list(csv.DictReader(rows)))
    assert counts == {"train": entry.images.train, "test": entry.images.test}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_say_what_their_packages_say(name):
    entry, config = INDEX[name], open_package(bundled_models()[name]).config
    assert entry.metadata == config.metadata
    assert (entry.task, entry.dimensions) == (config.task, config.network.dimensions)
    assert entry.metrics == config.metrics != ()
    assert entry.commands == ()


def test_reading_the_index_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from gvtzoo.hub.index import read_index\n"
        "assert len(read_index()) > 16\n"
        "heavy = {'torch', 'bioimageio', 'lightning', 'skimage', 'xarray', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


GOOD = f"""\
recipe: label_free/dna
metrics: not yet measured
checkpoint: label-free/dna
commit: {"a" * 40}
steps: 85000
files: {{index: {{bytes: 3, sha256: {"b" * 64}}}, data: {{bytes: 5, git_sha1: {"c" * 40}}}}}
"""


def written(folder: Path, text: str, name: str = "gvtnet-label-free-dna") -> Path:
    path = folder / name / "model.yaml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_a_model_may_have_measured_metrics(tmp_path):
    row = "{data: test images, method: GVTNet, r: 0.9}"
    text = GOOD.replace("not yet measured", f"[{row}]")
    entry = read_entry(written(tmp_path, text))
    assert [row.values for row in entry.metrics] == [{"r": 0.9}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{GOOD}colour: red\n", r"colour \(line 7\): is not a known setting"),
        (GOOD.replace("not yet", "not"), r"metrics.* \(line 2\)"),
        (GOOD.replace("label-free/dna", "../dna"), r"checkpoint \(line 3\).*not '../dna'"),
        (f"{GOOD}images:\n  train: 0\n", r"images.train \(line 8\).*not 0"),
        (f"{GOOD}model:\n  license: MIT\n  id: A B\n", r"model.id \(line 9\).*not 'A B'"),
        (f"{GOOD}model:\n  id: other\n", "the model's id is 'other'"),
        (GOOD.replace("label_free/dna", "label_free/none"), r"recipe \(line 1\): no recipe"),
        (GOOD.replace("metrics: not yet measured\n", ""), "metrics are missing"),
        (GOOD.replace("steps: 85000\n", ""), "steps is missing"),
        (GOOD.replace("checkpoint: label-free/dna\n", ""), "no model.zip beside it"),
        ("recipe: label_free/dna\n", "no model.zip beside it.*gvtzoo package RUN -o"),
        ("- recipe\n", "has no settings"),
        ("recipe: [\n", "not valid YAML"),
        (f"extends: _common\n{GOOD}", "extends '_common', but there is no"),
    ],
)
def test_wrong_files_are_named_with_the_line(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(GvtzooError, match=message) as caught:
        read_index(tmp_path)
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)


def test_a_package_needs_no_checkpoint(tmp_path):
    path = written(tmp_path, GOOD)
    path.with_name("model.zip").touch()
    with pytest.raises(GvtzooError, match="is beside it: leave the checkpoint out"):
        read_index(tmp_path)


def test_what_is_common_stands_once(tmp_path):
    (tmp_path / "_common.yaml").write_text("model: {license: MIT}\nimages: {train: 3, test: 5}\n")
    text = f"extends: _common\n{GOOD}images: {{test: 7}}\n"
    entry = read_entry(written(tmp_path, text))
    assert (entry.license, entry.images.train, entry.images.test) == ("MIT", 3, 7)
