"""Where the recipes and models that come with gvtzoo lie: in the wheel, or in the source tree."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def _folder(name: str) -> Path:
    installed = PACKAGE / "_resources" / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def recipes_folder() -> Path:
    """The folder of the recipes, ``<task>/<name>.yaml``."""
    return _folder("recipes")


def zoo_folder() -> Path:
    """The folder of the zoo, one folder per model."""
    return _folder("zoo")
