"""Options that several commands share, and progress on a terminal (`gvtzoo.core.progress`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.completion import complete_axes, complete_model
from gvtzoo.core.progress import Report, download_bar, progress_bar

__all__ = [
    "AsJson",
    "Axes",
    "Channel",
    "DataFolder",
    "Device",
    "ModelName",
    "Overwrite",
    "Report",
    "Trust",
    "download_bar",
    "next_step",
    "progress_bar",
    "shown",
]

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        autocompletion=complete_model,
        help="The path of a package or a run folder; a name of `gvtzoo list`; "
        "ORG/NAME[@revision] on Hugging Face; an id or address of bioimage.io.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Let code run that a package of others brings along."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", show_default=True)]
DataFolder = Annotated[
    Path, typer.Option("--data", help="Folder with source/ and target/, or a CSV.")
]
Axes = Annotated[
    str | None,
    typer.Option(
        autocompletion=complete_axes,
        help="Axes of the images, such as ZYX, where files do not tell.",
    ),
]
Channel = Annotated[str | None, typer.Option(help="Channel to take, by number (from 0) or name.")]
SourceChannel = Annotated[
    str | None,
    typer.Option("--channel", help="Channel of the sources to take, by number (from 0) or name."),
]
TargetChannel = Annotated[
    str | None,
    typer.Option("--target-channel", help="Channel of the targets to take, by number or name."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def shown(report: Report | None) -> Callable[[float, float], None] | None:
    """A bar's report as the library calls it: ``progress(done, all)``."""
    return None if report is None else lambda done, total: report(done, total, "")


def next_step(text: str) -> None:
    """Say on a terminal what can be done now; scripts get nothing but the result."""
    if sys.stderr.isatty():
        typer.echo(f"next: {text}", err=True)
