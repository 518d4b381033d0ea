"""A panel of images: input, truth, and of each model the prediction, its error and its σ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.scale_bar import draw_scale_bar
from gvtzoo.metrics.pair import TARGET_PERCENTILES, check_pair
from gvtzoo.report.style import SMALL, TRUTH, label_of, lines_of, styled

PIXELS = 600_000  # of all images of a panel; a page of three stays below 10 MB
SIDE = 512  # pixels that an image has at most along x and y
WIDTH = 11.0  # inches of a panel, if images then are neither small nor large
SMALLEST, LARGEST = 1.9, 3.4  # inches of an image's width, if it is then not too tall
TALLEST = 3.6  # inches of an image's height
NARROWEST = 1.6  # inches of a column, for its title
GAP, TITLE, LINE, MARGIN = 0.08, 0.28, 0.17, 0.3  # inches; of titles every further line
LETTERS = 11.5  # of a title, per inch
LIMIT = 99.5  # percentile of |error| and of σ at which colours end


@dataclass(frozen=True)
class PanelView:
    """What a panel shows of an image: a part of one plane, and of one section along z.

    Attributes
    ----------
    plane : int
        Along z; 0 in 2D.
    rows, columns : slice
        Along y and x.
    section : int
        The y at which the xz section is taken, counted from the start of `rows`.
    """

    plane: int
    rows: slice
    columns: slice
    section: int

    def xy(self, image: np.ndarray) -> np.ndarray:
        """The plane's part, (y, x)."""
        plane = image if image.ndim == 2 else image[self.plane]
        return plane[self.rows, self.columns]

    def xz(self, image: np.ndarray) -> np.ndarray:
        """The section's part, (z, x)."""
        return image[:, self.rows.start + self.section, self.columns]


@dataclass(frozen=True)
class IntensityFit:
    """How `gvtzoo.metrics.pair.paper_normalize` brings truth and prediction together.

    Both are given so that 0 and 1 are the truth's 0.1 and 99.9 percentiles.
    """

    low: float
    span: float
    target_mean: float
    prediction_mean: float
    factor: float

    def truth(self, part: np.ndarray) -> np.ndarray:
        """Truth, in its own units, to where 0 and 1 are its percentiles."""
        return (part - self.low) / self.span

    def prediction(self, part: np.ndarray) -> np.ndarray:
        """A prediction, in its own units, to the same scale, mean and contrast as the truth."""
        offset = (self.target_mean - self.low) / self.span
        return offset + self.factor * (part - self.prediction_mean)

    def sigma(self, part: np.ndarray) -> np.ndarray:
        """σ of a prediction, in the same scale."""
        return abs(self.factor) * part


def fit_intensities(target: np.ndarray, prediction: np.ndarray) -> IntensityFit:
    """Fit a whole prediction to the truth, plane by plane: no copy in float64 is made.

    Raises
    ------
    GvtzooError
        When the images cannot be compared, or the truth's percentiles are equal.
    """
    check_pair(target, prediction)
    low, high = (float(value) for value in np.percentile(target, TARGET_PERCENTILES))
    if low == high:
        raise GvtzooError(f"the truth is {low:g} at both percentiles: it has no contrast to show")
    means = [float(image.mean(dtype=np.float64)) for image in (target, prediction)]
    covariance = variance = 0.0
    for truth, predicted in zip(target, prediction, strict=True):
        centred = predicted.astype(np.float64) - means[1]
        covariance += float((centred * (truth.astype(np.float64) - means[0])).sum())
        variance += float((centred**2).sum())
    factor = covariance / variance / (high - low) if variance else 0.0
    return IntensityFit(low, high - low, means[0], means[1], factor)


