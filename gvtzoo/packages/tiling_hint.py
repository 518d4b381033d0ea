"""Packages written again with another description; their weights stay as they are."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.packages.card_text import documentation
from gvtzoo.packages.config import (
    FORMAT,
    ClientLoss,
    Fingerprint,
    SigmaCalibration,
    TilingHint,
)
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.writer import RDF, check_description, tags, to_yaml, zip_folder

DOCUMENTATION = "README.md"


def with_clients(
    package: str | Path,
    clients: tuple[ClientLoss, ...],
    output: str | Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a package again with what it loses in other programs, and tags of those that suit.

    Errors are those of `with_tiling_hint`.

    Parameters
    ----------
    package : path
    clients : tuple of ClientLoss
        A row for each program and weights.
    output : path
        Of the zip; may be that of the package.
    overwrite : bool
        Whether a file that exists is replaced.
    """
    return _with(package, {"clients": clients}, output, overwrite)


def with_tiling_hint(
    package: str | Path, hint: TilingHint, output: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a package again with a tiling hint in its description and documentation.

    Parameters
    ----------
    package : path
        That gvtzoo made; it is not changed, unless it is `output` and `overwrite` is given.
    hint : TilingHint
    output : path
        Of the new zip.
    overwrite : bool

    Returns
    -------
    Path
        Of the new zip.

    Raises
    ------
    GvtzooError
        When the package cannot be read, or the output exists.
    """
    return _with(package, {"tiling": hint}, output, overwrite)


def with_fingerprint(
    package: str | Path, fingerprint: Fingerprint, output: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a package again with the fingerprint of its training images.

    Returns and errors are those of `with_tiling_hint`.

    Parameters
    ----------
    package, output, overwrite
        As of `with_tiling_hint`.
    fingerprint : Fingerprint
    """
    return _with(package, {"fingerprint": fingerprint, "format": FORMAT}, output, overwrite)


def with_calibration(
    package: str | Path,
    calibration: SigmaCalibration,
    output: str | Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a package again with what its σ says.

    Returns and errors are those of `with_tiling_hint`.

    Parameters
    ----------
    package, output, overwrite
        As of `with_tiling_hint`.
    calibration : SigmaCalibration
    """
    return _with(package, {"calibration": calibration}, output, overwrite)


def _with(
    package: str | Path, changes: dict[str, Any], output: str | Path, overwrite: bool
) -> Path:
    output = Path(output)
    if output.suffix != ".zip":
        raise GvtzooError(f"{output}: a package's name has to end in .zip")
    if output.exists() and not overwrite:
        raise GvtzooError(f"{output} exists: choose another name or overwrite it")
    opened = open_package(package)
    config = opened.config.model_copy(update=changes)
    rdf = {
        **opened.rdf,
        "tags": tags(config) if "clients" in changes else opened.rdf.get("tags", []),
        "config": {**opened.rdf["config"], "gvtzoo": config.model_dump(mode="json")},
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        for member in opened.names():
            (folder / member).write_bytes(opened.read(member))
        (folder / DOCUMENTATION).write_text(documentation(config), encoding="utf-8")
        (folder / RDF).write_text(to_yaml(rdf), encoding="utf-8")
        check_description(folder / RDF, rdf)
        with write_atomically(output) as temporary:
            zip_folder(folder, temporary)
    return output
