"""Ctrl-C: every command ends with a line that says what is kept and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

STATUS = 130  # as shells report it
KEPT = "what was finished is kept, nothing is left half written: the same command starts again"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what a command has to say about it."""


class InterruptibleGroup(TyperGroup):
    """Commands that end with one line and status 130 when they are interrupted."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named; Ctrl-C becomes a line on stderr and status 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            told = str(error) if isinstance(error, Interrupted) else KEPT
            typer.echo(f"gvtzoo: interrupted: {told}", err=True)
            raise typer.Exit(STATUS) from error


@contextmanager
def interruptible(told: Callable[[], str]) -> Iterator[None]:
    """What is said where the block is interrupted.

    Parameters
    ----------
    told : callable
        Gives what is kept and how to go on, called when it comes to that.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(told()) from error
