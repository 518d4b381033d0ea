"""What an evaluation found: a row for each model and image, and what follows from them.

`gvtzoo evaluate` writes it as ``evaluation.json``; the report is drawn from it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import ConfigDict, Field

from gvtzoo.core.strict import Strict

Seen = Literal["", "train", "val", "part"]
SEEN: dict[Seen, str] = {
    "train": "it was trained on {images}: on what a network has seen, it is better than on any "
    "new image",
    "val": "its weights were chosen by {images}: on these it is better than on new images",
    "part": "it was trained on other parts of the same files as {images}: on images of other "
    "samples it may be worse",
}
MOST_NAMED = 5


class Part(Strict):
    """A part of an evaluation; what was measured may be not a number."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="strings")


class ImageResult(Part):
    """One model's prediction of one image.

    Attributes
    ----------
    model : str
        As the evaluation names it.
    image : str
        Name of the image; together with `condition` and `structure` it names a pair.
    condition : str
        Such as a noise level of the same truth; empty where there is one only.
    structure : str
        What is to be seen, or the data set; empty where there is one only.
    truth : str
        The same for all images of one truth, such as its noise levels; empty for those that have
        no other.
    seen : {"", "train", "val", "part"}
        Whether the model was trained on the image, its weights were chosen by it, or it was trained
        on another part of the same file; empty where none of this is known.
    metrics : dict of str to float
        By the names of `gvtzoo.metrics.pair.evaluate_pair`, and others that were asked for.
    source, target, prediction, sigma : str, optional
        Image files: below the evaluation's folder, or absolute.
    """

    model: str
    image: str
    condition: str = ""
    structure: str = ""
    truth: str = ""
    seen: Seen = ""
    metrics: dict[str, float]
    source: str | None = None
    target: str | None = None
    prediction: str | None = None
    sigma: str | None = None


class SummaryRow(Part):
    """A metric of a model over truths; as `gvtzoo.evaluation.statistics.Summary`.

    Of a truth with several images (noise levels of the same object) the mean counts, once: its
    images are not independent, and would make the interval too narrow.
    """

    model: str
    condition: str = ""
    structure: str = ""
    metric: str
    count: int
    mean: float
    deviation: float
    median: float
    low: float
    high: float


class ComparisonRow(Part):
    """Two models on the same truths; as `gvtzoo.evaluation.statistics.Comparison`.

    Attributes
    ----------
    tests : int
        How many comparisons of this metric there are: of all pairs of models, in all groups.
    t_p_holm, wilcoxon_p_holm : float
        P values corrected for that many tests (`gvtzoo.evaluation.statistics.holm`).
    """

    first: str
    second: str
    condition: str = ""
    structure: str = ""
    metric: str
    count: int
    difference: float
    effect_size: float
    t: float
    t_p_value: float
    wilcoxon: float
    wilcoxon_p_value: float
    tests: int = 1
    t_p_holm: float = math.nan
    wilcoxon_p_holm: float = math.nan


class CalibrationRow(Part):
    """How well a model's σ says its error; as `gvtzoo.metrics.calibration.Calibration`.

    Attributes
    ----------
    fitted : bool
        Whether predictions were brought to the truth's units by a linear fit first, since they are
        not known to have them: what is then judged is σ against the error that the fit leaves.
    """

    model: str
    condition: str = ""
    fitted: bool = False
    nominal: tuple[float, ...]
    observed: tuple[float, ...]
    sigma: tuple[float, ...]
    error: tuple[float, ...]
    voxels: int


class Histogram(Part):
    """Shares of an image's voxels by intensity, of the normalized target or fitted prediction.

    Attributes
    ----------
    model : str
        Empty for the truth.
    edges : tuple of float
        One more than there are shares.
    shares : tuple of float
    """

    model: str
    condition: str = ""
    edges: tuple[float, ...]
    shares: tuple[float, ...]


