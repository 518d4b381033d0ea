"""Who made a model: from the command line, the user's settings, or asked for on a terminal."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import typer

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.identity import Identity
from gvtzoo.recipes.metadata import ORCID, UNKNOWN, Author, DataSource, Maintainer, ModelMetadata

AUTHOR = "GVTZOO_AUTHOR"
NOT_STATED = "not stated"
# What publishing needs, and the option that gives it.
WANTED = {"authors": "--author", "license": "--license", "data": "--data-name"}


def settings_file() -> Path:
    """``config.toml`` in the user's folder for settings (``~/.config/gvtzoo`` on Linux)."""
    from platformdirs import user_config_path

    return user_config_path("gvtzoo", appauthor=False) / "config.toml"


def with_defaults(given: Identity) -> Identity:
    """What is given, and where nothing is, what the user's settings say.

    ``author``, ``maintainer`` (a text or a list of them) and ``license`` in `settings_file`;
    ``GVTZOO_AUTHOR`` comes before the file.

    Raises
    ------
    GvtzooError
        When the file cannot be read.
    """
    known = _read(settings_file())
    authors = os.environ.get(AUTHOR) or known.get("author") or ()
    return replace(
        given,
        authors=given.authors or tuple(map(author_of, _texts(authors))),
        maintainers=given.maintainers
        or tuple(map(maintainer_of, _texts(known.get("maintainer") or ()))),
        license=given.license or known.get("license"),
    )


def author_of(text: str) -> Author:
    """Such as ``Ada Lovelace; University of London; 0000-0002-1825-0097``.

    Raises
    ------
    GvtzooError
        When there is no name, or something beyond affiliation and ORCID.
    """
    name, *others = (part.strip() for part in text.split(";"))
    orcids = [part for part in others if re.fullmatch(ORCID, part)]
    affiliations = [part for part in others if part and part not in orcids]
    if not name or len(orcids) > 1 or len(affiliations) > 1:
        raise GvtzooError(
            f"{text!r} is no author: write NAME, or 'NAME; AFFILIATION; ORCID', the last as "
            "0000-0002-1825-0097"
        )
    return Author(
        name=name,
        affiliation=affiliations[0] if affiliations else None,
        orcid=orcids[0] if orcids else None,
    )


def maintainer_of(text: str) -> Maintainer:
    """An account on GitHub, or ``ACCOUNT; NAME``.

    Raises
    ------
    GvtzooError
    """
    account, _, name = (part.strip() for part in text.partition(";"))
    if not re.fullmatch(r"[A-Za-z0-9-]{1,39}", account):
        raise GvtzooError(
            f"{text!r} is no maintainer: write an account on GitHub, or 'ACCOUNT; NAME'"
        )
    return Maintainer(github_user=account, name=name or None)


def data_of(
    names: list[str], licenses: list[str], urls: list[str], ids: list[str]
) -> tuple[DataSource, ...]:
    """The data sets of repeated options, the first of each together, and so on.

    Parameters
    ----------
    names, licenses, urls, ids : list of str
        The values of ``--data-name``, ``--data-license``, ``--data-url`` and ``--data-id``, in the
        order in which they were given.

    Raises
    ------
    GvtzooError
        When there are more licences, addresses or ids than names.
    """
    for option, values in (("license", licenses), ("url", urls), ("id", ids)):
        if len(values) > len(names):
            raise GvtzooError(f"--data-{option} without a --data-name: name the data set")
    return tuple(
        DataSource(name=name, license=license or NOT_STATED, url=url, bioimageio=identifier)
        for name, license, url, identifier in zip_longest(names, licenses, urls, ids)
    )


def ask(given: Identity, metadata: ModelMetadata) -> Identity:
    """What is missing for publishing, asked for where there is somebody to answer.

    Every question may be left open by Enter.
    """
    if not _somebody_answers():
        return given
    missing = lacking(metadata)
    if "authors" in missing:
        text = _ask("Author (NAME; AFFILIATION; ORCID)")
        given = replace(given, authors=(author_of(text),) if text else ())
    if "license" in missing:
        given = replace(given, license=_ask("Licence of the weights (such as CC-BY-4.0)") or None)
    if "data" in missing:
        name = _ask("Name of the data that it was trained on")
        if name:
            license = _ask("Licence of these data") or NOT_STATED
            given = replace(given, data=(*given.data, DataSource(name=name, license=license)))
    return given


def lacking(metadata: ModelMetadata) -> list[str]:
    """What a description does not say and publishing needs: keys of `WANTED`."""
    said = {
        "authors": metadata.authors != (UNKNOWN,),
        "license": bool(metadata.license),
        "data": bool(metadata.data),
    }
    return [key for key in WANTED if not said[key]]


def _somebody_answers() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> str:
    # typer.prompt writes a blank to standard output, which is for the package's path alone.
    typer.echo(f"{question}: ", nl=False, err=True)
    return sys.stdin.readline().strip()


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(text) for text in value]


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GvtzooError(f"{path} is not valid TOML: {error}") from error
