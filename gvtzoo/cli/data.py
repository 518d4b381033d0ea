"""The commands ``gvtzoo data list`` and ``gvtzoo data download``: public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.interrupt import interruptible
from gvtzoo.cli.options import download_bar, next_step


def register(app: typer.Typer) -> None:
    """Add the commands."""
    data = typer.Typer(no_args_is_help=True, help="Public data sets to train on.")
    data.command("list")(list_data_sets)
    data.command("download")(download)
    app.add_typer(data, name="data")


def list_data_sets() -> None:
    """List the public data sets, with their licences."""
    from gvtzoo.training.data.download import data_sets

    for name, data_set in data_sets().items():
        typer.echo(f"{name:20} {data_set.description}. Licence: {data_set.license}")


def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `gvtzoo data list` has it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder.")],
) -> None:
    """Fetch a public data set; a download that broke off goes on."""
    from gvtzoo.training.data.download import download_data_set, find_data_set

    data_set = find_data_set(name)
    for line in (
        data_set.description,
        f"Licence: {data_set.license}",
        f"Cite: {data_set.cite}",
    ):
        typer.echo(line, err=True)
    kept = "what was downloaded is kept: the same command goes on with it"
    with interruptible(lambda: kept), download_bar(name) as progress:
        files = download_data_set(data_set, output, progress)
    for file in files:
        typer.echo(str(file))
    next_step(f"gvtzoo recipes; gvtzoo train RECIPE --data {output} -o RUN")
