"""What ``gvtzoo list`` lists: the zoo's models, and what else is installed or downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from gvtzoo.core.errors import GvtzooError, one_line
from gvtzoo.core.strict import Strict
from gvtzoo.hub.client import has_client
from gvtzoo.hub.index import NOT_MEASURED, Entry, read_index
from gvtzoo.hub.installed import downloaded_models, installed_models, size_of
from gvtzoo.packages.reader import gvtzoo_config, read_description
from gvtzoo.recipes.metadata import MetricRow, ModelMetadata, Task

Where = Literal["bundled", "installed", "downloaded", "to download", "unreadable"]


class PackagedNetwork(Strict, extra="ignore"):
    """What a list says of a package's network."""

    dimensions: Literal[2, 3]


class PackagedModel(Strict, extra="ignore"):
    """What a list says of a package: a part of its ``config.gvtzoo``."""

    task: Task
    network: PackagedNetwork
    metadata: ModelMetadata
    metrics: tuple[MetricRow, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain types (for JSON)."""
        return {
            **self.metadata.model_dump(mode="json"),
            "metrics": [row.model_dump() for row in self.metrics] or NOT_MEASURED,
        }


@dataclass(frozen=True, repr=False)
class ListedModel:
    """A model, by the name that commands take.

    Attributes
    ----------
    name : str
    where : {"bundled", "installed", "downloaded", "to download", "unreadable"}
        "installed" in the models folder, "downloaded" in Hugging Face's cache, "to download" for
        a model of the zoo that is not here: ``gvtzoo download``, or any use of it, fetches it.
    task, structure, license : str
        Empty where the package does not say.
    dimensions : int, optional
        Of the input image.
    path : Path, optional
        Of the package.
    source : Entry or PackagedModel, optional
        Which says more.
    """

    name: str
    where: Where
    task: str = ""
    structure: str = ""
    license: str = ""
    dimensions: int | None = None
    path: Path | None = None
    source: Entry | PackagedModel | None = None

    def __repr__(self) -> str:
        size = f"{self.dimensions}D" if self.dimensions else ""
        parts = ", ".join(part for part in (self.task, size, self.structure, self.where) if part)
        return f"<ListedModel {self.name}: {parts}>"

    @property
    def size(self) -> int | None:
        """Bytes of the package, or those that are to be downloaded."""
        if self.path is not None:
            return size_of(self.path)
        checkpoint = self.source.checkpoint if isinstance(self.source, Entry) else None
        return None if checkpoint is None else checkpoint.size

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain types (for JSON)."""
        more = {} if self.source is None else self.source.as_dict()
        return {
            **more,
            "name": self.name,
            "title": more.get("name", self.name),
            "where": self.where,
            "task": self.task,
            "structure": self.structure,
            "dimensions": self.dimensions,
            "license": self.license,
            "size": self.size,
            "client": has_client(self.name),
            "path": None if self.path is None else str(self.path),
        }


def list_models(
    *,
    task: str | None = None,
    structure: str | None = None,
    dimensions: int | None = None,
    local: bool = False,
) -> list[ListedModel]:
    """The models that are bundled, installed or downloaded, then those that are to be downloaded.

    Parameters
    ----------
    task : {"label_free", "denoising", "projection"}, optional
    structure : str, optional
        Only models whose structure or name has this in it, in upper or lower case.
    dimensions : int, optional
        Only 2D or 3D images.
    local : bool
        Only models that are on this computer.

    Returns
    -------
    list of ListedModel

    Raises
    ------
    GvtzooError
        When there is no such task.

    Examples
    --------
    >>> import gvtzoo
    >>> "gvtnet-denoising-nuclei" in [m.name for m in gvtzoo.list_models(task="denoising")]
    True
    """
    if task not in (None, *get_args(Task)):
        raise GvtzooError(f"there is no task {task!r}: choose one of {', '.join(get_args(Task))}")
    models = sorted(_all_models(), key=lambda model: model.path is None)  # the order is kept
    return [
        model
        for model in models
        if task in (None, model.task)
        and (structure is None or structure.lower() in f"{model.structure} {model.name}".lower())
        and dimensions in (None, model.dimensions)
        and not (local and model.path is None)
    ]


def _all_models() -> Iterator[ListedModel]:
    index, installed = read_index(), installed_models()
    for name, entry in index.items():
        yield _of_the_zoo(entry, installed.get(name))
    for name, path in installed.items():
        if name not in index:
            yield _packaged(name, "installed", path)
    for name, path in downloaded_models().items():
        yield _packaged(name, "downloaded", path)


def _of_the_zoo(entry: Entry, installed: Path | None) -> ListedModel:
    where: Where = "bundled" if entry.package else "installed" if installed else "to download"
    return ListedModel(
        name=entry.id,
        where=where,
        task=entry.task,
        structure=entry.structure,
        license=entry.license,
        dimensions=entry.dimensions,
        path=entry.package or installed,
        source=entry,
    )


def _packaged(name: str, where: Where, path: Path) -> ListedModel:
    try:
        rdf = read_description(path)
        config = gvtzoo_config(rdf)
        if config is None:  # made by another program
            return ListedModel(
                name, where, license=one_line(str(rdf.get("license") or "")), path=path
            )
        model = PackagedModel.model_validate(config)
    except (GvtzooError, OSError, ValidationError):
        return ListedModel(name, "unreadable", path=path)
    return ListedModel(
        name=name,
        where=where,
        task=model.task,
        structure=one_line(model.metadata.structure),
        license=one_line(model.metadata.license),
        dimensions=model.network.dimensions,
        path=path,
        source=model,
    )
