"""The commands ``gvtzoo list`` and ``gvtzoo info``: which models there are, and what for."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from gvtzoo.cli.options import AsJson, ModelName, next_step
from gvtzoo.core.errors import one_line

if TYPE_CHECKING:
    from gvtzoo.hub.index import Entry
    from gvtzoo.packages.config import PackageConfig, TrainedOn
    from gvtzoo.recipes.metadata import DataSource, MetricRow, ModelMetadata

LABEL = 14  # characters


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_models)
    app.command("info")(info)


def list_models(
    task: Annotated[
        str | None, typer.Option(help="Only label_free, denoising or projection.")
    ] = None,
    structure: Annotated[
        str | None, typer.Option(help="Only models with this in their structure or name.")
    ] = None,
    dimensions: Annotated[
        int | None, typer.Option(min=2, max=3, help="Only models of 2D or 3D images.")
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Only models that are on this computer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List what is ready for use, then the zoo's models that one command downloads."""
    from gvtzoo.cli.table import table_lines
    from gvtzoo.hub.listing import list_models
    from gvtzoo.recipes.metadata import Task

    task = None if task is None else task.lower().replace("-", "_")
    if task not in (None, *get_args(Task)):
        raise typer.BadParameter(f"--task {task}: choose one of {', '.join(get_args(Task))}")
    models = list_models(task=task, structure=structure, dimensions=dimensions, local=local)
    if as_json:
        typer.echo(json.dumps([model.as_dict() for model in models], indent=1))
        return
    header = ("MODEL", "TASK", "STRUCTURE", "AXES", "SIZE", "LICENSE", "WHERE")
    rows = [
        (
            model.name,
            model.task,
            model.structure,
            f"{model.dimensions}D" if model.dimensions else "",
            "" if model.size is None else f"{model.size / 1e6:.1f} MB",
            model.license,
            model.where,
        )
        for model in models
    ]
    for line in table_lines(header, rows):
        typer.echo(line)
    next_step("gvtzoo info MODEL says what one is for; gvtzoo preview MODEL IMAGE tries it")


