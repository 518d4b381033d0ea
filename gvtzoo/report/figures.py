"""The figures of an evaluation, one function each.

They are those of the paper (Wang, Xie & Ji, Nature Machine Intelligence 2021), and what one asks
beyond. All return matplotlib figures; the same model has the same colour in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.results import ComparisonRow, Evaluation, Histogram, ImageResult
from gvtzoo.evaluation.sweep import WAYS, SweepRow
from gvtzoo.metrics.metric_info import describe, has_winner
from gvtzoo.report.panels import image_panel
from gvtzoo.report.style import (
    COLORS,
    INK,
    SMALL,
    TRUTH,
    colors_of,
    columns_for,
    label_of,
    lines_of,
    styled,
)

__all__ = [
    "box_and_whiskers",
    "calibration_curve",
    "image_panel",
    "intensity_histograms",
    "metric_by_condition",
    "paired_differences",
    "sweep_curve",
    "transfer_matrix",
]

WIDTH = 6.6  # inches
DASHES, MARKERS = ("-", "--", ":", "-."), "os^vDP*"


@dataclass(frozen=True)
class Group:
    """Images that are looked at together: of one structure, else of one condition, else all."""

    name: str
    condition: str = ""
    structure: str = ""

    def holds(self, row: ImageResult) -> bool:
        """Whether an image belongs to the group."""
        return self.condition in ("", row.condition) and self.structure in ("", row.structure)

    def compared(
        self, evaluation: Evaluation, metric: str, first: str, second: str
    ) -> ComparisonRow | None:
        """The comparison of two models in this group, if there is one.

        Parameters
        ----------
        evaluation : Evaluation
        metric : str
        first, second : str
            Names of the models, in the order in which they were compared.
        """
        return next(
            (
                row
                for row in evaluation.comparisons
                if (row.metric, row.first, row.second) == (metric, first, second)
                and (row.condition, row.structure) == (self.condition, self.structure)
            ),
            None,
        )


def groups_of(evaluation: Evaluation) -> list[Group]:
    """Structures if there are several, else conditions if there are, else one group."""
    if len(evaluation.structures) > 1:
        return [Group(name, structure=name) for name in evaluation.structures]
    if len(evaluation.conditions) > 1:
        return [Group(name, condition=name) for name in evaluation.conditions]
    return [Group("")]


@styled
def box_and_whiskers(evaluation: Evaluation, metric: str) -> Figure:
    """A box for each model in each structure (or condition); dots are images (paper, Fig. 2b).

    Boxes go from the lower to the upper quartile, with a line at the median; whiskers to the last
    image within 1.5 times the box's length. On the right is the one-tailed paired t-test's p value
    of the first model against each other, corrected for the number of tests.

    Parameters
    ----------
    evaluation : Evaluation
    metric : str
        Values that are not finite are left out.

    Raises
    ------
    GvtzooError
        When no image has a finite value of the metric.
    """
    models, groups = evaluation.models, groups_of(evaluation)
    _check_metric(evaluation, metric)
    step = len(models) + 0.8
    height = 0.27 * step * len(groups) + 0.9 + 0.2 * _legend_lines(models)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    generator = np.random.default_rng(0)
    for number, group in enumerate(groups):
        for row, model in enumerate(models):
            place = number * step + row
            values = _values(evaluation.of(model), metric, group)
            _draw_box(axes, place, values, colors_of(models)[model], generator)
            found = group.compared(evaluation, metric, models[0], model)
            if found and has_winner(metric) and np.isfinite(found.t_p_holm):
                _beside(axes, place, p_text(found.t_p_holm))
    middles = [number * step + (len(models) - 1) / 2 for number in range(len(groups))]
    axes.set_yticks(middles, [label_of(group.name, 24) for group in groups])
    axes.set_ylim(len(groups) * step - 0.9, -0.9)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(_axis_label(metric))
    axes.grid(axis="x")
    _model_legend(figure, models)
    return figure


@styled
def metric_by_condition(evaluation: Evaluation, metric: str) -> Figure:
    """Mean and bootstrap interval of each model in each condition (paper, Fig. 3 and 4).

    Raises
    ------
    GvtzooError
        When there is no finite summary of the metric by condition.
    """
    models, conditions = evaluation.models, evaluation.conditions
    known = {
        (row.model, row.condition): row
        for row in evaluation.summaries
        if row.metric == metric and row.structure == "" and row.condition in conditions
        if np.isfinite(row.mean)
    }
    if not known:
        raise GvtzooError(f"there is no finite {metric!r} by condition to draw")
    labels = [label_of(name, 24) for name in conditions]
    figure = Figure(figsize=(WIDTH, 3.6 + 0.2 * _legend_lines(models)), layout="constrained")
    axes = figure.subplots()
    for number, model in enumerate(models):
        shift = 0.12 * (number - (len(models) - 1) / 2)
        rows = [
            (place + shift, known[model, name])
            for place, name in enumerate(conditions)
            if (model, name) in known
        ]
        if not rows:
            continue
        means = np.array([row.mean for _, row in rows])
        ends = np.array([(row.low, row.high) for _, row in rows]).T
        reach = np.nan_to_num(np.maximum([means - ends[0], ends[1] - means], 0))
        places = [place for place, _ in rows]
        color = colors_of(models)[model]
        axes.errorbar(places, means, reach, color=color, marker="o", capsize=3, linewidth=1.5)
    turned = sum(map(len, labels)) > 70
    axes.set_xticks(
        range(len(conditions)),
        labels,
        rotation=30 if turned else 0,
        ha="right" if turned else "center",
    )
    axes.set_xlim(-0.6, len(conditions) - 0.4)
    axes.set_ylabel(_axis_label(metric))
    axes.grid(axis="y")
    _model_legend(figure, models)
    return figure


@styled
def paired_differences(evaluation: Evaluation, metric: str, first: str, second: str) -> Figure:
    """A line for each image between two models, in the colour of the better; the mean is black.

    Parameters
    ----------
    evaluation : Evaluation
    metric : str
    first, second : str
        Names of models.

    Raises
    ------
    GvtzooError
        When no image has a finite value of both models.
    """
    pairs = _pairs(evaluation, metric, first, second)
    if not pairs:
        raise GvtzooError(f"{first} and {second} have no image with finite {metric!r} in common")
    sign = -1 if describe(metric).better == "lower" else 1
    colors = colors_of(evaluation.models)
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    for values in pairs:
        better = first if sign * (values[0] - values[1]) > 0 else second
        color = TRUTH if values[0] == values[1] else colors[better]
        axes.plot((0, 1), values, color=color, marker="o", markersize=4, linewidth=1, alpha=0.7)
    axes.plot((0, 1), np.mean(pairs, axis=0), color=INK, marker="D", markersize=6, linewidth=2.5)
    axes.set_xticks((0, 1), [label_of(name, 22) for name in (first, second)])
    axes.set_xlim(-0.35, 1.35)
    axes.set_ylabel(_axis_label(metric))
    axes.grid(axis="y")
    count = sum(sign * (a - b) > 0 for a, b in pairs)
    axes.set_title(f"the first is better in {count} of {len(pairs)} images", fontsize=SMALL + 1)
    return figure


@styled
def intensity_histograms(evaluation: Evaluation) -> Figure:
    """How intensities of truth and predictions are distributed, for each condition.

    Raises
    ------
    GvtzooError
        When the evaluation has no histograms.
    """
    if not evaluation.histograms:
        raise GvtzooError("the evaluation has no histograms to draw")
    conditions = list(dict.fromkeys(row.condition for row in evaluation.histograms))
    titles = [label_of(name, 30) for name in conditions]
    columns = min(len(conditions), 3 if max(map(len, titles)) < 18 else 2)
    lines = -(-len(conditions) // columns)
    models = [
        model
        for model in evaluation.models
        if any(row.model == model for row in evaluation.histograms)
    ]
    figure = Figure(
        figsize=(WIDTH, (2.2 if columns > 1 else 3) * lines + 0.5 + 0.2 * _legend_lines(models)),
        layout="constrained",
    )
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes, condition, title in zip_longest(panels.flat, conditions, titles):
        if condition is None:
            axes.set_visible(False)
            continue
        for row in evaluation.histograms:
            if row.condition == condition:
                _draw_histogram(axes, row, colors_of(evaluation.models))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_title(title)
    figure.supxlabel("intensity less its mean (share of the truth’s range)", fontsize=9.5)
    figure.supylabel("share of voxels", fontsize=9.5)
    truth = [Patch(facecolor=TRUTH, alpha=0.4, label="truth")]
    _model_legend(figure, models, colors=colors_of(evaluation.models), others=truth)
    return figure


@styled
def calibration_curve(evaluation: Evaluation) -> Figure:
    """How well σ says the error: coverage of intervals, and the mean error against σ.

    On the dashed diagonals σ is right. Dashes and markers tell conditions apart.

    Raises
    ------
    GvtzooError
        When no model gives σ.
    """
    rows = [row for row in evaluation.calibrations if row.model in evaluation.models]
    if not rows:
        raise GvtzooError("no model gives σ: there is no calibration to draw")
    models = [model for model in evaluation.models if any(row.model == model for row in rows)]
    conditions = list(dict.fromkeys(row.condition for row in rows))
    lines: dict[str, Any] = {
        name: {
            "linestyle": DASHES[place % len(DASHES)],
            "marker": MARKERS[place % len(MARKERS)],
            "markersize": 4,
        }
        for place, name in enumerate(conditions)
    }
    figure = Figure(
        figsize=(WIDTH, 4 + 0.2 * max(_legend_lines(models), _legend_lines(conditions))),
        layout="constrained",
    )
    coverage, error = figure.subplots(1, 2)
    for row in rows:
        style = {"color": colors_of(evaluation.models)[row.model], **lines[row.condition]}
        coverage.plot(row.nominal, row.observed, **style)
        error.plot(row.sigma, row.error, **style)
    coverage.plot((0, 1), (0, 1), color=INK, linestyle=(0, (4, 4)), linewidth=1)
    coverage.set_xlim(0, 1.03)
    coverage.set_ylim(0, 1.03)
    _compare_logarithmically(error, [v for row in rows for v in (*row.sigma, *row.error)])
    for axes in (coverage, error):
        axes.set_aspect("equal")
        axes.grid()
    coverage.set_xlabel("coverage that σ promises")
    coverage.set_ylabel("coverage that is observed")
    error.set_xlabel("σ (in the image’s units)")
    error.set_ylabel("mean absolute error")
    told = [
        Line2D([], [], color=INK, label=label_of(name or "all"), **lines[name])
        for name in conditions
    ]
    others = told if len(conditions) > 1 else []
    _model_legend(figure, models, colors=colors_of(evaluation.models), others=others)
    return figure


@styled
def sweep_curve(
    rows: Sequence[SweepRow] | Mapping[str, Sequence[SweepRow]], metric: str = "ssim"
) -> Figure:
    """A metric against the size of tiles, with the whole image last (paper, Fig. 3d).

    Parameters
    ----------
    rows : sequence of SweepRow, or mapping of labels to them
        A line for each method in the sequence, or for each label. Rows of the whole image belong
        to all methods.
    metric : str
        Of the rows' metrics against the truth; ``"pearson_r"`` and ``"max_difference"`` are against
        the prediction of the whole image.

    Raises
    ------
    GvtzooError
        When no row has the metric.
    """
    methods = rows if isinstance(rows, Mapping) else _by_method(rows)
    sizes = sorted(
        {row.tile for part in methods.values() for row in part if row.tile},
        key=lambda tile: (np.prod(tile), tile),
    )
    places = {tile: place for place, tile in enumerate(sizes)} | {None: len(sizes)}
    figure = Figure(figsize=(WIDTH, 3.6 + 0.2 * _legend_lines(methods)), layout="constrained")
    axes = figure.subplots()
    drawn = False
    for part, color in zip(methods.values(), colors_of(list(methods)).values(), strict=True):
        points = sorted(
            (places[row.tile], value)
            for row in part
            if np.isfinite(value := _sweep_value(row, metric))
        )
        if points:
            axes.plot(*zip(*points, strict=True), color=color, marker="o", linewidth=1.5)
            drawn = True
    if not drawn:
        raise GvtzooError(f"no size of tiles has a finite {metric!r}")
    labels = ["×".join(map(str, size)) for size in sizes] + ["whole"]
    turned = sum(map(len, labels)) > 70
    axes.set_xticks(
        range(len(labels)), labels, rotation=30 if turned else 0, ha="right" if turned else "center"
    )
    axes.set_xlim(-0.5, len(sizes) + 0.5)
    order = {2: "y×x", 3: "z×y×x"}.get(len(sizes[0]) if sizes else 0, "")
    axes.set_xlabel(f"tile size (voxels, {order})" if order else "tile size (voxels)")
    axes.set_ylabel(_SWEEP_LABELS.get(metric) or _axis_label(metric))
    axes.grid(axis="y")
    if len(methods) > 1:
        _model_legend(figure, list(methods))
    return figure


@styled
def transfer_matrix(
    models: Sequence[str], data_sets: Sequence[str], values: np.ndarray, metric: str
) -> Figure:
    """A heat map of models (rows) on data sets (columns), with the numbers (paper, Fig. 5).

    Parameters
    ----------
    models, data_sets : sequence of str
    values : ndarray, shape (models, data sets)
        What is not finite is left empty.
    metric : str

    Raises
    ------
    GvtzooError
        When the shape does not fit the names.
    """
    values = np.asarray(values, float)
    if values.shape != (len(models), len(data_sets)):
        raise GvtzooError(
            f"{len(models)} models on {len(data_sets)} data sets, but values of shape "
            f"{values.shape}"
        )
    rows, columns = ([label_of(name, 30) for name in names] for names in (models, data_sets))
    margin = 0.09 * max(len(line) for row in rows for line in row.split("\n"))
    size = (2.2 + margin + 0.75 * len(columns), 1.9 + 0.45 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    lower = describe(metric).better == "lower"
    shown = axes.imshow(
        np.ma.masked_invalid(values), cmap="viridis_r" if lower else "viridis", aspect="auto"
    )
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = shown.cmap(shown.norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            color = "white" if dark else "black"
            axes.text(column, row, f"{value:#.3g}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("data")
    axes.set_ylabel("model")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(shown, ax=axes, label=_axis_label(metric))
    return figure


def p_text(p: float) -> str:
    """Such as ``p = 0.012``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


