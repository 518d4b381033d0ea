"""``gvtzoo download``, ``gvtzoo publish``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.interrupt import interruptible
from gvtzoo.cli.options import ModelName


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("download")(download)
    app.command("publish")(publish)


def download(model: ModelName) -> None:
    """Download a model, and print where its package lies."""
    from gvtzoo.hub.registry import find_model

    typer.echo(str(find_model(model)))


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
    from gvtzoo.hub.publish import prepare, upload

    publication = prepare(package, repository)
    if not dry_run:
        with interruptible(lambda: "the same command completes what was uploaded"):
            typer.echo(upload(publication, private=private))
        return
    typer.echo(publication.address)
    for name, content in publication.files.items():
        typer.echo(f"{len(content):>12,}  {name}")
    total = sum(map(len, publication.files.values()))
    typer.echo(f"{total:>12,}  bytes in {len(publication.files)} files")
    typer.echo(f"\n{publication.card}", nl=False)
