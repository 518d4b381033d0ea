"""The zoo's index: every model in ``zoo/``, from the ``model.yaml`` in its folder.

The file names the model's recipe, and says what a recipe cannot: whose weights these are and under
which licence, where they come from, how many images there were, and what was measured. Task,
network, name, structure and data are the recipe's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.layered_yaml import describe, line_of, merge, read_layered
from gvtzoo.core.resources import zoo_folder
from gvtzoo.core.strict import Strict
from gvtzoo.packages.reader import gvtzoo_config, read_description
from gvtzoo.recipes.files import find_recipe, read_recipe
from gvtzoo.recipes.metadata import MetricRow, ModelMetadata, Task

MODEL_FILE = "model.yaml"
PACKAGE_FILE = "model.zip"
NOT_MEASURED = "not yet measured"
REPOSITORY = "https://github.com/divelab/GVTNets"
SAVE_DIR = "GVTNets/save_dir"  # of a clone

Preset = Literal["label_free", "denoising", "projection"]


class Images(Strict):
    """How many images a model was trained and tested on; None where patches were used.

    Attributes
    ----------
    train, test : int, optional
    """

    train: int | None = Field(None, ge=1)
    test: int | None = Field(None, ge=1)


class IndexFile(Strict):
    """A checkpoint's ``.index``: its size, and the SHA-256 of its content."""

    bytes: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class WeightsFile(Strict):
    """A checkpoint's ``.data-…``: its size, and the id that git gives its content."""

    bytes: int = Field(ge=1)
    git_sha1: str = Field(pattern=r"^[0-9a-f]{40}$")


class CheckpointFiles(Strict):
    """The two files of a published checkpoint."""

    index: IndexFile
    data: WeightsFile


class ModelFile(Strict):
    """What a ``model.yaml`` holds.

    Attributes
    ----------
    recipe : str
        The name of the recipe that the model was trained by.
    images : Images
    metrics : tuple of MetricRow or "not yet measured"
        Left out where the package lies beside the file: it has them.
    checkpoint : str, optional
        Of a published model: its folder in the authors' ``save_dir``.
    commit : str, optional
        Of the authors' repository.
    files : CheckpointFiles, optional
        What is in the checkpoint's folder at that commit.
    steps : int, optional
        That the published weights were trained for.
    model : dict
        Changes to the recipe's own ``model`` section.
    """

    recipe: str
    images: Images = Images()
    metrics: Literal["not yet measured"] | tuple[MetricRow, ...] | None = None
    checkpoint: str | None = Field(None, pattern=r"^[\w-]+(/[\w-]+)*$")
    commit: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    files: CheckpointFiles | None = None
    steps: int | None = Field(None, ge=1)
    model: dict[str, Any] = Field(default_factory=dict)


class RecipeNetwork(Strict, extra="ignore"):
    """What the index says of a recipe's network."""

    preset: Preset
    dimensions: Literal[2, 3] = 3


class RecipeFacts(Strict, extra="ignore"):
    """What the index says of a recipe, beside its ``model`` section."""

    task: Task
    network: RecipeNetwork


@dataclass(frozen=True)
class Checkpoint:
    """A published model's checkpoint in the authors' repository.

    Attributes
    ----------
    folder : str
        In ``save_dir``.
    commit : str
    index : IndexFile
    data : WeightsFile
    steps : int
        Of the training.
    """

    folder: str
    commit: str
    index: IndexFile
    data: WeightsFile
    steps: int

    @property
    def size(self) -> int:
        """Bytes of both files."""
        return self.index.bytes + self.data.bytes


