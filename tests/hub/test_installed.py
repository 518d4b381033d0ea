"""What lies in the models folder and in Hugging Face's cache."""

from __future__ import annotations

import shutil
import zipfile

from platformdirs import user_data_path

from gvtzoo.hub.huggingface import download
from gvtzoo.hub.installed import downloaded_models, installed_models, models_folder, size_of


def test_the_models_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GVTZOO_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "models"
    assert installed_models() == {}


def test_the_models_folder_is_with_the_users_data(monkeypatch):
    monkeypatch.delenv("GVTZOO_HOME")
    assert models_folder().is_relative_to(user_data_path())
    assert models_folder().name == "models"


def test_packages_are_zips_or_folders(models, package):
    shutil.copy(package, models / "zipped.zip")
    with zipfile.ZipFile(package) as archive:
        archive.extractall(models / "unpacked")
    (models / "other").mkdir()
    (models / "notes.txt").write_text("no model")
    assert installed_models() == {
        "unpacked": models / "unpacked",
        "zipped": models / "zipped.zip",
    }
    assert size_of(models / "zipped.zip") == package.stat().st_size
    assert size_of(models / "unpacked") > package.stat().st_size / 2


def test_downloaded_models_are_named_as_they_are_asked_for(published):
    assert downloaded_models() == {}
    folder = download("alice/tiny@1.0.0")
    assert downloaded_models() == {"alice/tiny@1.0.0": folder}
    assert download("alice/tiny") == folder
    assert downloaded_models() == {"alice/tiny": folder}
