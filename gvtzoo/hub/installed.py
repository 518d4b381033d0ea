"""Packages that lie on this computer: in the models folder, and in Hugging Face's cache."""

from __future__ import annotations

import os
from pathlib import Path

from gvtzoo.packages.reader import is_package_folder


def models_folder() -> Path:
    """Where models are looked up by name: ``NAME.zip``, or a folder NAME with the package in it.

    ``$GVTZOO_HOME/models``, or else ``models`` in the user's data folder of the system
    (``~/.local/share/gvtzoo`` on Linux).
    """
    home = os.environ.get("GVTZOO_HOME")
    if home:
        return Path(home) / "models"
    from platformdirs import user_data_path

    return user_data_path("gvtzoo", appauthor=False) / "models"


def installed_models() -> dict[str, Path]:
    """Packages in the models folder, by name."""
    folder = models_folder()
    zips = {path.stem: path for path in sorted(folder.glob("*.zip"))}
    folders = {path.name: path for path in sorted(folder.glob("*/")) if is_package_folder(path)}
    return folders | zips


def downloaded_models() -> dict[str, Path]:
    """Packages in Hugging Face's cache, by ``ORG/NAME``, or ``ORG/NAME@revision`` beside main."""
    from huggingface_hub import constants

    found = {}
    for repository in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        name = repository.name.removeprefix("models--").replace("--", "/")
        for snapshot in sorted(repository.glob("snapshots/*")):
            package = snapshot / "package"
            if is_package_folder(package):
                revision = _revision(repository, snapshot.name)
                found[name if revision == "main" else f"{name}@{revision}"] = package
    return found


def _revision(repository: Path, commit: str) -> str:
    """The branch or tag that was asked for, or else the commit."""
    names = {
        path.read_text(encoding="utf-8").strip(): path.relative_to(repository / "refs").as_posix()
        for path in sorted((repository / "refs").rglob("*"), key=lambda path: path.name == "main")
        if path.is_file()
    }
    return names.get(commit, commit)


def size_of(path: Path) -> int:
    """Bytes of a package, a zip or a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
