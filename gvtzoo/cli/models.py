"""``gvtzoo list``, ``gvtzoo info``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gvtzoo.cli.options import AsJson, ModelName


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_models)
    app.command("info")(info)


def list_models(
    task: Annotated[
        str | None, typer.Option(help="Only label_free, denoising or projection.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models that come with gvtzoo."""
    from gvtzoo.hub.registry import bundled_models
    from gvtzoo.packaging.package import open_package

    rows = []
    for name, path in bundled_models().items():
        config = open_package(path).config
        if task is None or config.task == task.replace("-", "_"):
            metadata = config.metadata
            rows.append(
                {
                    "name": name,
                    "task": config.task,
                    "structure": metadata.structure,
                    "dimensions": config.network.dimensions,
                    "license": metadata.license,
                    "description": metadata.description,
                }
            )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        typer.echo(f"{row['name']}  {row['task']}, {row['dimensions']}D  {row['description']}")


def info(model: ModelName, as_json: AsJson = False) -> None:
    """Show what a model is for, what it takes, how good it is, and how to cite it."""
    from gvtzoo.hub.registry import find_model
    from gvtzoo.packaging.package import open_package

    config = open_package(find_model(model)).config
    if as_json:
        typer.echo(config.model_dump_json(indent=1))
        return
    metadata, network = config.metadata, config.network
    spatial = "ZYX"[-network.dimensions :]
    lines: list[tuple[str, Any]] = [
        ("name", f"{metadata.name} ({metadata.id} {metadata.version})"),
        ("description", metadata.description),
        ("task", config.task),
        ("axes", f"{spatial} → {'ZYX'[-network.output_dimensions :]}"),
        ("sizes", f"any; padded to multiples of {network.multiple}"),
        ("normalization", _normalization(config.normalization)),
        ("uncertainty", "yes (--uncertainty)" if config.uncertainty else "no"),
        ("voxel size", _voxel_size(config.pixel_size, config.unit)),
        ("tiling", _tiling(config.tiling)),
        ("license", f"{metadata.license} (weights)"),
        ("authors", ", ".join(author.name for author in metadata.authors)),
        *[("data", f"{data.name} ({data.license})") for data in metadata.data],
        *[("cite", f"{c.text}. {c.doi or c.url}") for c in metadata.cite],
    ]
    for label, text in lines:
        if text:
            typer.echo(f"{label:14} {text}")
    for row in config.metrics:
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in row.values.items())
        typer.echo(f"{'metrics':14} {row.data}, {row.condition}, {row.method}: {numbers}")


def _normalization(normalization: Any) -> str:
    settings = normalization.source.model_dump(exclude={"kind"})
    numbers = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    undone = "undone in predictions" if normalization.undo else "predictions stay in its units"
    return f"{normalization.source.kind}{f' ({numbers})' if numbers else ''}, {undone}"


def _voxel_size(sizes: Mapping[Any, float], unit: str | None) -> str:
    known = [f"{axis} {sizes[axis]:g}" for axis in "zyx" if axis in sizes]
    return f"{', '.join(known)} {unit or ''}".strip() if known else ""


def _tiling(hint: Any) -> str:
    if hint is None:
        return "whole image, or --tiling exact (the same result)"
    loss = f", max difference {hint.max_difference:.2g}" if hint.max_difference is not None else ""
    return f"whole image or --tiling exact; blocks of {hint.tile}, halo {hint.halo}{loss}"
