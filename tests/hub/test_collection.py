"""Models by id or address, through bioimageio.spec, from a server on loopback."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import small_package
import yaml

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.registry import find_model
from gvtzoo.packages.reader import open_package


@pytest.fixture
def collection(server, tmp_path, monkeypatch):
    """The server as bioimage.io, and empty caches."""
    from bioimageio.spec import settings

    files = f"{server.address}/files"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(settings, "cache_path", tmp_path / "bioimageio")
    monkeypatch.setattr(settings, "collection_http_pattern", f"{files}/{{bioimageio_id}}/rdf.yaml")
    monkeypatch.setattr(settings, "id_map", f"{files}/id_map.json")
    monkeypatch.setattr(settings, "resolve_draft", False)
    return server


def test_an_address_is_downloaded_and_kept(collection, package, capfd, caplog, tmp_path):
    collection.served_files["tiny.zip"] = package.read_bytes()
    address = f"{collection.address}/files/tiny.zip"
    path = find_model(address)
    assert open_package(path).config.metadata.id == "tiny-model"
    assert caplog.text == ""
    collection.served_files.clear()
    shutil.rmtree(tmp_path / "bioimageio")  # the cache of bioimageio.spec
    assert find_model(address) == path
    assert f"{address} cannot be had" in caplog.text
    assert "which may be outdated" in caplog.text
    assert open_package(path).config.metadata.id == "tiny-model"
    assert capfd.readouterr().out == ""


def test_an_id_is_looked_up_in_the_collection(collection, publication):
    for name, content in publication.files.items():
        folder, _, file = name.partition("/")
        if folder == "package":
            collection.served_files[f"tiny-shark/{file}"] = content
    assert open_package(find_model("tiny-shark")).config.metadata.id == "tiny-model"


@pytest.mark.parametrize("place", ["documentation", "attachments", "test tensor", "in a zip"])
def test_a_description_from_a_server_names_no_file_of_this_computer(
    collection, publication, package, tmp_path, place
):
    """bioimageio.spec would copy it into the package."""
    secret = tmp_path / "secret.npy"
    np.save(secret, np.ones((1, 1, 16, 16), np.float32))
    (tmp_path / "secret.md").write_text("# Secret")
    content = yaml.safe_load(publication.files["package/rdf.yaml"])
    if place == "documentation":
        content["documentation"] = str(tmp_path / "secret.md")
    elif place == "test tensor":
        content["inputs"][0]["test_tensor"] = {"source": str(secret)}
    else:
        content["attachments"] = [{"source": str(secret)}]
    files = {
        file: data
        for name, data in publication.files.items()
        if (file := name.removeprefix("package/")) != name
    }
    files["rdf.yaml"] = yaml.safe_dump(content).encode()
    files.pop("bioimageio.yaml")
    if place == "in a zip":
        collection.served_files["tiny-shark.zip"] = small_package.zipped(files)
        address = f"{collection.address}/files/tiny-shark.zip"
    else:
        collection.served_files |= {f"tiny-shark/{name}": data for name, data in files.items()}
        address = "tiny-shark"
    with pytest.raises(GvtzooError, match=r"secret\..* a file of your computer"):
        find_model(address)
    assert not list(tmp_path.glob("cache/gvtzoo/**/*.zip"))


@pytest.mark.parametrize("name", ["affable-shark", "10.5281/zenodo.1"])
def test_an_id_that_is_not_there_ends_in_one_line(collection, name):
    with pytest.raises(GvtzooError, match=f"{name} cannot be had") as caught:
        find_model(name)
    assert "\n" not in str(caught.value)
    assert collection.requests


def test_an_address_without_a_model(collection):
    collection.served_files["page.html"] = b"<html></html>"
    with pytest.raises(GvtzooError, match="cannot be had"):
        find_model(f"{collection.address}/files/page.html")


def test_a_file_that_is_not_the_descriptions_is_refused(collection, publication, tmp_path):
    for name, content in publication.files.items():
        folder, _, file = name.partition("/")
        if folder == "package":
            collection.served_files[f"tiny-shark/{file}"] = content
    weights = collection.served_files["tiny-shark/weights.safetensors"]
    collection.served_files["tiny-shark/weights.safetensors"] = weights[:-1] + b"?"
    with pytest.raises(GvtzooError, match=r"tiny-shark cannot be had.*(?i:sha)") as caught:
        find_model("tiny-shark")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("cache/gvtzoo/**/*.zip"))


@pytest.mark.parametrize("name", ["affable-shark", "http://127.0.0.1:9/model.zip"])
def test_without_network_there_is_one_line(collection, monkeypatch, name, capfd):
    from bioimageio.spec import settings

    nowhere = "http://127.0.0.1:9"  # where nothing listens
    monkeypatch.setattr(settings, "collection_http_pattern", f"{nowhere}/{{bioimageio_id}}")
    monkeypatch.setattr(settings, "id_map", f"{nowhere}/id_map.json")
    with pytest.raises(GvtzooError, match="check the name and the network") as caught:
        find_model(name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
