"""The pictures of a run folder: how the losses went, and what the network makes of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.images.scale_bar import draw_scale_bar
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.training.losses import WITH_SIGMA

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PERCENTILES = (0.5, 99.8)
WIDEST, TALLEST = 3.6, 5.0  # inches of an image
NARROWEST = 2.0  # inches of a column, for its scores
GAP, TITLE = 0.08, 0.5  # inches
DPI = 110
SHOWN = {"nrmse": "NRMSE", "ssim": "SSIM"}
LIKELIHOOD = "negative log-likelihood\nlower is better, and below 0 is in order"
WEIGHTED = "likelihood weighted by σ\nneed not fall when errors and σ do"
SCORE = "score against the original\nbelow 0 is better than it"


@dataclass(frozen=True)
class Panel:
    """An image (channel, (z,) y, x), and what its prediction scores."""

    title: str
    image: np.ndarray
    scores: str = ""
    limits: tuple[float, float] | None = None


def loss_label(loss: str, sigma_weight: float = 0.0) -> str:
    """What a recipe's loss is, for the axis of a picture."""
    if loss in WITH_SIGMA:
        return WEIGHTED if sigma_weight else LIKELIHOOD
    return {"mae": "mean absolute error", "mse": "mean squared error"}.get(loss, loss)


def draw_losses(
    path: Path, rows: Sequence[Mapping[str, str]], training: str, validation: str
) -> None:
    """The losses over the steps, as a PNG, each in a panel of its own.

    They are no numbers to compare: the training loss is the mean over patches, may be weighted, and
    comes from weights that change; validation looks at whole images.

    Parameters
    ----------
    path : Path
    rows : sequence of mapping
        Of ``metrics.csv``.
    training, validation : str
        What the losses are.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    parts = (("loss", "training", training), ("val_loss", "validation", validation))
    known = {
        title: [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        for name, title, _ in parts
    }
    drawn = [part for part in parts if known[part[1]]]
    figure = Figure(figsize=(5.2 * max(len(drawn), 1), 3.8), layout="constrained")
    for place, (_, title, label) in enumerate(drawn, start=1):
        axes = figure.add_subplot(1, len(drawn), place)
        axes.plot(*zip(*known[title], strict=True), marker="o", markersize=3)
        if title == "validation":
            _mark_best(axes, known[title])
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.grid(alpha=0.3)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def _mark_best(axes: Axes, points: Sequence[tuple[int, float]]) -> None:
    finite = [point for point in points if np.isfinite(point[1])]
    if finite:
        step, loss = min(finite, key=lambda point: point[1])
        axes.plot(step, loss, "o", color="C3", label=f"best: {loss:.4g} at step {step}")
        axes.legend(fontsize=8)


def draw_prediction(
    path: Path,
    source: np.ndarray,
    prediction: np.ndarray,
    target: np.ndarray,
    calibration: Mapping[str, Any],
    *,
    truth: bool = True,
) -> None:
    """Source, prediction and target side by side, as a PNG; of stacks the middle plane.

    Parameters
    ----------
    path : Path
    source, prediction, target : ndarray
        (channel, (z,) y, x); prediction and target have the same contrast.
    calibration : mapping
        ``pixel_size`` by axis and its ``unit``, where they are known.
    truth : bool
        Whether the target is the truth; else it is another noisy recording.
    """
    low, high = np.nanpercentile(target, PERCENTILES)  # blind spots leave the rest unknown
    limits = (float(low), float(high))
    panels = [
        Panel("source", source),
        Panel("prediction", prediction, score_text(target, prediction, truth=truth), limits),
        Panel(target_title(truth), target, limits=limits),
    ]
    draw_panels(path, panels, calibration)


def target_title(truth: bool) -> str:
    """What the target is called."""
    return "target" if truth else "target (noisy, too)"


def score_text(target: np.ndarray, prediction: np.ndarray, *, truth: bool) -> str:
    """Such as ``NRMSE 0.078, SSIM 0.557``; empty where nothing can be measured.

    Noise in the target lowers SSIM whatever the prediction is: without a truth it is left out.

    Parameters
    ----------
    target, prediction : ndarray
        (channel, …), of which the first channel is measured.
    truth : bool
        Whether the target is a truth.
    """
    names = [name for name in SHOWN if truth or name != "ssim"]
    if not np.isfinite(target).all():
        return ""
    try:
        found = evaluate_pair(target[0], prediction[0])
    except GvtzooError:
        return ""
    return ", ".join(f"{SHOWN[name]} {found[name]:.3f}" for name in names)


def draw_panels(path: Path, panels: Sequence[Panel], calibration: Mapping[str, Any]) -> None:
    """Images side by side, which fill the picture, with a scale bar in the first; as a PNG.

    Parameters
    ----------
    path : Path
        The picture's; a file that is there is replaced.
    panels : sequence of Panel
        From left to right, of images of the same size.
    calibration : mapping
        ``pixel_size`` by axis and ``unit``, as far as they are known.
    """
    from matplotlib.figure import Figure

    rows, columns = middle_plane(panels[0].image).shape
    width = min(WIDEST, TALLEST * columns / rows)
    height = width * rows / columns
    column = max(width, NARROWEST)
    size = len(panels) * (column + GAP) + GAP, height + TITLE + GAP
    figure = Figure(figsize=size)
    for place, panel in enumerate(panels):
        left = GAP + place * (column + GAP) + (column - width) / 2
        box = (left / size[0], GAP / size[1], width / size[0], height / size[1])
        axes = figure.add_axes(box)
        plane = middle_plane(panel.image)
        low, high = panel.limits or np.nanpercentile(plane, PERCENTILES)
        axes.imshow(plane, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="none")
        axes.set_title(f"{panel.title}\n{panel.scores}".strip(), fontsize=9, pad=3)
        axes.set_axis_off()
        if place == 0:
            sizes = calibration.get("pixel_size") or {}
            draw_scale_bar(axes, sizes.get("x"), calibration.get("unit"))
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def middle_plane(image: np.ndarray) -> np.ndarray:
    """(y, x) of an image (channel, (z,) y, x): the plane, or channel, in the middle."""
    while image.ndim > 2:
        image = image[len(image) // 2]
    return image
