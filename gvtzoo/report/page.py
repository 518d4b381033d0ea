"""The report of an evaluation: one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.evaluation.folder import METRICS, RESULT, SUMMARY, write_text
from gvtzoo.evaluation.results import (
    ComparisonRow,
    Evaluation,
    ImageResult,
    Seen,
    SummaryRow,
    truth_of,
)
from gvtzoo.evaluation.statistics import FEWEST
from gvtzoo.metrics.metric_info import describe, has_winner
from gvtzoo.report.images import (
    ranked_images,
    ranking_metric,
    read_pair,
    same_pair,
)
from gvtzoo.report.picture import Picture, picture
from gvtzoo.report.templates import fill, page_style, policy, template

PAGE, TRANSFER_PAGE = "index.html", "transfer.html"
DOWNLOADS = {
    TRANSFER_PAGE: "every model on every data set",
    RESULT: "everything on this page as JSON",
    METRICS: "metrics of each image",
    SUMMARY: "the summary",
}
MAIN_METRICS = ("ssim", "r", "nrmse", "psnr")  # the paper's; drawn first
SEEN_AS: dict[Seen, str] = {
    "": "",
    "train": "trained on",
    "val": "chose the weights",
    "part": "same file, other part",
}


@dataclass(frozen=True)
class Cell:
    """A metric of a model over images, in words; of one image there is no spread."""

    mean: str
    spread: str
    interval: str
    best: bool


@dataclass(frozen=True)
class SummaryTable:
    """A row for each metric, with a cell for each model; None where nothing is known."""

    title: str
    rows: dict[str, list[Cell | None]]


def write_result(folder: Path, evaluation: Evaluation) -> Path:
    """The evaluation as JSON and CSV tables, and its report; the report's path."""
    write_text(folder / RESULT, evaluation.model_dump_json(indent=1) + "\n")
    write_text(folder / METRICS, evaluation.table())
    write_text(folder / SUMMARY, evaluation.summary_table())
    return write_report(evaluation, folder)


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write the page; an earlier one is replaced.

    Parameters
    ----------
    evaluation : Evaluation
        What it has nothing about is left out, and so are image files that are not there.
    folder : Path
        Of the evaluation. Links lead to its ``evaluation.json``, ``metrics.csv`` and
        ``summary.csv``, those that are there already.

    Returns
    -------
    Path
        Of ``index.html``.
    """
    folder = Path(folder)
    html = render(evaluation, folder)
    with write_atomically(folder / PAGE) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    return folder / PAGE


def render(evaluation: Evaluation, folder: Path) -> str:
    """The page's HTML; every text of the evaluation is escaped."""
    from gvtzoo.report.style import colors_of

    ranking = ranking_metric(evaluation)
    main, others = _metrics_to_draw(evaluation)
    script = template("report.js")
    conditions, structures = evaluation.conditions, evaluation.structures
    values = {
        "evaluation": evaluation,
        "style": page_style(),
        "script": script,
        "policy": policy(script),
        "colors": colors_of(evaluation.models),
        "models": _listed(evaluation.models),
        "count": len({_pair(row) for row in evaluation.results}),
        "conditions": conditions if any(conditions) else (),
        "structures": structures if any(structures) else (),
        "describe": describe,
        "explained": [name for name in evaluation.metrics if describe(name).meaning],
        "voxel_size": _voxel_size(evaluation),
        "summary": _summary_tables(evaluation)[:1],
        "parts": _summary_tables(evaluation)[1:],
        "ranking": ranking,
        "caveats": list(evaluation.caveats()),
        "seen": any(row.seen for row in evaluation.results),
        "seen_as": SEEN_AS,
        "truths": len({truth_of(row) for row in evaluation.results}),
        "tests": max((row.tests for row in evaluation.comparisons), default=0),
        "fewest": FEWEST,
        "comparisons": [row for row in evaluation.comparisons if has_winner(row.metric)],
        "main_comparisons": _main_comparisons(evaluation, ranking),
        "figures": _metric_figures(evaluation, main),
        "other_figures": _metric_figures(evaluation, others),
        "differences": _difference_figures(evaluation, ranking),
        "panels": _panels(evaluation, ranking, folder),
        "histograms": _histograms(evaluation),
        "calibration": _calibration(evaluation),
        "downloads": {name: text for name, text in DOWNLOADS.items() if (folder / name).is_file()},
    }
    filters: dict[str, Callable[..., Any]] = {
        "number": number,
        "p": p_value,
        "where": where,
        "sortable": _sortable,
    }
    return fill(template("report.html"), filters, values)


