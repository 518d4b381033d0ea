"""The commands ``gvtzoo list`` and ``gvtzoo info``: which models there are, and what for."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Annotated, get_args

import typer

from gvtzoo.cli.options import AsJson, ModelName, next_step
from gvtzoo.core.errors import one_line

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
    header = ("MODEL", "TASK", "STRUCTURE", "DIMS", "SIZE", "LICENSE", "WHERE")
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
    absent = [model.size or 0 for model in models if model.where == "to download"]
    if absent:
        next_step(
            f"gvtzoo download MODEL fetches one that is to download, of the size above, from its "
            f"authors; --all fetches {len(absent)}, {sum(absent) / 1e6:.0f} MB"
        )


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
    from gvtzoo.hub.info import info as info_of

    found = info_of(model)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    elif details:
        _print(found.details())
        if found.bibtex:
            typer.echo("")
            for line in found.bibtex.split("\n"):
                typer.echo(one_line(line))
    else:
        _print(found.metrics() if metrics else found.overview())


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
