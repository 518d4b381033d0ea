"""`gvtzoo.info`: what is known of a model, whoever made it, be it here or not.

An overview is read without PyTorch; all else of a package opens it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gvtzoo.hub.bibtex import bibtex
from gvtzoo.hub.index import Entry
from gvtzoo.hub.listing import PackagedModel
from gvtzoo.hub.overview import (
    OverviewConfig,
    axes,
    license_line,
    name_line,
    overview_of_entry,
    overview_of_package,
    voxel_size,
)
from gvtzoo.hub.registry import absent_entry, find_model
from gvtzoo.packages.reader import gvtzoo_config, open_package, read_description

if TYPE_CHECKING:
    from gvtzoo.packages.config import PackageConfig, TrainedOn
    from gvtzoo.recipes.metadata import DataSource, MetricRow, ModelMetadata

Line = tuple[str, str]  # a label and a text


@dataclass(frozen=True, repr=False)
class ModelInfo(ABC):
    """What is known of a model; shown as its overview.

    Attributes
    ----------
    name : str
        By which commands take it.
    """

    name: str

    @abstractmethod
    def overview(self) -> list[Line]:
        """What it is for, what it takes, how good it is: labels and texts."""

    def metrics(self) -> list[Line]:
        """Everything that was measured."""
        return self.details()

    def details(self) -> list[Line]:
        """Everything that people read: normalization, tiles, data, metrics, too."""
        return self.overview()

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain types."""

    @property
    def bibtex(self) -> str:
        """Entries of what is to be cited."""
        return ""

    def __repr__(self) -> str:
        first = next((text for _, text in self.overview() if text), "")
        return f"<ModelInfo {self.name}: {first}>"

    def __str__(self) -> str:
        return "\n".join(f"{label:14} {text}" for label, text in self.overview() if text)


def info(model: str | Path) -> ModelInfo:
    """What a model is for, what it takes, and how good it is.

    Of a model of the zoo that is not here it says how to obtain it; nothing is downloaded then.

    Parameters
    ----------
    model : str or path
        As `gvtzoo.load` takes it.

    Returns
    -------
    ModelInfo
        Printed, it is an overview; ``as_dict()`` has everything.

    Raises
    ------
    GvtzooError
        When there is no such model, or it cannot be read.

    Examples
    --------
    >>> import gvtzoo
    >>> found = gvtzoo.info("gvtnet-denoising-nuclei").as_dict()
    >>> found["task"], found["metadata"]["license"]
    ('denoising', 'BSD-3-Clause')
    """
    entry = absent_entry(str(model))
    if entry is not None:
        return _OfTheZoo(entry.id, entry)
    path = find_model(model)
    if not _is_run(path) and gvtzoo_config(read_description(path)) is None:
        return _OfOthers(str(model), path)
    return _OfOurs(str(model), path)


def _is_run(path: Path) -> bool:
    if not path.is_dir():
        return False
    from gvtzoo.packages.run_folder import is_run  # which imports PyTorch

    return is_run(path)


@dataclass(frozen=True, repr=False)
class _OfTheZoo(ModelInfo):
    """A model of the zoo that is not here."""

    entry: Entry

    def overview(self) -> list[Line]:
        return overview_of_entry(self.entry)

    def metrics(self) -> list[Line]:
        return _metrics_lines(self.entry.metrics)

    def details(self) -> list[Line]:
        return _entry_lines(self.entry)

    def as_dict(self) -> dict[str, Any]:
        return {**self.entry.as_dict(), "bibtex": self.bibtex}

    @property
    def bibtex(self) -> str:
        return bibtex(self.entry.metadata.cite)


@dataclass(frozen=True, repr=False)
class _OfOurs(ModelInfo):
    """A package or run folder of gvtzoo."""

    path: Path

    def overview(self) -> list[Line]:
        return overview_of_package(self._raw, self.name)

    def metrics(self) -> list[Line]:
        return _metrics_lines(PackagedModel.model_validate(self._raw).metrics)

    def details(self) -> list[Line]:
        return _package_lines(self._config)

    def as_dict(self) -> dict[str, Any]:
        return {**self._config.model_dump(mode="json"), "bibtex": self.bibtex}

    @property
    def bibtex(self) -> str:
        return bibtex(self._config.metadata.cite)

    @cached_property
    def _raw(self) -> dict[str, Any]:
        """``config.gvtzoo``, without importing PyTorch as long as nothing is wrong with it."""
        if not _is_run(self.path):
            config = gvtzoo_config(read_description(self.path))
            try:
                OverviewConfig.model_validate(config)
                return config
            except ValidationError:
                pass  # opening it says what is wrong
        return self._config.model_dump(mode="json")

    @cached_property
    def _config(self) -> PackageConfig:
        if not _is_run(self.path):
            return open_package(self.path).config
        from gvtzoo.packages.run_folder import read_run_config

        return read_run_config(self.path)


