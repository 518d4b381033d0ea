"""The command ``gvtzoo site``: the zoo as a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gvtzoo.cli.options import next_step


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("site")(site)


def site(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New, empty, or with an earlier page.")
    ],
) -> None:
    """Make a static page of all models: pictures, metrics, commands, packages for Fiji, ilastik."""
    from gvtzoo.site.builder import build_site
    from gvtzoo.site.cards import zoo_cards

    page = build_site(zoo_cards(), output)
    typer.echo(str(page))
    next_step(f"open {page}")