def number(value: float | None, digits: int = 4) -> str:
    """With some significant digits; – where there is none."""
    if value is None or np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, int):
        return str(value)
    if abs(value) >= 1e5:
        text = f"{value:.{digits - 1}e}"
    elif abs(value) >= 10**digits:
        text = f"{value:.0f}"
    else:
        text = f"{value:#.{digits}g}"
    return text.rstrip(".").replace("-", "−")


def p_value(value: float) -> str:
    """Two digits, and not smaller than what a test of few images can say."""
    return "<\u00a00.0001" if value < 0.0001 else number(value, 2)


def where(row: SummaryRow | ComparisonRow | ImageResult) -> str:
    """Structure and condition; empty for all."""
    return ", ".join(part for part in (row.structure, row.condition) if part)


def _sortable(value: float | None) -> str:
    """As the page's script reads it; empty where there is no number."""
    return "" if value is None or np.isnan(value) else repr(float(value))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _voxel_size(evaluation: Evaluation) -> str:
    """Such as ``z 0.29, y 0.26, x 0.26 µm``; empty where it is not known."""
    from gvtzoo.images.calibration import symbol

    sizes = evaluation.pixel_size
    named = [f"{axis} {sizes[axis]:.4g}" for axis in "zyx" if axis in sizes]
    return f"{', '.join(named)} {symbol(evaluation.unit or '')}".strip() if named else ""


def _pair(row: ImageResult) -> tuple[str, str, str]:
    return row.structure, row.condition, row.image


