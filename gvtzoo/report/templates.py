"""What gvtzoo's web pages have in common: filling templates safely, their look, what may run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any


def fill(
    template: str, filters: Mapping[str, Callable[..., Any]], values: Mapping[str, Any]
) -> str:
    """A Jinja template with its values; every text is escaped, and a missing one is an error.

    Parameters
    ----------
    template : str
        The text of a template; it may include those in ``gvtzoo/report/template``.
    filters : mapping of str to callable
    values : mapping of str to Any
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gvtzoo.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.from_string(template).render(values)


def template(name: str) -> str:
    """A file of the report's templates."""
    return files("gvtzoo.report").joinpath("template", name).read_text(encoding="utf-8")


def base_style() -> str:
    """CSS: colours for light and dark, text, buttons and tables."""
    return files("gvtzoo.report").joinpath("base.css").read_text(encoding="utf-8")


def page_style() -> str:
    """CSS of a page of results, which has it in itself."""
    return f"{base_style()}\n{template('report.css')}"


def policy(script: str = "") -> str:
    """The security policy of a page that loads nothing, and runs at most this script."""
    allowed = "'none'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        allowed = f"'sha256-{digest}'"
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {allowed}; base-uri 'none'; form-action 'none'"
    )
