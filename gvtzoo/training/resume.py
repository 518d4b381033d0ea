"""Continuing a run: by its own recipe, on its own images; what is changed is written down.

``changes.json`` in a run folder lists the settings that were changed on the way, and from which
step on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import sha256_of, write_atomically
from gvtzoo.core.json_files import read_json
from gvtzoo.packages.run_folder import RECIPE, listed_files, run_recipe
from gvtzoo.recipes.recipe import Recipe, load_recipe, to_yaml
from gvtzoo.training.data.images import TrainingImage

log = logging.getLogger("gvtzoo.training.train")

CHANGES = "changes.json"
# What may change on the way. Everything else decides which network learns which patches.
CHANGEABLE = (
    "training.steps",
    "training.learning_rate",
    "training.schedule",
    "training.gradient_clip",
    "training.early_stopping",
    "training.workers",
    "training.tensorboard",
    "description",
    "model",
)


def resumed_recipe(run: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """The recipe of a run, with settings changed on purpose.

    Parameters
    ----------
    run : path
    settings : iterable of str
        ``key.sub=value``.

    Raises
    ------
    GvtzooError
        When there is no run, or a setting is wrong.
    """
    if not _has_begun(run):
        raise GvtzooError(f"{run} holds no training to resume: start without --resume")
    return run_recipe(run, settings)


def begun_recipe(run: Path, *, resume: bool) -> Recipe | None:
    """The recipe of a run that goes on; none of one that begins, or was left before its first step.

    Parameters
    ----------
    run : Path
    resume : bool
        Whether it goes on.
    """
    return run_recipe(run) if resume and _has_begun(run) else None


def _has_begun(run: str | Path) -> bool:
    return (Path(run) / RECIPE).is_file()


def chosen_recipe(
    recipe: str | Path | Recipe | None,
    run: str | Path,
    settings: Iterable[str] = (),
    *,
    resume: bool = False,
) -> Recipe:
    """The recipe to train by: when resuming that of the run, whatever the named one has become.

    Parameters
    ----------
    recipe : str, path or Recipe, optional
        A name or file; a `Recipe` is taken as it is. May be left out when resuming.
    run : path
        The run folder.
    settings : iterable of str
        ``key.sub=value``, changes to a recipe that is named.
    resume : bool
        Whether the run goes on.

    Raises
    ------
    GvtzooError
        When there is no such recipe, or the run was begun by another one.
    """
    settings = list(settings)
    if isinstance(recipe, Recipe):
        return recipe
    if not resume:
        if recipe is None:
            raise GvtzooError("name a recipe: `gvtzoo recipes` lists them")
        return load_recipe(recipe, settings)
    own = resumed_recipe(run, settings)
    if recipe is None:
        return own
    named = load_recipe(recipe)
    if named.name != own.name:
        raise GvtzooError(f"{run} is a training by {own.name}, not by {named.name}: leave it out")
    others = [key for key in differences(own, named) if not _is_set(key, settings)]
    if others:
        log.warning(
            "%s goes on with its own recipe, which differs from %s in %s",
            run,
            recipe,
            ", ".join(others),
        )
    return own


def _is_set(key: str, settings: Sequence[str]) -> bool:
    names = [text.partition("=")[0].strip() for text in settings]
    return any(key == name or key.startswith(f"{name}.") for name in names)


def differences(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """Settings in which two recipes differ, ``key.sub``, with both values.

    Examples
    --------
    >>> from gvtzoo.recipes.recipe import load_recipe
    >>> name = "denoising/nuclei"
    >>> differences(load_recipe(name), load_recipe(name, ["training.steps=9"]))
    {'training.steps': (6000, 9)}
    """
    old, new = (dict(_leaves(recipe.model_dump(mode="json"))) for recipe in (before, after))
    return {
        key: (old.get(key), new.get(key))
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key) != new.get(key)
    }


def continue_run(run: Path, recipe: Recipe, step: int) -> None:
    """Make a recipe that of an interrupted run; what changes is written down with the step.

    Parameters
    ----------
    run : Path
    recipe : Recipe
        The run's own, or one that differs in `CHANGEABLE` settings.
    step : int
        Where the run stopped.

    Raises
    ------
    GvtzooError
        When something else differs.
    """
    changes = differences(run_recipe(run), recipe)
    fixed = [key for key in changes if not _is_changeable(key)]
    if fixed:
        before, after = changes[fixed[0]]
        raise GvtzooError(
            f"{run} was begun with {fixed[0]} {before}, not {after}: a run keeps what decides what "
            "is learned from; leave the setting out, or start a new run"
        )
    if not changes:
        return
    known = _read(run / CHANGES, [])
    for key, (before, after) in changes.items():
        log.info("from step %s on, %s is %s instead of %s", step, key, after, before)
        known.append({"step": step, "setting": key, "before": before, "after": after})
    with write_atomically(run / CHANGES) as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    with write_atomically(run / RECIPE) as temporary:
        temporary.write_text(to_yaml(recipe), encoding="utf-8")


def check_same_images(
    run: Path, training: Sequence[TrainingImage], validation: Sequence[TrainingImage]
) -> None:
    """That a run goes on with the images that it began with, wherever they lie now.

    Parameters
    ----------
    run : Path
    training, validation : sequence of TrainingImage

    Raises
    ------
    GvtzooError
    """
    for use, images in (("train", training), ("val", validation)):
        listed = listed_files(run, use)
        if listed is None:
            continue
        files = dict.fromkeys(path for image in images for path in image.files)
        digests = {sha256_of(path): path for path in files}
        lost = [path for path, digest in listed if digest not in digests]
        new = digests.keys() - {digest for _, digest in listed}
        if lost or new:
            which = f"{lost[0]} is missing" if lost else f"{digests[min(new)]} is new"
            raise GvtzooError(
                f"{run} was begun with other images ({which}, or has changed): resume with the "
                "same ones, or start a new run"
            )


def _is_changeable(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in CHANGEABLE)


def _leaves(values: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _read(path: Path, default: Any) -> Any:
    content = read_json(path) if path.is_file() else default
    if not isinstance(content, type(default)):
        raise GvtzooError(f"{path} has to hold a {type(default).__name__}")
    return content
