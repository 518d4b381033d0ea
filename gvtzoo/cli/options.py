"""Options that several commands share, and progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
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
SourceChannel = Annotated[
    str | None,
    typer.Option("--channel", help="Channel of the sources to take, by number (from 0) or name."),
]
TargetChannel = Annotated[
    str | None,
    typer.Option("--target-channel", help="Channel of the targets to take, by number or name."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Report = Callable[[float, float, str], None]


@contextmanager
def progress_bar(title: str) -> Iterator[Report | None]:
    """A bar on standard error, ``report(done, all, note)``; None where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, note="")

        def report(done: float, total: float, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield report
