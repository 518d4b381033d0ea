"""A scale bar on an image that matplotlib draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gvtzoo.images.calibration import round_length, symbol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FONT_SIZE = 8
SHADE = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1}


def draw_scale_bar(axes: Axes, pixel_size: float | None, unit: str | None) -> None:
    """A white bar of a round length in the lower left corner.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Shows an image, one unit a pixel.
    pixel_size : float, optional
        Of a pixel along x; without it no bar is drawn.
    unit : str, optional
        Of `pixel_size`.
    """
    if not pixel_size or not unit:
        return
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width, height = right - left, bottom - top
    length = round_length(width * pixel_size)
    start, level = left + 0.05 * width, bottom - 0.06 * height
    ends = (start, start + length / pixel_size)
    for color, thickness in (("black", 5), ("white", 2.5)):
        axes.plot(ends, (level, level), color=color, linewidth=thickness, solid_capstyle="butt")
    axes.text(
        start,
        level - 0.035 * height,
        f"{length:g} {symbol(unit)}",
        color="white",
        fontsize=FONT_SIZE,
        va="bottom",
        bbox=SHADE,
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
