"""The commands ``gvtzoo download`` and ``gvtzoo publish``: models from servers, and to one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.completion import complete_model
from gvtzoo.cli.interrupt import interruptible
from gvtzoo.cli.options import next_step
from gvtzoo.core.errors import GvtzooError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("download")(download)
    app.command("publish")(publish)


def download(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", autocompletion=complete_model, help="As `gvtzoo predict` takes it."
        ),
    ] = None,
    download_all: Annotated[
        bool, typer.Option("--all", help="All of the paper's published models.")
    ] = False,
    client: Annotated[
        bool,
        typer.Option(
            "--client", help="The package for ilastik, QuPath and others that cut images."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Download a model, and print where its package lies.

    The paper's published models come from the authors' repository, under its licence, and become
    packages here.
    """
    from gvtzoo.hub.download import download as download_model

    if download_all == (model is not None):
        raise typer.BadParameter("name a model, or give --all")
    if model is None:
        _download_all(yes)
        return
    typer.echo(str(download_model(model, client=client, assume_yes=yes)))
    if not client:
        next_step(f"gvtzoo predict {model} IMAGE -o OUT.tif")


def _download_all(yes: bool) -> None:
    """Every published model that is not here; one that fails does not stop the others."""
    from gvtzoo.hub.agreement import agree
    from gvtzoo.hub.download import download as download_model
    from gvtzoo.hub.fetch import missing, total_announcement
    from gvtzoo.hub.published import published_models

    absent = missing(list(published_models().values()))
    if absent:
        typer.echo(total_announcement(absent), err=True)
        agree(absent[0].license, again=True, assume_yes=yes)
    failed = 0
    for entry in absent:
        try:
            typer.echo(str(download_model(entry.id, assume_yes=True)))
        except (GvtzooError, OSError) as error:
            failed += 1
            typer.echo(f"gvtzoo: {error}", err=True)
    if failed:
        typer.echo(f"gvtzoo: {failed} of {len(absent)} models failed", err=True)
        raise typer.Exit(1)


def publish(
    package: Annotated[Path, typer.Argument(metavar="MODEL.zip", help="The package.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="On Hugging Face.")],
    private: Annotated[
        bool, typer.Option("--private", help="Only for you and your organization.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, show address, files and card; upload nothing.")
    ] = False,
) -> None:
    """Check a package and publish it on Hugging Face, where anyone loads it by ORG/NAME."""
    from gvtzoo.hub.publish import prepare
    from gvtzoo.hub.publish import publish as publish_package

    if not dry_run:
        with interruptible(lambda: "the same command completes what was uploaded"):
            typer.echo(publish_package(package, repository, private=private))
        return
    publication = prepare(package, repository)
    typer.echo(publication.address)
    for name, content in publication.files.items():
        typer.echo(f"{len(content):>12,}  {name}")
    total = sum(map(len, publication.files.values()))
    typer.echo(f"{total:>12,}  bytes in {len(publication.files)} files")
    typer.echo(f"\n{publication.card}", nl=False)