@dataclass(frozen=True, repr=False)
class _OfOthers(ModelInfo):
    """A BioImage.IO package that another program made."""

    path: Path

    def overview(self) -> list[Line]:
        return self._described[1]

    def as_dict(self) -> dict[str, Any]:
        return self._described[0]

    @cached_property
    def _described(self) -> tuple[dict[str, Any], list[Line]]:
        from gvtzoo.bioimageio.package import describe, open_foreign

        return describe(open_foreign(self.path))


def _package_lines(config: PackageConfig) -> list[tuple[str, str]]:
    metadata, network = config.metadata, config.network
    size = config.resampled_to
    return [
        *_description_lines(metadata, config.task),
        ("axes", axes(network.dimensions, network.output_dimensions)),
        ("sizes", f"any; padded to multiples of {network.multiple}"),
        ("normalization", config.normalization.text),
        ("uncertainty", "yes (--uncertainty)" if config.uncertainty else "no"),
        ("voxel size", voxel_size(config.pixel_size, config.unit)),
        ("resampling", f"in plane to {size:g} µm, and back" if size else ""),
        ("tiling", _tiling(config.tiling, config.exact)),
        ("for tiles", _client(config)),
        *_origin_lines(metadata),
        ("trained on", _trained_on(config.trained_on)),
        *_metrics_lines(config.metrics),
    ]


def _client(config: PackageConfig) -> str:
    """How to get the package for programs that cut images."""
    from gvtzoo.hub.client import has_client

    if config.fixed is not None:
        halo = "×".join(map(str, config.fixed.halo))
        return f"this package, of {config.fixed.model}, with a halo of {halo}"
    name = config.metadata.id
    return f"gvtzoo download --client {name}" if has_client(name) else ""


def _entry_lines(entry: Entry) -> list[tuple[str, str]]:
    images = [f"{n} for {split}" for split, n in entry.images.model_dump().items() if n]
    size = f"{entry.checkpoint.size / 1e6:.0f} MB" if entry.checkpoint else ""
    return [
        *_description_lines(entry.metadata, entry.task),
        ("axes", axes(entry.dimensions, entry.output_dimensions)),
        ("recipe", f"{entry.recipe} ({entry.network} network)"),
        ("tiling", _tiling(None, True)),
        *_origin_lines(entry.metadata),
        ("images", ", ".join(images)),
        ("steps", str(entry.checkpoint.steps) if entry.checkpoint else ""),
        *_metrics_lines(entry.metrics),
        ("where", f"not here yet: {size} to download, on first use or by"),
        *[("", command) for command in entry.commands],
        ("or by hand", " && ".join(entry.manual_commands)),
    ]


def _description_lines(metadata: ModelMetadata, task: str) -> list[tuple[str, str]]:
    return [
        name_line(metadata),
        ("description", metadata.description),
        ("task", task),
        ("structure", metadata.structure),
    ]


def _origin_lines(metadata: ModelMetadata) -> list[tuple[str, str]]:
    return [
        license_line(metadata),
        ("authors", ", ".join(author.name for author in metadata.authors)),
        *[("data", _data(source)) for source in metadata.data],
        *[("parent's data", _data(source)) for source in metadata.parent_data],
    ]


def _trained_on(known: TrainedOn) -> str:
    """How many files the package knows to have been learned from."""
    counts = {
        use: sum(file.use == use for file in known.files if not file.model)
        for use in ("train", "val")
    }
    told = [f"{count} for {use}" for use, count in counts.items() if count]
    return f"files: {', '.join(told)}" if told else ""


def _data(source: DataSource) -> str:
    return ", ".join(part for part in (source.name, source.license, source.url) if part)


def _metrics_lines(metrics: Iterable[MetricRow]) -> list[tuple[str, str]]:
    lines = []
    for row in metrics:
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in row.values.items())
        what = ", ".join(part for part in (row.data, row.condition, row.method) if part)
        lines.append(("metrics", f"{what}: {numbers}"))
    return lines or [("metrics", "not yet measured")]


def _tiling(hint: Any, exact: bool) -> str:
    whole = "whole image"
    if exact:
        whole += " or --tiling exact (the same result)"
    if hint is None:
        return whole if exact else f"{whole} or blocks"
    loss = f", max difference {hint.max_difference:.2g}" if hint.max_difference is not None else ""
    return f"{whole}; blocks of {hint.tile}, halo {hint.halo}{loss}"
