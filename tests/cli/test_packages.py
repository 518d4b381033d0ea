"""``gvtzoo import-tf`` with checkpoints of the published models' names, shapes and sizes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from command_line import invoke
from published import write_published

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.index import read_index
from gvtzoo.hub.listing import list_models
from gvtzoo.hub.published import published_models
from gvtzoo.hub.registry import find_model
from gvtzoo.packages.checks import check_package
from gvtzoo.packages.reader import open_package

FLYWING = "gvtnet-projection-flywing"
# A label-free one is imported where it is downloaded (tests/hub/test_fetch.py).
NAMES = ("gvtnet-denoising-planaria", FLYWING)
PARAMETERS = {"denoising": 1_347_328 + 32, "projection": 538_873}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder with a clone of the authors' repository in it, of one model of each network."""
    folder = tmp_path_factory.mktemp("published")
    write_published(folder / "GVTNets" / "save_dir", NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GVTZOO_HOME", str(folder / "home"))
        yield folder


@pytest.fixture(scope="module")
def one_imported(clone):
    """The outcome of the command that the index gives for one model."""
    command = shlex.split(read_index()[FLYWING].manual_commands[1])
    return invoke(*command[1:])


@pytest.fixture(scope="module")
def all_imported(one_imported):
    """The outcome of importing all, where fourteen are missing and one is there already."""
    return invoke("import-tf", "--all", "GVTNets/save_dir")


def test_the_commands_of_the_index_make_what_is_found_by_name(clone, one_imported):
    path = clone / "home" / "models" / f"{FLYWING}.zip"
    assert (one_imported.exit_code, one_imported.stdout) == (0, f"{path}\n")
    assert find_model(FLYWING) == path


def test_import_of_all_skips_and_names_what_is_missing(clone, all_imported):
    models = clone / "home" / "models"
    assert all_imported.exit_code == 1
    assert sorted(all_imported.stdout.split()) == sorted(
        str(models / f"{name}.zip") for name in NAMES if name != FLYWING
    )
    lines = all_imported.stderr.splitlines()
    assert len(lines) == 16
    assert f"gvtzoo: {FLYWING}: {models / FLYWING}.zip exists, skipped (--overwrite)" in lines
    assert lines[-1] == "gvtzoo: 14 of 16 models failed"
    assert sum("there is no checkpoint below GVTNets/save_dir" in line for line in lines) == 14


def test_imported_models_are_listed_as_installed(all_imported):
    where = {model.name: model.where for model in list_models(local=True)}
    assert {where[name] for name in NAMES} == {"installed"}


@pytest.mark.parametrize("name", NAMES)
def test_imported_models_are_the_papers(all_imported, name):
    entry, package = read_index()[name], open_package(find_model(name))
    network = package.build_network()
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[entry.network]
    assert package.config.metadata.license == package.rdf["license"] == "GPL-3.0-only"
    assert package.config.metadata.authors == entry.metadata.authors
    assert package.config.uncertainty == (entry.network == "denoising")
    assert package.config.network.sigma_input == (
        "activated" if entry.network == "denoising" else "features"
    )
    assert package.config.resampled_to is None
    assert "reference implementation" in package.config.metadata.limitations


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_imported_models_pass_all_checks(all_imported, name):
    assert not [result for result in check_package(find_model(name)) if not result.passed]


def test_import_of_all_is_done_when_all_are_there(clone, tmp_path):
    for name in published_models():
        (tmp_path / f"{name}.zip").touch()
    done = invoke("import-tf", "--all", "GVTNets/save_dir", "-o", tmp_path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.count("skipped") == 16


def test_a_damaged_checkpoint_is_named_and_the_others_are_tried(clone, tmp_path):
    save_dir = tmp_path / "save_dir"
    for name in ("dna", "zo1"):
        (save_dir / name).mkdir(parents=True)
        (save_dir / name / "model.ckpt.index").write_bytes(b"no table")
    done = invoke("import-tf", "--all", save_dir, "-o", tmp_path / "out")
    assert done.exit_code == 1
    damaged = [line for line in done.stderr.splitlines() if "is damaged" in line]
    assert [line.split(":")[1].strip() for line in damaged] == [
        "gvtnet-label-free-dna",
        "gvtnet-label-free-zo1",
    ]
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_folder_without_checkpoints_is_one_error(tmp_path):
    done = invoke("import-tf", "--all", tmp_path)
    assert done.exit_code == 1
    assert isinstance(done.exception, GvtzooError)
    assert "no TensorFlow checkpoint" in str(done.exception)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--all", "--recipe", "label_free/dna"],
        ["--recipe", "label_free/dna", "--config", "config.json"],
        ["--recipe", "denoising/nuclei"],
        ["--config", "config.json"],
    ],
)
def test_what_is_to_be_made_has_to_be_clear(options):
    assert invoke("import-tf", Path("checkpoint"), *options).exit_code == 2
