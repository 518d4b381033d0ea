"""The command ``gvtzoo demo``: a bundled stack, denoised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.options import Device, Overwrite, next_step, progress_bar, shown
from gvtzoo.cli.table import table_lines


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "gvtzoo-demo"
    ),
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Denoise a real stack with the bundled model: images, a picture, metrics."""
    from gvtzoo.demo import WHAT, run_demo

    with progress_bar("denoising") as report:
        result = run_demo(output, device=device, overwrite=overwrite, progress=shown(report))
    typer.echo(WHAT)
    names = list(next(iter(result.metrics.values())))
    rows = [
        [name, *(f"{numbers[key]:.4f}" for key in names)]
        for name, numbers in result.metrics.items()
    ]
    for line in table_lines(["image", *names], rows):
        typer.echo(line)
    for line in explained(names):
        typer.echo(line)
    for path in result.files:
        typer.echo(str(path))
    next_step(f"open {output / 'demo.png'}; `gvtzoo list` shows the other models")


def explained(metrics: Iterable[str]) -> Iterator[str]:
    """A line for each metric: what it says, and in which direction it is better."""
    from gvtzoo.metrics.metric_info import describe

    for name in metrics:
        found = describe(name)
        first = found.meaning.split(". ")[0].rstrip(".")
        better = f"; {found.better} is better" if found.better else ""
        yield f"{name}: {first[:1].lower()}{first[1:]}{better}"
