"""One picture of a crop: the input, and of each model the prediction and its σ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gvtzoo.images.scale_bar import draw_scale_bar
from gvtzoo.report.style import SMALL, label_of, styled

PERCENTILES = (0.1, 99.9)
COLUMN = 3.2  # inches
TITLE, GAP = 0.42, 0.1  # inches
LETTERS = 34  # of a title


@dataclass(frozen=True)
class Previewed:
    """What a model makes of the crop.

    Attributes
    ----------
    name : str
    plane : ndarray, shape (y, x)
    sigma : ndarray, shape (y, x), optional
    same_units : bool
        Whether the prediction is in the input's units, so that it can have its contrast.
    """

    name: str
    plane: np.ndarray
    sigma: np.ndarray | None = None
    same_units: bool = True


@styled
def draw_preview(
    source: np.ndarray,
    found: Sequence[Previewed],
    *,
    title: str = "input",
    pixel_size: float | None = None,
    unit: str | None = None,
) -> Figure:
    """The input, then every prediction, in the same contrast where units are the same.

    That contrast is the 0.1 and 99.9 percentiles of the first prediction in the input's units;
    other images have their own. Below are the σ of models that give one, all in one scale.

    Parameters
    ----------
    source : ndarray, shape (y, x)
    found : sequence of Previewed
    title : str
        Of the input.
    pixel_size : float, optional
        Along x, in `unit`; without it there is no scale bar.
    unit : str, optional
    """
    sigmas = [each.sigma for each in found if each.sigma is not None]
    columns, rows = 1 + len(found), 2 if sigmas else 1
    height = COLUMN * source.shape[0] / source.shape[1]
    size = columns * (COLUMN + GAP) + GAP, rows * (height + TITLE) + GAP
    figure = Figure(figsize=size)

    def place(column: int, row: int) -> Axes:
        left = GAP + column * (COLUMN + GAP)
        bottom = size[1] - (row + 1) * (height + TITLE)
        return figure.add_axes(
            (left / size[0], bottom / size[1], COLUMN / size[0], height / size[1])
        )

    shared = next((_limits(each.plane) for each in found if each.same_units), None)
    axes = place(0, 0)
    _show(axes, source, "gray", shared or _limits(source), title)
    draw_scale_bar(axes, pixel_size, unit)
    widest = max((float(np.percentile(sigma, PERCENTILES[1])) for sigma in sigmas), default=1.0)
    for column, each in enumerate(found, start=1):
        own = None if each.same_units else _limits(each.plane)
        name = label_of(each.name, LETTERS)
        text = name if own is None else f"{name}\n(its own contrast)"
        _show(place(column, 0), each.plane, "gray", own or shared or _limits(each.plane), text)
        if each.sigma is not None:
            label = f"σ, 0 to {widest:.3g}"
            _show(place(column, 1), each.sigma, "magma", (0, widest), label)
    return figure


def _limits(plane: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(plane, PERCENTILES)
    return float(low), float(high)


def _show(
    axes: Axes, plane: np.ndarray, colors: str, limits: tuple[float, float], title: str
) -> None:
    low, high = limits
    axes.imshow(
        plane.astype(np.float32),
        cmap=colors,
        vmin=low,
        vmax=high if high > low else low + 1,
        interpolation="none",
        aspect="auto",
    )
    axes.set_axis_off()
    axes.set_title(title, fontsize=SMALL + 1, pad=3)