def info(
    model: ModelName,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Show everything that was measured.")
    ] = False,
    details: Annotated[
        bool,
        typer.Option(
            "--details", help="Show all: normalization, tiles, data, metrics, BibTeX entries."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show on one screen what a model is for, what it takes, and how good it is.

    That of a model of the zoo which is not here says how to obtain it; nothing is downloaded.
    """
    if as_json or details:
        _details(model, as_json)
        return
    from gvtzoo.hub.overview import overview_of_entry
    from gvtzoo.hub.registry import absent_entry

    entry = absent_entry(model)
    if entry is not None:
        _print(_metrics_lines(entry.metrics) if metrics else overview_of_entry(entry))
        return
    from gvtzoo.hub.registry import find_model

    path = find_model(model)
    config = _raw_config(path)
    if config is None:
        _foreign_info(path, as_json)
        return
    if metrics:
        from gvtzoo.hub.listing import PackagedModel

        _print(_metrics_lines(PackagedModel.model_validate(config).metrics))
        return
    from gvtzoo.hub.overview import overview_of_package

    _print(overview_of_package(config, model))


def _raw_config(path: Path) -> dict[str, Any] | None:
    """``config.gvtzoo`` of a package or run folder; None of a package of others.

    A zip is read without importing PyTorch, as long as nothing is wrong with it.
    """
    from pydantic import ValidationError

    from gvtzoo.hub.overview import OverviewConfig
    from gvtzoo.packages.reader import gvtzoo_config, open_package, read_description

    if path.is_dir():
        from gvtzoo.packages.run_folder import is_run, read_run_config

        if is_run(path):
            return read_run_config(path).model_dump(mode="json")
    config = gvtzoo_config(read_description(path))
    if config is None:
        return None
    try:
        OverviewConfig.model_validate(config)
    except ValidationError:
        return open_package(path).config.model_dump(mode="json")  # which says what is wrong
    return config


def _details(model: str, as_json: bool) -> None:
    """Everything that is known of a model."""
    from gvtzoo.hub.bibtex import bibtex
    from gvtzoo.hub.registry import absent_entry

    entry = absent_entry(model)
    if entry is not None:
        content, lines, citations = entry.as_dict(), _entry_lines(entry), entry.metadata.cite
    else:
        from gvtzoo.bioimageio.package import is_foreign
        from gvtzoo.hub.registry import find_model
        from gvtzoo.packages.reader import open_package
        from gvtzoo.packages.run_folder import is_run, read_run_config

        path = find_model(model)
        if is_run(path):
            config = read_run_config(path)
        elif is_foreign(path):
            _foreign_info(path, as_json)
            return
        else:
            config = open_package(path).config
        content, lines = config.model_dump(mode="json"), _package_lines(config)
        citations = config.metadata.cite
    if as_json:
        typer.echo(json.dumps({**content, "bibtex": bibtex(citations)}, indent=1))
        return
    _print(lines)
    if citations:
        typer.echo("")
        for line in bibtex(citations).split("\n"):
            typer.echo(one_line(line))


def _foreign_info(path: Path, as_json: bool) -> None:
    from gvtzoo.bioimageio.package import describe, open_foreign

    content, lines = describe(open_foreign(path))
    if as_json:
        typer.echo(json.dumps(content, indent=1))
        return
    _print(lines)


def _print(lines: Iterable[tuple[str, str]]) -> None:
    """A line for each, wrapped on a terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for label, text in lines:
        line = one_line(text)
        if not line:
            continue
        parts = [line] if width is None else textwrap.wrap(line, max(width - LABEL - 1, LABEL))
        for number, part in enumerate(parts):
            typer.echo(f"{'' if number else label:{LABEL}} {part}")


def _package_lines(config: PackageConfig) -> list[tuple[str, str]]:
    metadata, network = config.metadata, config.network
    size = config.resampled_to
    return [
        *_description_lines(metadata, config.task),
        ("axes", _axes(network.dimensions, network.output_dimensions)),
        ("sizes", f"any; padded to multiples of {network.multiple}"),
        ("normalization", _normalization(config.normalization)),
        ("uncertainty", "yes (--uncertainty)" if config.uncertainty else "no"),
        ("voxel size", _voxel_size(config.pixel_size, config.unit)),
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
        ("axes", _axes(entry.dimensions, entry.output_dimensions)),
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
        ("name", f"{metadata.name} ({metadata.id} {metadata.version})"),
        ("description", metadata.description),
        ("task", task),
        ("structure", metadata.structure),
    ]


def _origin_lines(metadata: ModelMetadata) -> list[tuple[str, str]]:
    return [
        ("license", f"{metadata.license or 'none given'} (weights)"),
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


def _axes(dimensions: int, output_dimensions: int) -> str:
    return f"{'ZYX'[-dimensions:]} → {'ZYX'[-output_dimensions:]}"


def _normalization(normalization: Any) -> str:
    settings = normalization.source.model_dump(exclude={"kind"})
    numbers = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    undone = "undone in predictions" if normalization.undo else "predictions stay in its units"
    return f"{normalization.source.kind}{f' ({numbers})' if numbers else ''}, {undone}"


def _voxel_size(sizes: Mapping[Any, float], unit: str | None) -> str:
    known = [f"{axis} {sizes[axis]:g}" for axis in "zyx" if axis in sizes]
    return f"{', '.join(known)} {unit or ''}".strip() if known else ""


def _tiling(hint: Any, exact: bool) -> str:
    whole = "whole image"
    if exact:
        whole += " or --tiling exact (the same result)"
    if hint is None:
        return whole if exact else f"{whole} or blocks"
    loss = f", max difference {hint.max_difference:.2g}" if hint.max_difference is not None else ""
    return f"{whole}; blocks of {hint.tile}, halo {hint.halo}{loss}"
