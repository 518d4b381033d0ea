"""What gvtzoo's web pages have in common: filling templates safely, and their look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any


def fill(
    template: str, filters: Mapping[str, Callable[..., Any]], values: Mapping[str, Any]
) -> str:
    """A Jinja template with its values; every text is escaped, and a missing one is an error."""
    from jinja2 import BaseLoader, Environment, StrictUndefined

    environment = Environment(
        loader=BaseLoader(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.from_string(template).render(values)


def base_style() -> str:
    """CSS: colours for light and dark, text, buttons and tables."""
    return files("gvtzoo.report").joinpath("base.css").read_text(encoding="utf-8")
