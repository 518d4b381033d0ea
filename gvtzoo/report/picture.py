"""A figure as a page shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS_PER_INCH = 96  # of CSS


@dataclass(frozen=True)
class Picture:
    """A figure on a page; `address` holds all of it."""

    address: str
    width: int
    height: int
    alt: str
    caption: str


def picture(draw: Callable[[], Figure], alt: str, caption: str) -> Picture | None:
    """None where there is nothing to draw.

    Parameters
    ----------
    draw : callable
        Makes the figure; a `GvtzooError` says that there is nothing to draw.
    alt, caption : str
        For those who do not see it, and for all.
    """
    from gvtzoo.report.style import svg_address, to_svg

    try:
        figure = draw()
    except GvtzooError:
        return None
    width, height = (round(PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    return Picture(svg_address(to_svg(figure)), width, height, alt, caption)
