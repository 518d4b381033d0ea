"""Which models are listed, from where, and which filters keep them."""

from __future__ import annotations

import json
import shutil

import pytest

from gvtzoo.hub.huggingface import download
from gvtzoo.hub.index import read_index
from gvtzoo.hub.listing import list_models
from gvtzoo.hub.registry import find_model

BUNDLED = "gvtnet-denoising-nuclei"
EXPOSURES = "gvtnet-denoising-exposures"
PUBLISHED = "gvtnet-label-free-dna"


def listed(**filters):
    return {model.name: model for model in list_models(**filters)}


def test_the_zoo_is_listed_without_anything_installed(models, cache):
    found = listed()
    assert set(found) == set(read_index())
    assert (found[BUNDLED].where, found[PUBLISHED].where) == ("bundled", "to download")
    assert found[BUNDLED].size > 1_000_000
    assert found[PUBLISHED].size == 74_078_492 + 9_285


def test_what_is_ready_comes_first(models, cache, package):
    shutil.copy(package, models / "mine.zip")
    order = [model.path is not None for model in list_models()]
    assert order == sorted(order, reverse=True)
    assert order.count(False) == 16


def test_an_installed_model_of_the_zoo_is_found_by_its_name(models, cache, package):
    shutil.copy(package, models / f"{PUBLISHED}.zip")
    model = listed()[PUBLISHED]
    assert (model.where, model.license) == ("installed", "GPL-3.0-only")
    assert model.path == find_model(PUBLISHED) == models / f"{PUBLISHED}.zip"
    assert model.size == package.stat().st_size


def test_other_models_are_listed_by_what_their_packages_say(models, published, package):
    shutil.copy(package, models / "mine.zip")
    download("alice/tiny")
    found = listed()
    for name, where in (("mine", "installed"), ("alice/tiny", "downloaded")):
        model = found[name]
        assert (model.where, model.task, model.structure, model.dimensions, model.license) == (
            where,
            "denoising",
            "bright blobs",
            2,
            "MIT",
        )
        assert find_model(name) == model.path
        content = model.as_dict()
        assert content["title"] == "Tiny model"
        assert content["metrics"][0]["SSIM"] == 0.91
        json.dumps(content)


def test_what_cannot_be_read_does_not_stop_the_list(models, cache):
    (models / "broken.zip").write_bytes(b"PK")
    (models / "foreign").mkdir()
    (models / "foreign" / "rdf.yaml").write_text('name: Foreign\nlicense: "MIT\\u009b31m"\n')
    (models / "newer").mkdir()
    (models / "newer" / "rdf.yaml").write_text("config: {gvtzoo: {task: segmentation}}\n")
    found = listed()
    assert (found["broken"].where, found["newer"].where) == ("unreadable", "unreadable")
    assert (found["foreign"].where, found["foreign"].license) == ("installed", "MIT 31m")
    for name in ("broken", "foreign", "newer"):
        assert found[name].as_dict()["name"] == name


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"task": "projection"}, {"gvtnet-projection-flywing", "gvtnet-projection-notum"}),
        ({"task": "label_free", "structure": "Golgi"}, {"gvtnet-label-free-st6gal1"}),
        ({"structure": "PLANARIA"}, {"gvtnet-denoising-planaria"}),
        ({"dimensions": 2, "task": "label_free"}, {"gvtnet-label-free-phase-to-dapi"}),
        ({"dimensions": 2, "task": "denoising"}, {EXPOSURES, "mine"}),
        ({"local": True, "task": "denoising"}, {BUNDLED, EXPOSURES, "gvtnet-denoising-3d", "mine"}),
        ({"structure": "teeth"}, set()),
    ],
)
def test_filters(models, cache, package, filters, names):
    shutil.copy(package, models / "mine.zip")
    assert set(listed(**filters)) == names
