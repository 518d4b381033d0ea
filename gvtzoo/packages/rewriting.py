"""Packages written again with another description; their weights stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.packages.card_text import documentation
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.writer import RDF, check_description, tags, to_yaml, zip_folder

DOCUMENTATION = "README.md"


def rewrite_package(
    package: str | Path, changes: Mapping[str, Any], output: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a package again with changes of its ``config.gvtzoo``, and documentation that says so.

    Parameters
    ----------
    package : path
        That gvtzoo made; it is not changed, unless it is `output` and `overwrite` is given.
    changes : mapping of str to Any
        Fields of `PackageConfig`: ``tiling``, ``clients``, from which tags follow,
        ``calibration``, ``fingerprint`` …
    output : path
        Of the new zip.
    overwrite : bool
        Whether a file that exists is replaced.

    Returns
    -------
    Path
        Of the new zip.

    Raises
    ------
    GvtzooError
        When the package cannot be read, or the output exists.
    """
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
