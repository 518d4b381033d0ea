"""Who a model is: what its makers say of it, and nothing that was said of another one.

A run folder holds the recipe that it was trained by, and most recipes describe a model of the zoo:
its name, its authors, the data that it was trained on. None of that holds for whatever somebody
else trains by the recipe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.layered_yaml import describe
from gvtzoo.recipes.files import find_recipe, read_recipe, recipe_names
from gvtzoo.recipes.metadata import (
    Author,
    DataSource,
    Maintainer,
    ModelMetadata,
    default_metadata,
)
from gvtzoo.recipes.recipe import Recipe

# What is dropped together, when the first of them is said of a model of the zoo too.
GROUPS = (
    ("id",),
    ("name",),
    ("description",),
    ("authors", "license"),
    ("data", "structure", "tags", "intended_use", "limitations", "cite"),
)
# What is true of a fine-tuned model as of the one before it.
KEPT_AFTER = ("description", "license", "cite", "tags", "structure", "parent", "base_model",
              "intended_use", "limitations")  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """What is said of a model when it is packaged; None or nothing where that is left open.

    Attributes
    ----------
    id, name, version, description, license, git_repo : str, optional
        As of `gvtzoo.recipes.metadata.ModelMetadata`.
    authors : tuple of Author
    maintainers : tuple of Maintainer
    data : tuple of DataSource
        Besides those that the run's recipe names.
    recipe_data : bool
        Whether the images were those that the recipe of a zoo's model names: then what the recipe
        says of them holds.
    """

    id: str | None = None
    name: str | None = None
    version: str | None = None
    description: str | None = None
    license: str | None = None
    git_repo: str | None = None
    authors: tuple[Author, ...] = ()
    maintainers: tuple[Maintainer, ...] = ()
    data: tuple[DataSource, ...] = ()
    recipe_data: bool = False


def own_metadata(recipe: Recipe, name: str, given: Identity | None = None) -> ModelMetadata:
    """The description of what was trained by a recipe.

    Parameters
    ----------
    recipe : Recipe
        Of the run. What its ``model`` says is taken, save for what a recipe that comes with gvtzoo
        says of a model of the zoo, and what a fine-tuned model has from the one before it.
    name : str
        Of a file or folder, from which an id and a name are made where none are given.
    given : Identity, optional

    Raises
    ------
    GvtzooError
        When what is given is not valid, or is the id of a model of the zoo.
    """
    given = given or Identity()
    default = default_metadata(name, recipe.task, recipe.network.architecture)
    values: dict[str, Any] = {
        **default.model_dump(),
        "id": slug(name),
        "description": f"{default.description.rstrip('.')}, trained by {recipe.name}.",
        **_said_by(recipe, given.recipe_data),
    }
    said = {
        key: getattr(given, key)
        for key in ("id", "name", "version", "description", "license", "git_repo")
        if getattr(given, key) is not None
    }
    values |= said
    values["authors"] = given.authors or values["authors"]
    values["maintainers"] = given.maintainers or values.get("maintainers", ())
    values["data"] = (*values.get("data", ()), *given.data)
    if given.id in zoo_ids():
        raise GvtzooError(f"{given.id} is a model of the zoo: give yours another --id")
    try:
        return ModelMetadata.model_validate(values)
    except ValidationError as error:
        raise GvtzooError(f"the model's description: {describe(error)}") from error


def slug(name: str) -> str:
    """A name as an id: lower case letters, digits and hyphens; never that of a model of the zoo."""
    text = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "model"
    return f"my-{text}" if text in zoo_ids() else text


@cache
def zoo_ids() -> frozenset[str]:
    """Ids of the models that recipes of gvtzoo describe."""
    return frozenset(model["id"] for model in _zoo_models())


@cache
def _zoo_models() -> tuple[dict[str, Any], ...]:
    """The ``model`` sections of the recipes that come with gvtzoo."""
    found = (read_recipe(find_recipe(name)).get("model") for name in recipe_names())
    return tuple(
        ModelMetadata.model_validate(model).model_dump() for model in found if model is not None
    )


def _said_by(recipe: Recipe, with_data: bool) -> dict[str, Any]:
    """What a recipe says of the very model that is trained by it."""
    if recipe.model is None:
        return {}
    values = recipe.model.model_dump()
    if recipe.model.parent is not None:
        return _after(values)
    for group in GROUPS:
        first = group[0]
        if with_data and first == "data":
            continue
        if any(values[first] == model[first] for model in _zoo_models()):
            for key in group:
                values.pop(key)
    return values


def _after(values: dict[str, Any]) -> dict[str, Any]:
    """What holds of a fine-tuned model: its name and authors are not those of the one before it.

    The licence goes on, and so do what the images show and what is to be cited; the data are those
    of the model before it.
    """
    kept = {key: values[key] for key in KEPT_AFTER}
    return {**kept, "parent_data": (*values["parent_data"], *values["data"])}
