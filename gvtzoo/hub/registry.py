"""From a model's name, path or address to its package.

A name is the first of these that fits:

1. a path that exists;
2. the name of a model that comes with gvtzoo, or of one in the models folder, or of one that the
   paper's authors published, which is downloaded into that folder;
3. ``ORG/NAME[@revision]`` on Hugging Face (a DOI is none);
4. an id of bioimage.io (``affable-shark``, or a DOI), or the address (``https://…``) of a
   description or package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.resources import zoo_folder
from gvtzoo.core.suggest import nearest
from gvtzoo.hub.index import PACKAGE_FILE, Entry, read_index
from gvtzoo.hub.installed import installed_models

ADDRESS = re.compile(r"https?://\S+")
BIOIMAGEIO_ID = re.compile(r"[a-z]+-[a-z]+|10\.\d{4,9}/\S+")
FILE_SUFFIXES = (".zip", ".yaml", ".yml")


def bundled_models() -> dict[str, Path]:
    """Packages of the models that come with gvtzoo, by name."""
    return {path.parent.name: path for path in sorted(zoo_folder().glob(f"*/{PACKAGE_FILE}"))}


def local_models() -> dict[str, Path]:
    """Packages that are known by name: those that come with gvtzoo, and the models folder's."""
    return installed_models() | bundled_models()


def find_model(name: str | Path) -> Path:
    """The package of a model, downloaded where it has to be.

    Parameters
    ----------
    name : str or path
        An existing path; the name of a model that comes with gvtzoo, lies in the models folder, or
        is one of the paper's published ones;
        ``ORG/NAME[@revision]`` on Hugging Face; an id of bioimage.io, or an address. The first
        that fits.

    Returns
    -------
    Path
        Of a zip, a folder, or a description in its folder.

    Raises
    ------
    GvtzooError
        When there is none; a name that is nearly right is suggested, and of a model of the zoo
        that is not here and does not come, the message says how else it is had.
    """
    path, text = Path(name), str(name)
    if path.exists():
        return path
    local = local_models()
    if text in local:
        return local[text]
    is_address = ADDRESS.fullmatch(text) is not None
    if isinstance(name, Path) or (text.endswith(FILE_SUFFIXES) and not is_address):
        raise GvtzooError(f"{text} does not exist")
    absent = absent_entry(text)
    if absent is not None:
        from gvtzoo.hub.fetch import obtain

        return obtain(absent)
    near = "" if is_address else suggestion(text, [*local, *read_index()])
    if near and "/" not in text:
        raise GvtzooError(f"there is no model {text!r}: did you mean {near}?")
    return _downloaded(text, near)


def repository_of(name: str | Path) -> str | None:
    """``ORG/NAME`` of a model that `find_model` takes from Hugging Face; None for any other."""
    from gvtzoo.hub.huggingface import REPOSITORY

    match = REPOSITORY.fullmatch(str(name))
    if match is None or Path(name).exists() or BIOIMAGEIO_ID.fullmatch(str(name)):
        return None
    return match[1]


def _downloaded(text: str, near: str) -> Path:
    from gvtzoo.hub.huggingface import REPOSITORY, download

    if ADDRESS.fullmatch(text) or BIOIMAGEIO_ID.fullmatch(text):
        from gvtzoo.hub.collection import download_package

        return download_package(text)
    if not REPOSITORY.fullmatch(text):
        raise GvtzooError(
            f"there is no model {text!r}: `gvtzoo list` shows the zoo's, ORG/NAME is one on "
            "Hugging Face"
        )
    try:
        return download(text)
    except GvtzooError as error:
        if not near:
            raise
        raise GvtzooError(f"{error}; did you mean {near}?") from error


def absent_entry(name: str) -> Entry | None:
    """The index's entry of a model of the zoo that is not here; None for any other name."""
    if Path(name).exists() or name in local_models():
        return None
    return read_index().get(name)


def suggestion(text: str, names: Iterable[str]) -> str:
    """The name that is nearly `text`'s last part, or has it in it; empty when there is none."""
    return nearest(text.partition("@")[0].rpartition("/")[2], names)