def choose_view(target: np.ndarray, images: int) -> PanelView:
    """The plane with most contrast, and of large ones the part with most.

    Parameters
    ----------
    target : ndarray, shape (z, y, x) or (y, x)
    images : int
        How many are shown; the more, the smaller a part.
    """
    deviations = [float(plane.std()) for plane in target] if target.ndim == 3 else [0.0]
    number = int(np.argmax(deviations))
    plane = target if target.ndim == 2 else target[number]
    side = min(SIDE, int(np.sqrt(PIXELS / images)))
    corner = _best_corner(plane, side)
    rows, columns = (
        slice(start, min(start + side, length))
        for start, length in zip(corner, plane.shape, strict=True)
    )
    section = int(plane[rows, columns].std(axis=1).argmax())
    return PanelView(number, rows, columns, section)


@styled
def image_panel(
    source: np.ndarray,
    target: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    sigmas: Mapping[str, np.ndarray] | None = None,
    *,
    pixel_size: Mapping[str, float] | None = None,
    unit: str | None = None,
) -> Figure:
    """Input, truth, prediction, error and σ in xy, of stacks also in xz.

    Predictions are fitted to the truth by an offset and a factor, as for NRMSE and SSIM, and shown
    in its contrast, 0.1 to 99.9 percentile; the input has its own. Errors are prediction − truth
    as a share of the truth's range; σ has the same units, and all models the same colours. Shown
    is the plane with most contrast, and a part of large ones.

    Parameters
    ----------
    source : ndarray, shape (z, y, x) or (y, x)
        Of a stack whose truth is a plane, the maximum along z is shown.
    target : ndarray, shape (z, y, x) or (y, x)
    predictions : mapping of model to ndarray
        Of the target's shape.
    sigmas : mapping of model to ndarray, optional
        Of those models that give σ.
    pixel_size : mapping of axis to float, optional
        Of z, y, x, in `unit`. Without it, voxels are drawn as cubes and without a scale bar.
    unit : str, optional

    Raises
    ------
    GvtzooError
        When shapes do not fit each other, or the truth has no contrast.
    """
    sigmas, sizes = sigmas or {}, pixel_size or {}
    if source.ndim > target.ndim:
        source = source.max(axis=0)
    if source.shape[-2:] != target.shape[-2:]:
        raise GvtzooError(f"input {source.shape} and truth {target.shape} differ along y and x")
    fits = {model: fit_intensities(target, prediction) for model, prediction in predictions.items()}
    view = choose_view(target, 2 + 2 * len(predictions) + len(sigmas))
    grid = _Grid(view, target, sizes, rows=3 if sigmas else 2, models=list(predictions))
    truth = next(iter(fits.values())).truth

    low, high = np.percentile(source, TARGET_PERCENTILES)
    inputs = grid.cell(0, 0, "input", source)
    for axes, part in inputs:
        _show(axes, part, "gray", low, high)
    draw_scale_bar(inputs[0][0], sizes.get("x"), unit)
    for axes, part in grid.cell(0, 1, "truth", target):
        _show(axes, truth(part), "gray", 0, 1)

    errors, deviations = [], []
    for column, (model, prediction) in enumerate(predictions.items(), start=2):
        truths = grid.cell(1, column, "error", target)
        shown = grid.cell(0, column, grid.titles[column - 2], prediction)
        for (axes, part), (below, expected) in zip(shown, truths, strict=True):
            fitted = fits[model].prediction(part)
            _show(axes, fitted, "gray", 0, 1)
            errors.append((below, fitted - truth(expected)))
        if model in sigmas:
            for axes, part in grid.cell(2, column, "σ", sigmas[model]):
                deviations.append((axes, fits[model].sigma(part)))

    limit = _limit([part for _, part in errors])
    images = [_show(axes, part, "RdBu_r", -limit, limit) for axes, part in errors]
    grid.color_bar(1, images[0], "prediction − truth", (-limit, 0, limit))
    if deviations:
        limit = _limit([part for _, part in deviations])
        images = [_show(axes, part, "magma", 0, limit) for axes, part in deviations]
        grid.color_bar(2, images[0], "σ", (0, limit))
    return grid.figure