@dataclass(frozen=True)
class Entry:
    """A model of the zoo, whether it is here or not.

    Attributes
    ----------
    metadata : ModelMetadata
    task : {"label_free", "denoising", "projection"}
    recipe : str
        The recipe's name.
    network : {"label_free", "denoising", "projection"}
        The paper's network that the recipe starts from.
    dimensions : {2, 3}
        Of the input image.
    images : Images
    checkpoint : Checkpoint, optional
        Of a published model.
    package : Path, optional
        Of a model that comes with gvtzoo.
    measured : tuple of MetricRow
        What the ``model.yaml`` says was measured; `metrics` has a package's too.
    """

    metadata: ModelMetadata
    task: Task
    recipe: str
    network: Preset
    dimensions: int
    images: Images
    checkpoint: Checkpoint | None
    package: Path | None
    measured: tuple[MetricRow, ...]

    @property
    def id(self) -> str:
        """What ``gvtzoo predict`` calls the model."""
        return self.metadata.id

    @property
    def name(self) -> str:
        """What people call the model."""
        return self.metadata.name

    @property
    def description(self) -> str:
        """One sentence."""
        return self.metadata.description

    @property
    def structure(self) -> str:
        """What the images show."""
        return self.metadata.structure

    @property
    def license(self) -> str:
        """SPDX identifier of the weights' licence."""
        return self.metadata.license

    @property
    def output_dimensions(self) -> int:
        """Of the predicted image."""
        return 2 if self.network == "projection" else self.dimensions

    @cached_property
    def metrics(self) -> tuple[MetricRow, ...]:
        """What was measured; empty when nothing was yet."""
        if self.package is None:
            return self.measured
        config = gvtzoo_config(read_description(self.package))
        return TypeAdapter(tuple[MetricRow, ...]).validate_python(config["metrics"])

    @property
    def commands(self) -> tuple[str, ...]:
        """What to type for a model that does not come with gvtzoo."""
        return () if self.checkpoint is None else (f"gvtzoo download {self.id}",)

    @property
    def manual_commands(self) -> tuple[str, ...]:
        """The same by way of a clone, which may have come from another computer."""
        if self.checkpoint is None:
            return ()
        return (
            f"git clone {REPOSITORY}",
            f"gvtzoo import-tf {SAVE_DIR}/{self.checkpoint.folder} --recipe {self.recipe}",
        )

    @property
    def by_hand(self) -> str:
        """What to do where the network does not help, as the end of a sentence."""
        commands = " && ".join(self.manual_commands)
        return f"the other way, with a clone that any computer may have made: `{commands}`"

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain types (for JSON)."""
        return {
            **self.metadata.model_dump(mode="json"),
            "task": self.task,
            "recipe": self.recipe,
            "network": self.network,
            "dimensions": self.dimensions,
            "output_dimensions": self.output_dimensions,
            "images": self.images.model_dump(),
            "metrics": [row.model_dump() for row in self.metrics] or NOT_MEASURED,
            "steps": None if self.checkpoint is None else self.checkpoint.steps,
            "download": None if self.checkpoint is None else self.checkpoint.size,
            "commands": list(self.commands),
            "manual_commands": list(self.manual_commands),
        }


def read_index(folder: Path | None = None) -> dict[str, Entry]:
    """Every model of the zoo, by its id.

    Parameters
    ----------
    folder : Path, optional
        The zoo; by default the one that comes with gvtzoo.

    Returns
    -------
    dict of str to Entry

    Raises
    ------
    GvtzooError
        When a ``model.yaml`` is wrong: with its path, the line, and what is allowed.
    """
    files = sorted((folder or zoo_folder()).glob(f"*/{MODEL_FILE}"))
    return {path.parent.name: read_entry(path) for path in files}


def read_entry(path: Path) -> Entry:
    """A model of the zoo, from its ``model.yaml``.

    Raises
    ------
    GvtzooError
        When the file is wrong: with its path, the line, and what is allowed.
    """
    zoo = path.parent.parent
    values = read_layered(path, lambda base: zoo / f"{base}.yaml")
    within: tuple[str, ...] = ()
    try:
        file = ModelFile.model_validate(values)
        recipe = _recipe(file.recipe, path)
        facts = RecipeFacts.model_validate(recipe)
        within = ("model",)
        metadata = ModelMetadata.model_validate(merge(recipe.get("model", {}), file.model))
    except ValidationError as error:
        raise GvtzooError(f"{path}: {describe(error, path, within)}") from error
    package = path.with_name(PACKAGE_FILE)
    _check(path, file, metadata, package.exists())
    return Entry(
        metadata=metadata,
        task=facts.task,
        recipe=file.recipe,
        network=facts.network.preset,
        dimensions=facts.network.dimensions,
        images=file.images,
        checkpoint=_checkpoint(file),
        package=package if package.exists() else None,
        measured=file.metrics if isinstance(file.metrics, tuple) else (),
    )


def _checkpoint(file: ModelFile) -> Checkpoint | None:
    if file.checkpoint is None or file.files is None or file.commit is None or file.steps is None:
        return None
    return Checkpoint(file.checkpoint, file.commit, file.files.index, file.files.data, file.steps)


def _recipe(name: str, path: Path) -> dict[str, Any]:
    try:
        return read_recipe(find_recipe(name))
    except GvtzooError as error:
        line = line_of(path, ["recipe"])
        raise GvtzooError(f"{path}: recipe (line {line}): {error}") from error


def _check(path: Path, file: ModelFile, metadata: ModelMetadata, is_bundled: bool) -> None:
    if metadata.id != path.parent.name:
        raise GvtzooError(f"{path}: the model's id is {metadata.id!r}: name the folder like it")
    if not is_bundled and file.checkpoint is None:
        raise GvtzooError(
            f"{path}: there is no {PACKAGE_FILE} beside it, and no published checkpoint in it: "
            f"gvtzoo package RUN -o {path.with_name(PACKAGE_FILE)}"
        )
    if is_bundled and file.checkpoint is not None:
        raise GvtzooError(f"{path}: {PACKAGE_FILE} is beside it: leave the checkpoint out")
    if is_bundled and file.metrics is not None:
        raise GvtzooError(f"{path}: metrics are in the {PACKAGE_FILE} beside it: leave them out")
    if not is_bundled and file.metrics is None:
        raise GvtzooError(f"{path}: metrics are missing: give them, or write `{NOT_MEASURED}`")
    for name in ("commit", "files", "steps"):
        if file.checkpoint is not None and getattr(file, name) is None:
            raise GvtzooError(f"{path}: {name} is missing: a checkpoint needs it")
