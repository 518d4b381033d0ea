"""How figures look: colours, names as labels, and SVG for light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec
from urllib.parse import quote

import matplotlib
from matplotlib.figure import Figure

# Okabe & Ito's colours, which people with colour-blindness tell apart, without yellow and black.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
TRUTH = "#7f7f7f"
INK, INK_IN_THE_DARK = "#16202a", "#e6ebf0"
LABEL_WIDTH, LONGEST_LABEL = 36, 160  # characters
SMALL = 8  # points
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": SMALL + 0.5,
    "grid.color": TRUTH,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
}
SVG: dict[Any, Any] = {"svg.fonttype": "path", "svg.hashsalt": "gvtzoo"}

Arguments = ParamSpec("Arguments")


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """A function that draws in our style, whatever the user's is."""

    @wraps(draw)
    def inner(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}):
            return draw(*args, **kwargs)

    return inner


def colors_of(models: Sequence[str]) -> dict[str, str]:
    """A colour for each model, by its place; after six they come again."""
    return {model: COLORS[number % len(COLORS)] for number, model in enumerate(models)}


def label_of(name: str, width: int = LABEL_WIDTH) -> str:
    """A name as matplotlib shows it as it is: whole, without mathematics or control characters.

    It is in lines of at most `width` characters; of absurdly long ones the middle is left out.
    """
    from textwrap import wrap

    shown = "".join(letter if letter.isprintable() else "�" for letter in name)
    if len(shown) > LONGEST_LABEL:
        half = (LONGEST_LABEL - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    shown = "\n".join(wrap(shown, width)).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def lines_of(labels: Sequence[str]) -> int:
    """How many lines labels have when they stand below each other."""
    return sum(label.count("\n") + 1 for label in labels)


def columns_for(labels: Sequence[str], width: float) -> int:
    """Of a legend that is not wider than a figure of `width` inches."""
    longest = max((len(line) for label in labels for line in label.split("\n")), default=1)
    return max(1, min(len(labels), int(width * 13.5 / (longest + 7))))


def to_svg(figure: Figure) -> str:
    """SVG whose ink is dark on light pages and light on dark ones; the same for the same figure."""
    file = io.StringIO()
    with matplotlib.rc_context(SVG):
        figure.savefig(
            file, format="svg", facecolor="none", metadata={"Date": None, "Creator": None}
        )
    svg = file.getvalue().replace(INK, "var(--ink)")
    style = (
        f"<style>svg{{--ink:{INK}}}"
        f"@media screen and (prefers-color-scheme:dark){{svg{{--ink:{INK_IN_THE_DARK}}}}}</style>"
    )
    start = svg.index("<svg")
    return svg[start:].replace("<defs>", f"<defs>{style}", 1)


def svg_address(svg: str) -> str:
    """The image as a ``data:`` address."""
    return "data:image/svg+xml," + quote(svg, safe=" !$&'()*+,-./:;=?@[]_`{|}~")