_SWEEP_LABELS = {
    "pearson_r": "Pearson r with the whole image’s",
    "max_difference": "largest difference to the whole image’s",
}


def _by_method(rows: Sequence[SweepRow]) -> dict[str, list[SweepRow]]:
    whole = [row for row in rows if row.tile is None]
    tiled = [row for row in rows if row.tile is not None]
    methods = dict.fromkeys(row.method for row in tiled) or {"whole": None}
    return {
        WAYS[method]: [row for row in tiled if row.method == method] + whole for method in methods
    }


def _sweep_value(row: SweepRow, metric: str) -> float:
    own = {"pearson_r": row.pearson_r, "max_difference": row.max_difference}
    return float({**own, **row.metrics}.get(metric, np.nan))


def _check_metric(evaluation: Evaluation, metric: str) -> None:
    if not any(_values([row], metric, Group("")) for row in evaluation.results):
        raise GvtzooError(f"no image has a finite {metric!r}")


def _values(rows: Iterable[ImageResult], metric: str, group: Group) -> list[float]:
    found = (row.metrics.get(metric, np.nan) for row in rows if group.holds(row))
    return [value for value in found if np.isfinite(value)]


def _pairs(
    evaluation: Evaluation, metric: str, first: str, second: str
) -> list[tuple[float, float]]:
    known = {
        model: {
            (row.structure, row.condition, row.image): row.metrics.get(metric, np.nan)
            for row in evaluation.of(model)
        }
        for model in (first, second)
    }
    pairs = [(value, known[second].get(key, np.nan)) for key, value in known[first].items()]
    return [pair for pair in pairs if np.isfinite(pair).all()]


