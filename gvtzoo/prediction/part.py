"""Small parts of an image, to look at a prediction before all of it is made."""

from __future__ import annotations

from typing import Protocol

from gvtzoo.images.lazy import LazyImage
from gvtzoo.prediction.region import inside, parse_region

PLANES = 16  # along z
SIDE = 256  # voxels along y and x


class HasAxes(Protocol):
    """A model, of which only the axes are asked for."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the input's axes, such as z, y, x."""

    @property
    def output_axes(self) -> tuple[str, ...]:
        """Names of the prediction's axes."""


def around(middle: int, length: int, size: int) -> slice:
    """So many voxels around one, or fewer where the axis has not as many.

    Parameters
    ----------
    middle : int
        The voxel.
    length : int
        How many voxels.
    size : int
        Of the axis.
    """
    length = min(length, size)
    start = min(max(middle - length // 2, 0), size - length)
    return slice(start, start + length)


def uncut_axes(model: HasAxes) -> tuple[str, ...]:
    """Axes that a part may not cut: z of a projection, or planes that are channels."""
    if "z" in model.axes and "z" not in model.output_axes:
        return ("z",)
    return ("c", "z") if "c" in model.axes and "z" not in model.axes else ()


def middle_part(image: LazyImage, model: HasAxes) -> dict[str, slice]:
    """A region in the middle of an image that a model predicts in seconds.

    Along axes that the network does not see, such as time, it is the middle one.
    """
    region = {}
    for axis, size in image.sizes.items():
        if axis in uncut_axes(model):
            region[axis] = slice(0, size)
        elif axis in model.axes:
            region[axis] = around(size // 2, PLANES if axis == "z" else SIDE, size)
        else:
            region[axis] = around(size // 2, SIDE if axis in "yx" else 1, size)
    return region


def chosen_part(image: LazyImage, model: HasAxes, text: str) -> dict[str, slice]:
    """As `middle_part`, but along z, y and x what ``z0:z1,y0:y1,x0:x1`` says.

    Parameters
    ----------
    image : LazyImage
    model : HasAxes
        Whose axes are cut.
    text : str
        Such as ``"0:16,100:300,:"``.

    Raises
    ------
    GvtzooError
        When it does not lie in the image.
    """
    middle = middle_part(image, model)
    others = {axis: part for axis, part in middle.items() if axis not in "zyx"}
    return {**others, **inside(image, parse_region(text))}
