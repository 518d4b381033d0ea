"""Which code a package brings along, and whose it is.

Packages are run by bioimageio.core, which imports the Python file that builds the network of a
PyTorch state dict, and files with processing, without asking. What is ours is known by its content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from gvtzoo.packages.reader import Package

# Nothing else may stand above the code: a comment there can name an encoding.
HEADER = re.compile(
    rb"# [A-Za-z0-9]+, the architecture of this package's weights, in one file that needs PyTorch"
    rb" only\.\n# Made from gvtzoo [0-9A-Za-z.+]+ \(gvtzoo/networks\)\.\n"
    rb"# SPDX-License-Identifier: BSD-3-Clause\n"
)
LARGEST_CODE = 2**22  # bytes
TRUST = "pass --trust (in Python: trust=True) if you trust it"


def is_own_architecture(content: bytes) -> bool:
    """Whether a Python file is an architecture that a version of gvtzoo has written."""
    digest = architecture_digest(content)
    return digest is not None and digest in _known_digests()


def architecture_digest(content: bytes) -> str | None:
    """SHA-256 of an architecture file below its header; None where it has not this header."""
    header = HEADER.match(content)
    return None if header is None else hashlib.sha256(content[header.end() :]).hexdigest()


@cache
def _known_digests() -> frozenset[str]:
    text = files("gvtzoo.packages").joinpath("architectures.txt").read_text(encoding="utf-8")
    return frozenset(line.split()[0] for line in text.splitlines() if not line.startswith("#"))


def strangers_code(package: Package) -> str | None:
    """The first code of a package that is not ours, in words; None where there is none.

    Such as ``its network is Python code in network.py``. TorchScript is not looked at: see
    `gvtzoo.packages.torchscript`.

    Raises
    ------
    GvtzooError
        When a file that is named is missing or damaged.
    """
    for what, name in code_of(package.rdf):
        if name is None:
            return f"{what} calls a function of an installed library"
        if not is_own_architecture(package.read(name, LARGEST_CODE)):
            return f"{what} is Python code in {name}"
    return None


def code_of(rdf: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What a description has run as Python code, and from which file of the package.

    Of formats 0.4 and 0.5; None for a library's functions.
    """
    for operation in _processing(rdf):
        if operation.get("id") == "custom" or "source" in operation or "callable" in operation:
            yield "its processing", _text(operation.get("source"))
    weights = rdf.get("weights")
    entry = weights.get("pytorch_state_dict") if isinstance(weights, dict) else None
    architecture = entry.get("architecture") if isinstance(entry, dict) else None
    if isinstance(architecture, dict):
        yield "its network", _text(architecture.get("source"))
    elif isinstance(architecture, str):
        file, colon, _ = architecture.rpartition(":")
        yield "its network", file if colon else None


def _processing(rdf: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for place, key in (("inputs", "preprocessing"), ("outputs", "postprocessing")):
        tensors = rdf.get(place)
        for tensor in tensors if isinstance(tensors, list) else []:
            operations = tensor.get(key) if isinstance(tensor, dict) else None
            for operation in operations if isinstance(operations, list) else []:
                if isinstance(operation, dict):
                    yield operation


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