def _draw_box(
    axes: Axes, place: float, values: Sequence[float], color: str, generator: np.random.Generator
) -> None:
    """A horizontal box, its whiskers, and a dot for each value."""
    if not values:
        return
    if len(values) > 2:
        low, middle, high = np.percentile(values, (25, 50, 75))
        reach = 1.5 * (high - low)
        inside = [value for value in values if low - reach <= value <= high + reach]
        style: dict[str, Any] = {"color": color, "linewidth": 1.3}
        axes.hlines(place, min(inside), low, **style)
        axes.hlines(place, high, max(inside), **style)
        axes.vlines((min(inside), max(inside)), place - 0.15, place + 0.15, **style)
        axes.barh(
            place,
            high - low,
            left=low,
            height=0.64,
            facecolor=(*_rgb(color), 0.25),
            edgecolor=color,
            linewidth=1.3,
        )
        axes.vlines(middle, place - 0.32, place + 0.32, color=color, linewidth=2.6)
    places = place + generator.uniform(-0.22, 0.22, len(values))
    axes.scatter(values, places, s=11, color=color, edgecolor="none", alpha=0.75, zorder=3)


def _rgb(color: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def _beside(axes: Axes, place: float, text: str) -> None:
    """A text to the right of the axes."""
    axes.text(1.01, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)


def _draw_histogram(axes: Axes, row: Histogram, colors: Mapping[str, str]) -> None:
    shares = np.array(row.shares, float)
    if row.model:
        axes.stairs(shares, row.edges, color=colors.get(row.model, COLORS[0]), linewidth=1.5)
    else:
        axes.stairs(shares, row.edges, color=TRUTH, alpha=0.4, fill=True)


def _compare_logarithmically(axes: Axes, values: Sequence[float]) -> None:
    """The same logarithmic axes for both, with a diagonal."""
    positive = [value for value in values if np.isfinite(value) and value > 0] or [1.0]
    ends = min(positive) / 1.2, max(positive) * 1.2
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ends[1] < 30 * ends[0] else (1,)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    axes.plot(ends, ends, color=INK, linestyle=(0, (4, 4)), linewidth=1)


def _model_legend(
    figure: Figure,
    models: Sequence[str],
    *,
    colors: Mapping[str, str] | None = None,
    others: Sequence[Patch | Line2D] = (),
) -> None:
    colors = colors or colors_of(models)
    handles = [
        *(Patch(facecolor=colors[model], label=label_of(model)) for model in models),
        *others,
    ]
    labels = [str(handle.get_label()) for handle in handles]
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns_for(labels, figure.get_size_inches()[0]),
    )


def _legend_lines(names: Iterable[str]) -> int:
    return lines_of([label_of(name) for name in names])


def _axis_label(metric: str) -> str:
    text = describe(metric)
    return f"{label_of(text.label)} ({text.better} is better)" if text.better else text.label
