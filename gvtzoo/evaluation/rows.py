"""What an evaluation found of one model, as a package's table of metrics holds it."""

from __future__ import annotations

from pathlib import Path

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.results import Evaluation, truth_of
from gvtzoo.recipes.metadata import MetricRow

LABELS = {"r": "r", "nrmse": "NRMSE", "psnr": "PSNR", "ssim": "SSIM"}


def metric_rows(evaluation: Evaluation, weights: str, title: str) -> list[MetricRow]:
    """Means of a model that was evaluated, and of those that it was compared with.

    Parameters
    ----------
    evaluation : Evaluation
    weights : str
        SHA-256 of the model's weights, by which it is told from the others.
    title : str
        What the model is called in the table.

    Raises
    ------
    GvtzooError
        When it was not evaluated, or on images that it was trained on.
    """
    model = next((name for name, digest in evaluation.weights.items() if digest == weights), None)
    if model is None:
        raise GvtzooError(
            f"the evaluation of {', '.join(evaluation.models)} is not one of these weights: "
            "evaluate the run itself, after its training"
        )
    seen = {row.seen for row in evaluation.of(model)}
    if "train" in seen:
        raise GvtzooError(
            "the evaluation has images that the model was trained on, on which it is better than "
            "on any other: evaluate it on others"
        )
    rows = []
    for condition in evaluation.conditions:
        for name in evaluation.models:
            found = evaluation.of(name, condition)
            count = len({truth_of(row) for row in found})
            means = {
                label: sum(row.metrics[key] for row in found) / len(found)
                for key, label in LABELS.items()
                if found and all(key in row.metrics for row in found)
            }
            rows.append(
                MetricRow(
                    data=f"{_without_folders(evaluation.data)} ({count} images)",
                    condition=condition,
                    method=title if name == model else name,
                    chose_weights=name == model and "val" in seen,
                    **means,
                )
            )
    return rows


def _without_folders(data: str) -> str:
    """The last part of the data's path: where a user keeps them is nobody's business."""
    place, comma, more = data.partition(", ")
    return f"{Path(place).name or place}{comma}{more}"