class _Grid:
    """Places of images in inches, so that pixels keep their shape and nothing overlaps."""

    def __init__(
        self,
        view: PanelView,
        target: np.ndarray,
        sizes: Mapping[str, float],
        *,
        rows: int,
        models: Sequence[str],
    ) -> None:
        self.view, self.solid = view, target.ndim == 3
        height = (view.rows.stop - view.rows.start) * sizes.get("y", 1.0)
        width = (view.columns.stop - view.columns.start) * sizes.get("x", 1.0)
        columns = 2 + len(models)
        widest = min(LARGEST, max(SMALLEST, (WIDTH - MARGIN) / columns - 2 * GAP))
        scale = min(widest / width, TALLEST / height)
        self.width, self.heights = width * scale, [height * scale]
        if self.solid:
            self.heights.append(len(target) * sizes.get("z", 1.0) * scale)
        self.cell_height = TITLE + sum(self.heights) + GAP * len(self.heights)
        self.cell_width = max(self.width, NARROWEST) + 2 * GAP
        self.titles = [label_of(model, int(LETTERS * self.cell_width)) for model in models]
        self.extra = LINE * (max(lines_of([title]) for title in self.titles) - 1)
        self.size = MARGIN + columns * self.cell_width, rows * self.cell_height + self.extra
        self.figure = Figure(figsize=self.size)

    def parts(self, image: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Of an image what is shown, by plane."""
        found = [("xy", self.view.xy(image))]
        return [*found, ("xz", self.view.xz(image))] if self.solid and image.ndim == 3 else found

    def cell(
        self, row: int, column: int, title: str, image: np.ndarray
    ) -> list[tuple[Axes, np.ndarray]]:
        """Axes for an image, and what they show."""
        top = self.size[1] - self.extra - row * self.cell_height - TITLE
        cell = []
        for (plane, part), height in zip(self.parts(image), self.heights, strict=False):
            axes = self._axes(column, top - height, height)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if plane == "xy":
                axes.set_title(title, pad=4)
            if column == 0 and self.solid:
                axes.set_ylabel(plane)
            cell.append((axes, part))
            top -= height + GAP
        return cell

    def color_bar(self, row: int, shown, label: str, ticks) -> None:  # type: ignore[no-untyped-def]
        """In the middle of a row, left of its images."""
        middle = self.size[1] - self.extra - (row + 0.5) * self.cell_height
        axes = self._axes(1, middle, 0.1)
        bar = self.figure.colorbar(shown, cax=axes, orientation="horizontal")
        signed = "{:+.2g}" if ticks[0] else "{:.2g}"
        names = [signed.format(tick).replace("-", "−") if tick else "0" for tick in ticks]
        bar.set_ticks(ticks, labels=names)
        bar.ax.tick_params(labelsize=SMALL, length=2, pad=1)
        ends = bar.ax.get_xticklabels()
        ends[0].set_horizontalalignment("left")
        ends[-1].set_horizontalalignment("right")
        bar.set_label(label, fontsize=SMALL, labelpad=1)
        bar.outline.set_edgecolor(TRUTH)

    def _axes(self, column: int, bottom: float, height: float) -> Axes:
        left = MARGIN + column * self.cell_width
        width, full = self.size
        return self.figure.add_axes(
            (left / width, bottom / full, self.width / width, height / full)
        )


def _best_corner(plane: np.ndarray, side: int) -> tuple[int, int]:
    """Of the square with most contrast, of those that lie half a side apart."""
    starts = [
        [*range(0, max(length - side, 0), max(side // 2, 1)), max(length - side, 0)]
        for length in plane.shape
    ]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    return max(corners, key=lambda c: float(plane[c[0] : c[0] + side, c[1] : c[1] + side].std()))


def _limit(parts: Sequence[np.ndarray]) -> float:
    """Where colours end."""
    return float(np.percentile(np.abs(np.concatenate([p.ravel() for p in parts])), LIMIT)) or 1.0


def _show(axes: Axes, part: np.ndarray, colors: str, low: float, high: float):  # type: ignore[no-untyped-def]
    return axes.imshow(
        part.astype(np.float32),
        cmap=colors,
        vmin=low,
        vmax=high if high > low else low + 1,
        interpolation="none",
        aspect="auto",
    )
