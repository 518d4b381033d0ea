"""What the shell completes: models, recipes, axes. Nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path

AXES = ("YX", "ZYX", "CYX", "TYX", "CZYX", "TZYX", "TCZYX")


def complete_model(incomplete: str) -> list[str]:
    """Names of the zoo and of installed models; else packages and folders by their path."""
    from gvtzoo.core.resources import zoo_folder
    from gvtzoo.hub.installed import installed_models

    zoo = [path.parent.name for path in zoo_folder().glob("*/model.yaml")]
    names = [name for name in sorted({*zoo, *installed_models()}) if name.startswith(incomplete)]
    return names or complete_path(incomplete, ".zip")


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes; else YAML files by their path."""
    from gvtzoo.recipes.files import recipe_names

    names = [name for name in recipe_names() if name.startswith(incomplete)]
    return names or complete_path(incomplete, ".yaml", ".yml")


def complete_axes(incomplete: str) -> list[str]:
    """Orders of axes that images mostly have."""
    return [axes for axes in AXES if axes.startswith(incomplete.upper())]


def complete_path(incomplete: str, *suffixes: str) -> list[str]:
    """Files with one of the suffixes, and folders, by the beginning of their path."""
    folder, slash, start = incomplete.rpartition("/")
    place = Path(f"{folder}{slash}" or ".")
    found = sorted(place.iterdir()) if place.is_dir() else []
    return [
        f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if path.name.startswith(start) and (path.is_dir() or path.suffix.lower() in suffixes)
    ]