def _metrics_to_draw(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    """The paper's metrics, and the others; only those that differ between images."""
    several = any(len(evaluation.of(model)) > 1 for model in evaluation.models)
    known = [
        name
        for name in evaluation.metrics
        if several and any(np.isfinite(row.metrics.get(name, np.nan)) for row in evaluation.results)
    ]
    main = [name for name in MAIN_METRICS if name in known] or known[:4]
    return main, [name for name in known if name not in main]


def _summary_tables(evaluation: Evaluation) -> list[SummaryTable]:
    """Of all images, then of each condition and structure."""
    places = dict.fromkeys((row.structure, row.condition) for row in evaluation.summaries)
    tables = []
    for place in sorted(places, key=lambda place: place != ("", "")):
        rows = {
            (row.model, row.metric): row
            for row in evaluation.summaries
            if (row.structure, row.condition) == place
        }
        title = ", ".join(filter(None, place)) or "All images"
        cells = {
            metric: [_cell(rows, model, metric, evaluation.models) for model in evaluation.models]
            for metric in evaluation.metrics
        }
        tables.append(SummaryTable(title, cells))
    return tables


def _cell(
    rows: dict[tuple[str, str], SummaryRow], model: str, metric: str, models: Sequence[str]
) -> Cell | None:
    row = rows.get((model, metric))
    if row is None:
        return None
    means = [rows[other, metric].mean for other in models if (other, metric) in rows]
    several = row.count > 1
    return Cell(
        mean=number(row.mean),
        spread=f"± {number(row.deviation, 2)}" if several else "",
        interval=f"{number(row.low)} to {number(row.high)}" if several else "",
        best=_is_best(row.mean, means, metric),
    )


def _is_best(mean: float, means: Sequence[float], metric: str) -> bool:
    """Whether it is better than another one, and none is better."""
    better = describe(metric).better
    finite = [value for value in means if np.isfinite(value)]
    if better is None or len(set(finite)) < 2 or not np.isfinite(mean):
        return False
    return mean == (max(finite) if better == "higher" else min(finite))


def _main_comparisons(evaluation: Evaluation, ranking: str | None) -> list[ComparisonRow]:
    """Of all images, by the metric that images are ranked by."""
    return [row for row in evaluation.comparisons if row.metric == ranking and not where(row)]


def _metric_figures(evaluation: Evaluation, metrics: Sequence[str]) -> list[Picture]:
    from gvtzoo.report.figures import box_and_whiskers, metric_by_condition

    pictures = []
    for metric in metrics:
        label = describe(metric).label
        medians = _listed(
            [f"{model} {number(_median(evaluation, model, metric))}" for model in evaluation.models]
        )
        pictures.append(
            picture(
                partial(box_and_whiskers, evaluation, metric),
                f"Box plot of {label}. Medians: {medians}.",
                label,
            )
        )
        if len(evaluation.conditions) > 1:
            pictures.append(
                picture(
                    partial(metric_by_condition, evaluation, metric),
                    f"{label} of each model in the conditions {_listed(evaluation.conditions)}. "
                    "The numbers are in the tables by condition.",
                    f"{label} by condition: means and their bootstrap intervals.",
                )
            )
    return [shown for shown in pictures if shown]


def _median(evaluation: Evaluation, model: str, metric: str) -> float:
    values = [row.metrics.get(metric, np.nan) for row in evaluation.of(model)]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else np.nan


def _difference_figures(evaluation: Evaluation, ranking: str | None) -> list[Picture]:
    """The first model against each other."""
    from gvtzoo.report.figures import paired_differences

    if ranking is None:
        return []
    first, *others = evaluation.models
    pictures = [
        picture(
            partial(paired_differences, evaluation, ranking, first, other),
            f"{describe(ranking).label} of every image for {first} and {other}, joined by lines. "
            "The numbers are in the table of images.",
            f"{describe(ranking).label}: {first} and {other}. A line for each image in the colour "
            "of the better model; thick: the mean.",
        )
        for other in others
        if len(evaluation.of(other)) > 1
    ]
    return [shown for shown in pictures if shown]


def _panels(evaluation: Evaluation, ranking: str | None, folder: Path) -> list[Picture]:
    from gvtzoo.report.figures import image_panel

    pictures = []
    for title, row in ranked_images(evaluation, ranking) if ranking else []:
        rows = same_pair(evaluation, row)
        try:
            images = read_pair(rows, folder)
        except GvtzooError:
            continue
        label = describe(ranking or "").label
        scores = [
            f"{other.model} {number(other.metrics.get(ranking or ''))}"
            for other in rows
            if other.model in images.predictions
        ]
        name = ", ".join(filter(None, (row.image, where(row))))
        shown = "input, truth, predictions and errors" + " and σ" * bool(images.sigmas)
        pictures.append(
            picture(
                partial(
                    image_panel,
                    images.source,
                    images.target,
                    images.predictions,
                    images.sigmas,
                    pixel_size=evaluation.pixel_size,
                    unit=evaluation.unit,
                ),
                f"{title}, {name}: {shown}. {label}: {_listed(scores)}.",
                f"{title}: {name}. {label}: {_listed(scores)}.",
            )
        )
    return [shown for shown in pictures if shown]


def _histograms(evaluation: Evaluation) -> Picture | None:
    from gvtzoo.report.figures import intensity_histograms

    return picture(
        partial(intensity_histograms, evaluation),
        f"Histograms of intensities: the truth and {_listed(evaluation.models)}.",
        "Intensities of the truth and of predictions, which are fitted to it.",
    )


def _calibration(evaluation: Evaluation) -> Picture | None:
    from gvtzoo.report.figures import calibration_curve

    told = [
        f"{', '.join(filter(None, (row.model, row.condition)))}: "
        f"{number(100 * row.observed[-1], 2)} % of the intervals that promise "
        f"{number(100 * row.nominal[-1], 2)} % hold the truth"
        for row in evaluation.calibrations
        if row.nominal
    ]
    fitted = list(dict.fromkeys(row.model for row in evaluation.calibrations if row.fitted))
    note = (
        f" Predictions of {', '.join(fitted)}, and their σ, were first fitted to the truth by an "
        "offset and a factor, since they are not known to have its units."
        if fitted
        else ""
    )
    return picture(
        partial(calibration_curve, evaluation),
        f"Calibration of σ. {'; '.join(told)}.",
        "Left: how many voxels’ truth lies in the intervals that σ gives, against how many "
        "should; below the diagonal, σ is too small. Right: the mean error where σ is of a size."
        + note,
    )
