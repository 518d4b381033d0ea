"""The command line in this process."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from gvtzoo.cli.main import app


def invoke(*arguments: object, **options) -> Result:
    """What a command gives, whatever it is; errors of gvtzoo stay in the result."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def run(*arguments: object) -> Result:
    """The result of a command that succeeds; errors of gvtzoo are raised."""
    result = invoke(*arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result
