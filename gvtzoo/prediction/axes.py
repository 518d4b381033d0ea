"""What is said where an image has other axes than the images that a model was trained on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gvtzoo.images.lazy import LazyImage
    from gvtzoo.prediction.part import HasAxes

log = logging.getLogger(__name__)


def unlike_training(model: HasAxes, image: LazyImage, name: str) -> str:
    """What is done with a plane, a stack or a movie that a model was not made for; mostly nothing.

    Parameters
    ----------
    model : Model
    image : LazyImage
        As it was opened.
    name : str
        Of the model.
    """
    sizes = image.sizes
    axes = "".join(image.dims).upper()
    if "z" in model.axes and "z" not in sizes:
        if sizes.get("t", 1) > 1:
            return (
                f"{image.name} has axes {axes} and {name} takes stacks: each of the {sizes['t']} "
                "times is predicted as a stack of one plane; if T is Z, say so with --axes "
                f"{axes.replace('T', 'Z')}"
            )
        return (
            f"{image.name} is a single plane and {name} takes stacks: it is predicted as a stack "
            "of one plane, which the model has not learned from"
        )
    if "z" not in model.axes and "c" not in model.axes and sizes.get("z", 1) > 1:
        return (
            f"{image.name} is a stack and {name} takes planes: its {sizes['z']} planes are "
            "predicted one by one"
        )
    return ""


def tell_axes(model: HasAxes, image: LazyImage, name: str) -> None:
    """Say it, once.

    Parameters
    ----------
    model, image, name
        As of `unlike_training`.
    """
    text = unlike_training(model, image, name)
    if text:
        log.warning("%s", text)
