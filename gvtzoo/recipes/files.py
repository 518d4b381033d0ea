"""Recipes as files: found by name, and read with what they extend; not yet checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.layered_yaml import read_layered
from gvtzoo.core.resources import recipes_folder
from gvtzoo.core.suggest import nearest
from gvtzoo.recipes.layers import layer


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe, from its name or path.

    Raises
    ------
    GvtzooError
        When there is none, with the names that are like it.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    bundled = recipes_folder() / f"{name}.yaml"
    if bundled.is_file():
        return bundled
    known = recipe_names()
    near = nearest(str(name), known)
    if near:
        raise GvtzooError(f"no recipe {str(name)!r}: did you mean {near}?")
    alike = [other for other in known if other.startswith(f"{str(name).partition('/')[0]}/")]
    raise GvtzooError(
        f"no recipe {str(name)!r}: give a YAML file or one of {', '.join(alike or known)}"
    )


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = recipes_folder()
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*.yaml")
        if not path.name.startswith("_")
    )


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe's settings, with those that it extends."""
    return read_layered(path, find_recipe, layer)
