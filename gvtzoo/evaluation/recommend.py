"""Which of the models at hand suits an image: by its fit, and by scores without truth on a crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress
from gvtzoo.evaluation.measure import frames
from gvtzoo.evaluation.without_truth import best_widths, gaussian, recordings
from gvtzoo.hub.listing import ListedModel, list_models
from gvtzoo.hub.load import load_own
from gvtzoo.images.files import open_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.zarr_stores import Place
from gvtzoo.metrics.pair import pearson_r
from gvtzoo.packages.reader import gvtzoo_config, read_description
from gvtzoo.prediction.fit import Fit
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.part import middle_part


@dataclass(frozen=True)
class Recommended:
    """A model, and what speaks for it.

    Attributes
    ----------
    name : str
    task : str
    fit : Fit, optional
        None where its package has no fingerprint, or it cannot take the image.
    score : float, optional
        Of denoisers: r of the prediction of one recording of a crop with another, of independent
        noise.
    usable : bool
        Whether it can take the image.
    why : str
        What speaks against it.
    """

    name: str
    task: str
    fit: Fit | None = None
    score: float | None = None
    usable: bool = True
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain types (for JSON)."""
        return asdict(self)

    @property
    def verdict(self) -> str:
        """In a word."""
        if not self.usable:
            return "cannot"
        return "unknown" if self.fit is None else "fits" if self.fit.fits else "unlike"

    @property
    def order(self) -> tuple[float, ...]:
        """Lower is better."""
        place = ("fits", "unknown", "unlike", "cannot").index(self.verdict)
        distance = 0.0 if self.fit is None else self.fit.distance
        return place, -1.0 if self.score is None else -self.score, distance


@dataclass(frozen=True)
class Recommendation:
    """Models, the best first.

    Attributes
    ----------
    models : list of Recommended
    gaussian : float, optional
        `Recommended.score` of the Gaussian filter that scores highest; None where no denoiser was
        scored.
    """

    models: list[Recommended]
    gaussian: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything, in plain types (for JSON)."""
        return {"models": [model.as_dict() for model in self.models], "gaussian": self.gaussian}


def recommend(
    image: Place,
    *,
    axes: str | None = None,
    channel: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Recommendation:
    """Rank the models that are on this computer for an image.

    Those whose training images it is like come first; among denoisers, those that score higher on
    a crop in the middle. The score needs no truth: it is r between the prediction of one recording
    and another with independent noise, which are two frames of a time series, or else two parts of
    the photons.

    Parameters
    ----------
    image : path
        Or the address of an OME-Zarr.
    axes, channel
        As of `gvtzoo.images.files.open_image`.
    device : str
    progress : callable, optional
        ``progress(done, all)``.

    Raises
    ------
    GvtzooError
        When the image cannot be read.
    """
    at_hand = [model for model in list_models(local=True) if model.where != "unreadable"]
    found, highest = [], None
    for number, listed in enumerate(at_hand):
        if progress is not None:
            progress(number, len(at_hand))
        keep = channel is None and _takes_channels(listed)
        opened = open_image(image, axes=axes, channel=channel, keep_channels=keep)
        row, gaussian_score = _judged(listed, opened, device)
        found.append(row)
        highest = gaussian_score if highest is None else highest
    return Recommendation(sorted(found, key=lambda row: row.order), highest)


def _takes_channels(listed: ListedModel) -> bool:
    assert listed.path is not None
    config = gvtzoo_config(read_description(listed.path)) or {}
    return config.get("network", {}).get("input_channels", 1) > 1


def _judged(listed: ListedModel, image: LazyImage, device: str) -> tuple[Recommended, float | None]:
    """What speaks for a model; and the score of a Gaussian where it is a denoiser."""
    row = Recommended(listed.name, listed.task)
    if not listed.task:
        return _with(row, usable=False, why="not made by gvtzoo, so not compared"), None
    try:
        model = load_own(Path(str(listed.path)))
        row = _with(row, fit=model.fit(image))
        if row.fit is None:
            row = _with(row, why="does not say what its training images were like")
        elif not row.fit.fits:
            row = _with(row, why=str(row.fit))
        if listed.task != "denoising":
            return row, None
        part = two_recordings(image, model)
        return _with(row, score=_score(model, part, device)), _score_of_gaussian(part)
    except GvtzooError as error:
        return _with(row, usable=False, why=str(error)), None


def _with(row: Recommended, **changes: Any) -> Recommended:
    return Recommended(**{**vars(row), **changes})


Pairs = Sequence[tuple[xr.DataArray, xr.DataArray]]


def two_recordings(image: LazyImage, model: Model) -> Pairs:
    """Crops in the middle of an image, each as two recordings with independent noise."""
    region = middle_part(image, model)
    if image.sizes.get("t", 1) > 1:
        first = min(region["t"].start, image.sizes["t"] - 2)
        region["t"] = slice(first, first + 2)
    part = image.crop(region).load()
    single = [axis for axis in ("p", "c") if part.sizes.get(axis) == 1]
    return [pair for _, *pair in recordings("crop", part.squeeze(single, drop=True))]  # type: ignore[misc]


def _score(model: Model, pairs: Pairs, device: str) -> float:
    return _mean_r(
        [
            # The verdict of the whole image is in the table.
            (model.predict(first, device=device, resample=False, on_fit=lambda fit: None), second)
            for first, second in pairs
        ]
    )


def _score_of_gaussian(pairs: Pairs) -> float:
    loaded = [(frames(first)[0], frames(second)[0]) for first, second in pairs]
    widths = best_widths(loaded)
    return float(np.mean([pearson_r(b, gaussian(a, widths)) for a, b in loaded]))


def _mean_r(pairs: Pairs) -> float:
    found = [
        pearson_r(truth, made)
        for prediction, second in pairs
        for made, truth in zip(frames(prediction), frames(second), strict=True)
    ]
    return float(np.mean(found))
