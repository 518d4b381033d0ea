"""From a model's name to its package.

A name is, in this order: a path that exists; the name of a model that comes with gvtzoo;
``ORG/NAME[@revision]`` on Hugging Face; an id of bioimage.io (``affable-shark``, or a DOI) or an
address (``https://…``) of a description or package.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from gvtzoo.errors import GvtzooError
from gvtzoo.resources import zoo_folder

PACKAGE_NAME = "model.zip"

ADDRESS = re.compile(r"https?://\S+")
BIOIMAGEIO_ID = re.compile(r"[a-z]+-[a-z]+|10\.\d{4,9}/\S+")
FILE_SUFFIXES = (".zip", ".yaml", ".yml")


def bundled_models() -> dict[str, Path]:
    """Packages of the models that come with gvtzoo, by name."""
    return {path.parent.name: path for path in sorted(zoo_folder().glob(f"*/{PACKAGE_NAME}"))}


def find_model(name: str | Path) -> Path:
    """The package of a model, downloaded where it has to be.

    Parameters
    ----------
    name : str or path
        An existing path; the name of a bundled model; ``ORG/NAME[@revision]`` on Hugging Face;
        an id of bioimage.io, or an address. The first that fits.

    Returns
    -------
    Path
        Of a zip, a folder, or a description in its folder.

    Raises
    ------
    GvtzooError
        When there is none; a name that is nearly right is suggested.
    """
    from gvtzoo.hub.huggingface import REPOSITORY, download

    path, text = Path(name), str(name)
    if path.exists():
        return path
    bundled = bundled_models()
    if text in bundled:
        return bundled[text]
    is_address = ADDRESS.fullmatch(text) is not None
    if isinstance(name, Path) or (text.endswith(FILE_SUFFIXES) and not is_address):
        raise GvtzooError(f"{text} does not exist")
    near = difflib.get_close_matches(text.rpartition("/")[2], bundled, n=1)
    if near and "/" not in text:
        raise GvtzooError(f"there is no model {text!r}: did you mean {near[0]}?")
    if is_address or BIOIMAGEIO_ID.fullmatch(text):
        from gvtzoo.hub.collection import download_package

        return download_package(text)
    if REPOSITORY.fullmatch(text):
        try:
            return download(text)
        except GvtzooError as error:
            if not near:
                raise
            raise GvtzooError(f"{error}; {near[0]} comes with gvtzoo") from error
    raise GvtzooError(
        f"there is no model {text!r}: `gvtzoo list` shows those that come with gvtzoo, ORG/NAME "
        "is one on Hugging Face"
    )
