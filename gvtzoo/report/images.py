"""The images that a report shows: the best, the median and the worst, read from their files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.predictions import INPUT
from gvtzoo.evaluation.results import Evaluation, ImageResult
from gvtzoo.metrics.metric_info import describe

RANKED_BY = "ssim"
MOST_VOXELS = 2**28  # of an image that is read for a panel; larger ones are left out


@dataclass(frozen=True)
class PairImages:
    """One pair and the models' predictions of it, (z,) y, x each."""

    source: np.ndarray
    target: np.ndarray
    predictions: dict[str, np.ndarray]
    sigmas: dict[str, np.ndarray]


def ranking_metric(evaluation: Evaluation) -> str | None:
    """SSIM, else the first metric that the first model has finite values of."""
    rows = evaluation.of(evaluation.models[0]) if evaluation.models else []
    names = sorted(evaluation.metrics, key=lambda name: name != RANKED_BY)
    return next((name for name in names if any(_finite(row, name) for row in rows)), None)


def ranked_images(evaluation: Evaluation, metric: str) -> list[tuple[str, ImageResult]]:
    """The first model's best, median and worst image; fewer where there are fewer images."""
    rows = [row for row in evaluation.of(evaluation.models[0]) if _finite(row, metric)]
    sign = 1 if describe(metric).better == "lower" else -1
    rows = sorted(rows, key=lambda row: sign * row.metrics[metric])
    if len(rows) == 1:
        return [("Image", rows[0])]
    if len(rows) == 2:
        return [("Best image", rows[0]), ("Worst image", rows[1])]
    middle = rows[len(rows) // 2 : len(rows) // 2 + 1]
    chosen = rows[:1] + middle + rows[-1:]
    return list(zip(("Best image", "Median image", "Worst image"), chosen, strict=False))


def same_pair(evaluation: Evaluation, row: ImageResult) -> list[ImageResult]:
    """The rows of all models for a row's pair, in the models' order."""
    key = row.structure, row.condition, row.image
    return [
        other
        for model in evaluation.models
        for other in evaluation.of(model)
        if (other.structure, other.condition, other.image) == key
    ]


def read_pair(rows: Sequence[ImageResult], folder: Path) -> PairImages:
    """Source, truth, predictions and σ of one pair.

    Parameters
    ----------
    rows : sequence of ImageResult
        As from `same_pair`. Models whose prediction has no file are left out.
    folder : Path
        Of the evaluation.

    Raises
    ------
    GvtzooError
        When source or target, or all predictions, have no file that can be read.
    """
    source, target = (
        next((getattr(row, part) for row in rows if getattr(row, part)), None)
        for part in ("source", "target")
    )
    if source is None or target is None:
        raise GvtzooError("the evaluation names no files of the source and the truth")
    truth = _read(folder / target, choose_plane=False)
    predictions, sigmas = {}, {}
    # The source is shown anyway; as a "prediction" only where there is no other.
    for row in [row for row in rows if row.model != INPUT] or rows:
        prediction = _read_if_there(row.prediction, folder)
        if prediction is None or prediction.shape != truth.shape:
            continue
        predictions[row.model] = prediction
        sigma = _read_if_there(row.sigma, folder)
        if sigma is not None and sigma.shape == truth.shape:
            sigmas[row.model] = sigma
    if not predictions:
        raise GvtzooError("no prediction has a file that can be read")
    return PairImages(_read(folder / source, choose_plane=True), truth, predictions, sigmas)


def _read_if_there(name: str | None, folder: Path) -> np.ndarray | None:
    if name is None:
        return None
    try:
        return _read(folder / name, choose_plane=False)
    except GvtzooError:
        return None


def _read(path: Path, *, choose_plane: bool) -> np.ndarray:
    """(z,) y, x of an image: its first time and position.

    Of a source's channels, the middle one is taken: networks that take planes as channels were
    made for stacks, and the middle is in focus. Which channel of a truth was meant is not known.
    """
    from gvtzoo.images.files import open_image

    image = open_image(path, keep_channels=True)
    if math.prod(image.sizes.values()) > MOST_VOXELS:
        raise GvtzooError(f"{path} is too large for a panel")
    channels = image.sizes.get("c", 1)
    if channels > 1 and not choose_plane:
        raise GvtzooError(f"{path} has {channels} channels")
    array = image.load().isel(t=0, p=0, c=channels // 2, missing_dims="ignore")
    stack = array.transpose("z", "y", "x", missing_dims="ignore").to_numpy()
    return stack[0] if stack.ndim == 3 and len(stack) == 1 else stack


def _finite(row: ImageResult, metric: str) -> bool:
    return bool(np.isfinite(row.metrics.get(metric, np.nan)))
