"""Client packages of the zoo's models, made from what the zoo keeps of their training images.

Beside a model's package lies ``attention.safetensors``, the operators' matrices and the
normalization, a hundredth of the package; the client package is made of both when it is wanted.
"""

from __future__ import annotations

from pathlib import Path

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.resources import zoo_folder
from gvtzoo.hub.installed import models_folder
from gvtzoo.hub.registry import bundled_models

ATTENTION_FILE = "attention.safetensors"


def attention_file(name: str) -> Path | None:
    """What the zoo keeps of a model's training images, or None."""
    path = zoo_folder() / name / ATTENTION_FILE
    return path if path.is_file() and name in bundled_models() else None


def has_client(name: str) -> bool:
    """Whether there is a client package of a model of the zoo."""
    return attention_file(name) is not None


def client_package(name: str, output: str | Path | None = None, *, overwrite: bool = False) -> Path:
    """The client package of a model of the zoo.

    Parameters
    ----------
    name : str
        Of the model, with or without ``-client``.
    output : path, optional
        Of the zip; by default in the models folder, where commands find it by name.
    overwrite : bool

    Raises
    ------
    GvtzooError
        When there is none, or the output exists.
    """
    from gvtzoo.networks.fixed_attention import load_constants
    from gvtzoo.packages.client_package import SUFFIX, write_client_package

    model = name.removesuffix(SUFFIX)
    kept = attention_file(model)
    if kept is None:
        raise GvtzooError(
            f"there is no client package of {model}: make one of an image of yours by "
            f"`gvtzoo package {model} --attention-from image.tif -o {model}{SUFFIX}.zip`"
        )
    target = models_folder() / f"{model}{SUFFIX}.zip" if output is None else Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    return write_client_package(
        bundled_models()[model], load_constants(kept), target, overwrite=overwrite
    )
