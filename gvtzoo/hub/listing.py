"""What ``gvtzoo list`` lists: the zoo's models, and what else is installed or downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from gvtzoo.core.errors import GvtzooError, one_line
from gvtzoo.hub.client import has_client
from gvtzoo.hub.index import NOT_MEASURED, Entry, read_index
from gvtzoo.hub.installed import downloaded_models, installed_models, size_of
from gvtzoo.packages.reader import gvtzoo_config, read_description
from gvtzoo.recipes.metadata import Described, MetricRow, ModelMetadata, Task

Where = Literal["bundled", "installed", "downloaded", "not here", "unreadable"]


class PackagedNetwork(Described, extra="ignore"):
    """What a list says of a package's network."""

    dimensions: Literal[2, 3]


class PackagedModel(Described, extra="ignore"):
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


@dataclass(frozen=True)
class ListedModel:
    """A model, by the name that commands take.

    Attributes
    ----------
    name : str
    where : {"bundled", "installed", "downloaded", "not here", "unreadable"}
        "installed" in the models folder, "downloaded" in Hugging Face's cache, "not here" for a
        model of the zoo that is yet to be imported.
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

    @property
    def size(self) -> int | None:
        """Bytes of the package."""
        return None if self.path is None else size_of(self.path)

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
    """The models that are bundled, installed or downloaded, and those of the zoo's index.

    Parameters
    ----------
    task : {"label_free", "denoising", "projection"}, optional
    structure : str, optional
        Only models whose structure or name has this in it, in upper or lower case.
    dimensions : int, optional
        Only 2D or 3D images.
    local : bool
        Only models that are on this computer.
    """
    return [
        model
        for model in _all_models()
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
    where: Where = "bundled" if entry.package else "installed" if installed else "not here"
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
