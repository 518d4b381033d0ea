"""The page of a transfer: every model on every data set, as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gvtzoo.evaluation.transfer import Transfer
from gvtzoo.metrics.metric_info import describe
from gvtzoo.report.page import PAGE, TRANSFER_PAGE, number
from gvtzoo.report.picture import picture
from gvtzoo.report.study import Study, StudyTable, write_study


def write_transfer_page(
    found: Transfer, folder: Path, metrics: Sequence[str], *, files: dict[str, str]
) -> Path:
    """Write ``transfer.html`` beside the evaluation's report.

    Parameters
    ----------
    found : Transfer
    folder : Path
        Of the evaluation.
    metrics : sequence of str
        A matrix for each.
    files : dict of str to str
        Names of further files beside the page, with a description.
    """
    from gvtzoo.report.figures import transfer_matrix

    tables, drawn = [], []
    for metric in metrics:
        info, matrix = describe(metric), found.matrix(metric)
        title = f"{info.label} {info.arrow}".strip()
        rows = [
            (model, *map(number, map(float, row)))
            for model, row in zip(found.models, matrix, strict=True)
        ]
        tables.append(StudyTable(title, ("Model", *found.data_sets), rows))
        drawn.append(
            picture(
                partial(transfer_matrix, found.models, found.data_sets, matrix, metric),
                f"{info.label} of every model (rows) on every data set (columns), as colours; the "
                "numbers are in the table.",
                title,
            )
        )
    counts = {
        name: len(found.evaluation.of(found.models[0], None, name)) for name in found.data_sets
    }
    sentences = [_best(found, metrics[0], name) for name in found.data_sets]
    if 1 in counts.values():
        sentences.append("One image of a data set proves nothing: another may differ.")
    study = Study(
        title="Every model on every data set",
        generator="gvtzoo transfer",
        command=found.evaluation.command,
        facts={
            "Models": ", ".join(found.models),
            "Data sets": ", ".join(
                f"{name} ({n} image{'s' * (n > 1)})" for name, n in counts.items()
            ),
        },
        sentences=sentences,
        tables=tables,
        notes=[
            "Means over the images of a data set. Whether a difference is more than chance, "
            f"{PAGE} says, with intervals and tests.",
        ],
        figures=[shown for shown in drawn if shown],
        files={PAGE: "the report, with every image", **files},
    )
    return write_study(study, folder / TRANSFER_PAGE)


def _best(found: Transfer, metric: str, data_set: str) -> str:
    """Which model is the best one on a data set."""
    info = describe(metric)
    values = found.matrix(metric)[:, found.data_sets.index(data_set)]
    place = int(np.nanargmin(values) if info.better == "lower" else np.nanargmax(values))
    return (
        f"On {data_set}, {found.models[place]} has the best mean {info.label}: "
        f"{number(float(values[place]))}."
    )
