"""The paper's published models: from a clone of the authors' repository to packages.

Its ``save_dir`` has a folder for each model, such as
``label-free/dna/models/gvtnet_label-free_pretrained``, with a TensorFlow checkpoint in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.index import SAVE_DIR, Entry, read_index

PRETRAINED = "pretrained"


def published_models() -> dict[str, Entry]:
    """The index's published models, by id."""
    return {name: entry for name, entry in read_index().items() if entry.checkpoint is not None}


def published_entry(recipe: str) -> Entry | None:
    """The published model that was trained by a recipe of this name."""
    return next((entry for entry in published_models().values() if entry.recipe == recipe), None)


def import_published(
    entry: Entry, checkpoint: str | Path, output: str | Path, *, overwrite: bool = False
) -> Path:
    """The package of a published model, from its checkpoint.

    Network and normalization are its recipe's; whose weights these are and under which licence is
    the index's to say.

    Parameters
    ----------
    entry : Entry
        Of a published model.
    checkpoint : path
        Its prefix or its folder.
    output : path
        Of the zip.
    overwrite : bool

    Raises
    ------
    GvtzooError
        When the checkpoint cannot be read, or is another network's.
    """
    from gvtzoo.packages.importing import import_checkpoint
    from gvtzoo.recipes.recipe import load_recipe

    recipe = load_recipe(entry.recipe).model_copy(update={"model": entry.metadata})
    return import_checkpoint(checkpoint, recipe=recipe, output=output, overwrite=overwrite)


def find_checkpoints(save_dir: str | Path) -> dict[str, Path | GvtzooError]:
    """The checkpoint of every published model, or what is wrong, by the model's id.

    A checkpoint is a model's when a folder on its way is named like the model's recipe: ``dna``;
    upper case, ``-`` and ``_``, and a ``gvtnet_`` or a task before it make no difference.

    Parameters
    ----------
    save_dir : path
        The authors' ``save_dir``, or a folder above or below it.

    Raises
    ------
    GvtzooError
        When there is no checkpoint at all.
    """
    save_dir = Path(save_dir)
    checkpoints = sorted(path.with_suffix("") for path in save_dir.rglob("*.index"))
    if not checkpoints:
        raise GvtzooError(
            f"there is no TensorFlow checkpoint below {save_dir}: name the {SAVE_DIR} of a clone "
            "of the authors' repository"
        )
    return {
        name: _choose(entry, list(_belonging(entry, checkpoints, save_dir)), save_dir)
        for name, entry in published_models().items()
    }


def _folder(entry: Entry) -> str:
    return "" if entry.checkpoint is None else entry.checkpoint.folder


def _belonging(entry: Entry, checkpoints: list[Path], save_dir: Path) -> Iterator[Path]:
    wanted = _key(entry.recipe.rpartition("/")[2])
    for checkpoint in checkpoints:
        if wanted in map(_key, checkpoint.relative_to(save_dir).parent.parts):
            yield checkpoint


def _key(folder: str) -> str:
    """A folder's name without what may be spelled in several ways."""
    plain = re.sub(r"[^a-z0-9]", "", folder.lower())
    return re.sub(r"^(gvtnet|labelfree|care|denoising|projection)+(?=.)", "", plain)


def _choose(entry: Entry, found: list[Path], save_dir: Path) -> Path | GvtzooError:
    """The only one, or the only one that is named like the published ones."""
    if not found:
        return GvtzooError(f"there is no checkpoint below {save_dir}: expected {_folder(entry)}")
    chosen = [path for path in found if PRETRAINED in path.name] or found
    if len(chosen) > 1:
        names = ", ".join(str(path.relative_to(save_dir)) for path in chosen)
        return GvtzooError(f"there are several checkpoints below {save_dir}: {names}")
    return chosen[0]
