"""``gvtzoo``: entry point, logging, and how errors end."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, TextIO, cast

import typer

from gvtzoo.cli import (
    data,
    demo,
    evaluate,
    hub,
    models,
    packages,
    predict,
    preview,
    recommend,
    site,
    studies,
    train,
)
from gvtzoo.cli.interrupt import InterruptibleGroup
from gvtzoo.cli.terminal import PlainTerminal, log_handler
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.version import __version__

app = typer.Typer(
    name="gvtzoo",
    cls=InterruptibleGroup,
    help="A model zoo for augmented microscopy: predict, train, package.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    demo, models, recommend, preview, predict, evaluate, studies, train, data, packages, hub, site,
):  # fmt: skip
    module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gvtzoo {__version__}")
        raise typer.Exit


@app.callback()
def common(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Say more (-vv: everything).")
    ] = 0,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Results go to standard output, messages to standard error."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=logging.WARNING, handlers=[log_handler()])
    logging.getLogger("gvtzoo").setLevel(level)


def main() -> None:
    """Run the command line; mistakes of the user end in one line and exit status 1."""
    if sys.stdout.isatty():
        sys.stdout = cast("TextIO", PlainTerminal(sys.stdout))
    try:
        app()
    except GvtzooError as error:
        typer.echo(f"gvtzoo: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        # A full disk, a folder without permission: what the system says is the clearest.
        typer.echo(f"gvtzoo: {error}", err=True)
        sys.exit(1)
