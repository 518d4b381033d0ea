"""Settings in YAML files, of which one may extend another (``extends: NAME``).

Mappings are merged, everything else is replaced; mistakes are told with the file and the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.yaml import read_yaml

if TYPE_CHECKING:
    from pydantic import ValidationError

BASE_NAME = re.compile(r"[\w./-]{1,200}")


Combine = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def read_layered(
    path: Path, find: Callable[[str], Path], combine: Combine | None = None
) -> dict[str, Any]:
    """A file's settings, on top of those of the file that it extends, if it does.

    Parameters
    ----------
    path : Path
    find : callable
        The file of a name that is extended, where none of that name lies beside the extending one.
    combine : callable, optional
        ``combine(base, changes)``; by default `merge`.

    Raises
    ------
    GvtzooError
        When a file is missing, holds no settings, or extends itself.
    """
    return _read(path, find, combine or merge, ())


def _read(
    path: Path, find: Callable[[str], Path], combine: Combine, seen: tuple[Path, ...]
) -> dict[str, Any]:
    if path.resolve() in seen:
        raise GvtzooError(f"{path} extends itself")
    values = _values_of(path)
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str) or not BASE_NAME.fullmatch(base):
        raise GvtzooError(f"{path}: extends {base!r} is not a name")
    beside = path.parent / f"{base}.yaml"
    parent = beside if beside.is_file() else find(base)
    if not parent.is_file():
        raise GvtzooError(f"{path}: extends {base!r}, but there is no {parent}")
    return combine(_read(parent, find, combine, (*seen, path.resolve())), values)


def read_resolved(path: Path) -> dict[str, Any]:
    """A file's settings, which extend no others.

    For files from strangers: what is extended would be read wherever it lies.

    Raises
    ------
    GvtzooError
        When the file holds no settings, or extends another.
    """
    values = _values_of(path)
    if "extends" in values:
        raise GvtzooError(
            f"{path} extends {values['extends']!r}: a folder's own settings extend no others, "
            "which could lie anywhere"
        )
    return values


def _values_of(path: Path) -> dict[str, Any]:
    try:
        values = _values(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise GvtzooError(f"{path} is not valid YAML: {error}") from error
    except GvtzooError as error:
        raise GvtzooError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise GvtzooError(f"{path} has no settings: write them as `key: value`")
    return dict(values)


# Sixteen models extend the same files, and PyYAML is slow.
_values = lru_cache(maxsize=64)(read_yaml)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`: mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def describe(error: ValidationError, path: Path | None = None, within: tuple[str, ...] = ()) -> str:
    """The first mistake of a file in one line: the key, its line, what is allowed.

    Parameters
    ----------
    error : ValidationError
    path : Path, optional
        The file, where the values are from one.
    within : tuple of str
        The keys below which the values were checked.
    """
    first = error.errors()[0]
    keys = [*within, *map(str, first["loc"])]
    where = ".".join(keys)
    line = line_of(path, keys) if path is not None else None
    place = f"{where} (line {line})" if line else where
    message = first["msg"].removeprefix("Value error, ")
    unknown = first["type"] == "extra_forbidden"
    if unknown:
        message = "is not a known setting"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    given = first.get("input")
    told = isinstance(given, str | int | float) and where and not unknown
    value = f", not {given!r}" if told else ""
    return f"{place}: {message}{value}{more}".removeprefix(": ")


def line_of(path: Path, keys: list[str]) -> int | None:
    """The line on which the innermost of nested keys stands, if this file has it."""
    import yaml

    node = yaml.compose(path.read_text(encoding="utf-8"))
    line = None
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            break
        found = [(k, v) for k, v in node.value if k.value == key]
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line
