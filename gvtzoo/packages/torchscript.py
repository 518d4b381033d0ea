"""TorchScript from strangers: looked at before it is loaded.

A TorchScript file is a program. Its operators can write files (``aten::save``), and methods of its
own run while it is loaded. So nothing is loaded before its code has been read as text, and that
reading does not depend on how PyTorch reads it:

- every word in the code that is the name of an operator of PyTorch has to be in `HARMLESS`,
  wherever it stands, also as a text (``getattr(x, "word")``);
- what may be made of parts (a text of two texts, an escaped letter) is refused;
- ``ops.…``, by which other operators are reached, names those of the list only.

What has been read is written to an archive of its own, and that is what is loaded: two programs may
find different things in one zip.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from gvtzoo.core.errors import GvtzooError

LARGEST_CODE = 2**23  # bytes of code, and of each pickle
MOST_MEMBERS = 100_000
TOKEN = re.compile(
    r"(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>\"(?:[^\"\\\n]|\\[nrt\"'\\])*\"|'(?:[^'\\\n]|\\[nrt\"'\\])*')"
    r"|(?P<other>[0-9.]+(?:[eE][-+]?[0-9]+)?[jJ]?|[-+*/%=<>!&|^~@,.:;()\[\]{}]|\s+)"
)
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PICKLED = re.compile(
    r"__torch__(\.(?!classes\b)\w+)* \w+|torch\.jit\._pickle \w+|torch \w+"
    r"|torch\._utils _rebuild_(tensor_v2|parameter)|collections OrderedDict"
)

# What starts threads, prints, or leads outside the file's own code and PyTorch's operators.
FORBIDDEN = {"print", "fork", "_fork", "awaitable", "classes", "rpc"}


def _words(text: str) -> frozenset[str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return frozenset(" ".join(lines).split())


HARMLESS = _words(files("gvtzoo.packages").joinpath("torchscript_operators.txt").read_text("utf-8"))


def vetted_torchscript(content: bytes) -> bytes:
    """A TorchScript archive of what has been looked at in another.

    Nothing of it is run or loaded.

    Parameters
    ----------
    content : bytes
        Of a file that ``torch.jit.save`` wrote.

    Returns
    -------
    bytes

    Raises
    ------
    GvtzooError
        When the code can do other things than compute with tensors, or the file is no
        TorchScript. The message goes on after the file's name.
    """
    members = dict(_members(content))
    code = {name: data for name, data in members.items() if name.startswith("code/")}
    if "data.pkl" not in members or not code:
        raise GvtzooError("is not TorchScript: it holds no code, or no weights")
    for name, data in code.items():
        _check_code(name, data)
    for name, data in members.items():
        if name.endswith(".pkl"):
            _check_pickle(name, data)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for name, data in members.items():
            file.writestr(f"archive/{name}", data)
    return archive.getvalue()


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """What PyTorch loads of an archive, by names below its one folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            roots = {entry.filename.partition("/")[0] for entry in entries}
            if len(entries) > MOST_MEMBERS or len(roots) != 1:
                raise GvtzooError("is not TorchScript: it is not one folder of files")
            if len({entry.filename for entry in entries}) < len(entries):
                raise GvtzooError("is refused: a file is in it twice")
            for entry in entries:
                name = entry.filename.partition("/")[2]
                if not _is_loaded(name):
                    continue
                small = name.endswith((".py", ".pkl"))
                if entry.file_size > (LARGEST_CODE if small else len(content)):
                    raise GvtzooError(f"is refused: {name} in it has {entry.file_size} bytes")
                yield name, archive.read(entry)
    except GvtzooError:
        raise
    except Exception as error:  # zipfile raises whatever the damage leads to
        raise GvtzooError(f"is not TorchScript, or it is damaged: {error}") from error


def _is_loaded(name: str) -> bool:
    if name.startswith("code/"):
        return name.endswith(".py")
    # Not bytecode and debugging information.
    plain = ("data.pkl", "constants.pkl", "version", ".data/version", "byteorder")
    return name in plain or name.startswith(("data/", "constants/"))


@cache
def _operator_names() -> frozenset[str]:
    """Of the operators that code can name without ``ops``: ``torch.…``, or as a method."""
    import torch

    names = (schema.name.split("::") for schema in torch._C._jit_get_all_schemas())
    return frozenset(name for library, name in names if library in ("aten", "prim"))


def _is_harmless(word: str) -> bool:
    if word in FORBIDDEN:
        return False
    # An operator's name and "_" is the same in place.
    in_place = word.endswith("_") and not word.endswith("__") and word != "resize_"
    known = word in HARMLESS or (in_place and word[:-1] in HARMLESS)
    return known or word not in _operator_names()


def _check_code(name: str, data: bytes) -> None:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise GvtzooError(f"is not run unasked: {name} in it is not plain text") from None
    for problem in _problems(text):
        raise GvtzooError(f"is not run unasked: {problem} ({name} in it)")


def _problems(text: str) -> Iterator[str]:
    place, before = 0, ""  # and what stood before the token at hand
    while place < len(text):
        token = TOKEN.match(text, place)
        if token is None:
            yield f"its code has {text[place]!r}, which PyTorch does not write"
            return
        place = token.end()
        if token["word"] is not None:
            if not _is_harmless(token["word"]):
                yield f"it uses {token['word']!r}"
            if token["word"] == "ops":
                yield from _problems_of_ops(text, place)
        elif token["text"] is not None:
            if before == "text":
                yield "its code has a text of two parts"
            # An attribute's name, as in getattr(x, "0"); sentences are none.
            if WORD.fullmatch(token["text"][1:-1]) and not _is_harmless(token["text"][1:-1]):
                yield f"it uses {token['text'][1:-1]!r}"
        if not token[0].isspace():
            before = str(token.lastgroup)


def _problems_of_ops(text: str, place: int) -> Iterator[str]:
    called = re.compile(r"\.(prim|aten)\.([A-Za-z_]\w*)\(").match(text, place)
    if called is None:
        yield "it uses operators of a library"
    elif called[2] not in HARMLESS:
        yield f"it uses {called[2]!r}"


def _check_pickle(name: str, data: bytes) -> None:
    try:
        found = [(opcode.name, str(argument)) for opcode, argument, _ in pickletools.genops(data)]
    except Exception as error:  # pickletools raises whatever the damage leads to
        raise GvtzooError(f"is not TorchScript, or it is damaged: {name} in it") from error
    for opcode, argument in found:
        is_global = "GLOBAL" in opcode or opcode in ("INST", "EXT1", "EXT2", "EXT4")
        if is_global and not PICKLED.fullmatch(argument):
            raise GvtzooError(f"is not run unasked: {name} in it names {argument}")