class Evaluation(Part):
    """One or several models on a set of pairs.

    Attributes
    ----------
    models : tuple of str
        In the order in which they were given.
    metrics : tuple of str
        Names of the columns, in order.
    results : tuple of ImageResult
    summaries : tuple of SummaryRow
        Of every model and metric, for all images (empty condition and structure), and for each
        condition and structure where there are several.
    comparisons : tuple of ComparisonRow
        Every model against every other that comes after it in `models`.
    calibrations : tuple of CalibrationRow
        Of models that give σ.
    histograms : tuple of Histogram
    left_out : tuple of str
        Images that could not be measured for every model, and why.
    pixel_size : dict of str to float
        By axis, in `unit`; empty where it is not known.
    unit : str, optional
    untold : tuple of str
        Models of which it is not known what they were trained on.
    weights : dict of str to str
        SHA-256 of the weights of models that are run folders.
    data : str
        Where the pairs came from.
    command : str
        What repeats this evaluation.
    versions : dict of str to str
    """

    models: tuple[str, ...]
    metrics: tuple[str, ...]
    results: tuple[ImageResult, ...]
    summaries: tuple[SummaryRow, ...] = ()
    comparisons: tuple[ComparisonRow, ...] = ()
    calibrations: tuple[CalibrationRow, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    left_out: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    weights: dict[str, str] = Field(default_factory=dict)
    pixel_size: dict[str, float] = Field(default_factory=dict)
    unit: str | None = None
    data: str = ""
    command: str = ""
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def conditions(self) -> tuple[str, ...]:
        """In the order of the results."""
        return tuple(dict.fromkeys(row.condition for row in self.results))

    @property
    def structures(self) -> tuple[str, ...]:
        """In the order of the results."""
        return tuple(dict.fromkeys(row.structure for row in self.results))

    def of(
        self, model: str, condition: str | None = None, structure: str | None = None
    ) -> list[ImageResult]:
        """A model's rows, of one condition or structure where they are given.

        Parameters
        ----------
        model : str
        condition, structure : str, optional
        """
        return [
            row
            for row in self.results
            if row.model == model
            and condition in (None, row.condition)
            and structure in (None, row.structure)
        ]

    def caveats(self) -> Iterator[str]:
        """What takes from the numbers' weight, a sentence each: one image, images known before."""
        if len({truth_of(row) for row in self.results}) == 1:
            yield "One image proves nothing: there is no spread and no test, and another may differ"
        for model in self.untold:
            yield (f"{model}: what it was trained on is not known, so these images may be among it")
        for model in self.models:
            rows = self.of(model)
            for seen, text in SEEN.items():
                images = list(dict.fromkeys(_name(row) for row in rows if row.seen == seen))
                if images:
                    yield f"{model}: {text.format(images=_counted(images, len(rows)))}"

    def table(self) -> str:
        """One line of CSV for each model and image."""
        columns = ("model", "structure", "condition", "image", *self.metrics, "seen")
        rows = [
            (row.model, row.structure, row.condition, row.image, *self._values(row), row.seen)
            for row in self.results
        ]
        return csv_text([columns, *rows])

    def summary_table(self) -> str:
        """One line of CSV for each model, condition, structure and metric."""
        columns = tuple(SummaryRow.model_fields)
        rows = [tuple(row.model_dump().values()) for row in self.summaries]
        return csv_text([columns, *rows])

    def _values(self, row: ImageResult) -> list[object]:
        return [row.metrics.get(name, "") for name in self.metrics]


def truth_of(row: ImageResult) -> str:
    """What tells the truth of a result from others."""
    return row.truth or "/".join((row.structure, row.image))


def _name(row: ImageResult) -> str:
    return "/".join(part for part in (row.structure, row.condition, row.image) if part)


def _counted(images: Sequence[str], count: int) -> str:
    """Such as ``2 of the 3 images (a, b)``."""
    named = ", ".join(images[:MOST_NAMED]) + ", …" * (len(images) > MOST_NAMED)
    if len(images) == count:
        return f"all {count} images ({named})" if count > 1 else f"the image ({named})"
    return f"{len(images)} of the {count} images ({named})"


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Rows as CSV, with the line ends of Unix."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
