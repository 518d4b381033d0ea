"""A package as bioimageio gets to see it: the files that were looked at, and nothing else.

bioimageio reads a package by itself: it may take another description than ours where a zip holds
two, and unpack a zip otherwise. So it is given an archive in memory, of files whose checksums were
compared and whose code was looked at, with our description.
"""

from __future__ import annotations

import copy
import hashlib
import io
import zipfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.onnx_files import check_names_no_files
from gvtzoo.packages.reader import DESCRIPTIONS, Package, named_files
from gvtzoo.packages.torchscript import vetted_torchscript

if TYPE_CHECKING:
    from bioimageio.spec import InvalidDescr, ResourceDescr


def vetted_description(
    package: Package, *, trust: bool, version: str = "discover", only: Iterable[str] | None = None
) -> ResourceDescr | InvalidDescr:
    """The description that bioimageio makes of a package's vetted files.

    Parameters
    ----------
    package : Package
        Python code in it is not looked at: see `gvtzoo.packages.code`.
    trust : bool
        Whether TorchScript is taken as it is.
    version : str
        Format that the description is brought to, as ``"latest"``.
    only : iterable of str, optional
        Files that are needed; by default all, and bioimageio looks at them all.

    Raises
    ------
    GvtzooError
        When a file is missing or damaged, or TorchScript or ONNX reach further than they need.
    """
    from bioimageio.spec import ValidationContext, build_description

    from gvtzoo.packages.writer import strings

    rdf = copy.deepcopy(package.rdf)
    named = list(named_files(rdf))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in named if only is None else only:
            data = _vetted_file(package, name, trust)
            _state_digest(rdf, name, hashlib.sha256(data).hexdigest())
            archive.writestr(name, data)
    checked = only is None
    context = ValidationContext(
        root=zipfile.ZipFile(content),
        file_name=DESCRIPTIONS[0],
        perform_io_checks=checked,
        # What is known is not looked up on the network.
        known_files=dict.fromkeys(strings(rdf)) if checked else {},
        progressbar=False,
        log_warnings=False,
    )
    return build_description(rdf, context=context, format_version=version)


def source_of(package: Package, weights: str) -> str:
    """The file of some weights.

    Raises
    ------
    GvtzooError
        When the description names none.
    """
    entries = package.rdf.get("weights")
    entry = entries.get(weights) if isinstance(entries, dict) else None
    source = entry.get("source") if isinstance(entry, dict) else None
    if not isinstance(source, str):
        raise GvtzooError(f"{package.path}: the description names no file of {weights} weights")
    return source


def _vetted_file(package: Package, name: str, trust: bool) -> bytes:
    data = package.read(name)
    if trust:
        return data
    weights = package.rdf.get("weights")
    for format_, look in (("torchscript", vetted_torchscript), ("onnx", _vetted_onnx)):
        entry = weights.get(format_) if isinstance(weights, dict) else None
        if isinstance(entry, dict) and entry.get("source") == name:
            try:
                data = look(data)
            except GvtzooError as error:
                raise GvtzooError(f"{name} {error}") from error
    return data


def _vetted_onnx(content: bytes) -> bytes:
    check_names_no_files(content)
    return content


def _state_digest(content: Any, name: str, digest: str) -> None:
    """Write a file's checksum wherever a description states it."""
    if isinstance(content, dict):
        if content.get("source") == name and content.get("sha256") is not None:
            content["sha256"] = digest
        content = list(content.values())
    for value in content if isinstance(content, list) else []:
        _state_digest(value, name, digest)
