"""Names of models, in the order in which they are looked up."""

from __future__ import annotations

from pathlib import Path

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.index import read_index
from gvtzoo.hub.registry import bundled_models, find_model, repository_of, suggestion
from gvtzoo.packages.reader import open_package

BUNDLED = "gvtnet-denoising-nuclei"
PUBLISHED = "gvtnet-label-free-dna"


def test_a_path_comes_before_a_bundled_name(tmp_path, monkeypatch):
    (tmp_path / BUNDLED).mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model(BUNDLED) == Path(BUNDLED)


def test_a_path_comes_before_a_repository(published, tmp_path, monkeypatch):
    (tmp_path / "alice" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_model("alice/tiny") == Path("alice/tiny")
    assert published.requests == []


def test_a_bundled_name_needs_no_network(hub):
    assert find_model(BUNDLED) == bundled_models()[BUNDLED]
    assert hub.requests == []


def test_a_repository_is_downloaded(published):
    assert open_package(find_model("alice/tiny")).config.metadata.id == "tiny-model"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gvtnet-denoising-nuclie", BUNDLED),
        ("denoising-nuclei", BUNDLED),
        ("label-free-dna", PUBLISHED),
        ("planaria", "gvtnet-denoising-planaria"),
    ],
)
def test_a_name_that_is_nearly_right_is_suggested(hub, name, meant):
    with pytest.raises(GvtzooError, match=f"did you mean {meant}"):
        find_model(name)
    assert hub.requests == []


def test_a_model_in_the_models_folder_is_found_by_its_name(hub, models, package):
    (models / "my-model.zip").write_bytes(package.read_bytes())
    assert find_model("my-model") == models / "my-model.zip"
    with pytest.raises(GvtzooError, match="did you mean my-model"):
        find_model("my-modle")
    assert hub.requests == []


def test_a_published_model_that_cannot_be_had_names_the_other_way(hub, models, monkeypatch):
    monkeypatch.setattr("gvtzoo.core.download.WAITS", ())
    with pytest.raises(GvtzooError, match=r"cannot be reached.* --recipe label_free/dna`"):
        find_model(PUBLISHED)
    assert hub.requests == []


def test_a_bundled_model_is_not_replaced(models, package):
    (models / f"{BUNDLED}.zip").write_bytes(package.read_bytes())
    assert find_model(BUNDLED) == bundled_models()[BUNDLED]


@pytest.mark.parametrize("name", ["affable-shark", "10.5281/zenodo.5764892", "x"])
def test_other_names_are_not_taken_for_the_zoos(name):
    assert suggestion(name, read_index()) == ""


def test_a_bundled_model_is_suggested_for_a_missing_repository(hub):
    with pytest.raises(GvtzooError, match=f"no repository.*; did you mean {BUNDLED}"):
        find_model(f"alice/{BUNDLED}")


@pytest.mark.parametrize("name", ["models/none.zip", Path("models/none"), "none/rdf.yaml"])
def test_a_missing_file_is_not_looked_for_on_the_network(hub, name):
    with pytest.raises(GvtzooError, match="does not exist"):
        find_model(name)
    assert hub.requests == []


def test_what_is_no_name_at_all(hub):
    with pytest.raises(GvtzooError, match="gvtzoo list"):
        find_model("no such model")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("alice/tiny", "alice/tiny"),
        ("alice/tiny@1.0.0", "alice/tiny"),
        (BUNDLED, None),
        ("here/model", None),
        ("10.5281/zenodo.1234", None),
        ("https://example.org/model.zip", None),
    ],
)
def test_what_a_repository_is(name, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    assert repository_of(name) == repository
