"""Whether an image is like those that a model was trained on.

A few crops of it are compared with the fingerprint that the model's package carries.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import micrometers
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.resampling import zoom_plane
from gvtzoo.metrics.fingerprint import (
    BANDS,
    DRAWN,
    FEATURES,
    LEAST_EXCESS,
    RESOLUTIONS,
    VERSION,
    Feature,
    distance,
    look,
    only_noise,
    triangle,
)
from gvtzoo.packages.config import Fingerprint
from gvtzoo.prediction.resampling import MISMATCH, choose_resampling
from gvtzoo.prediction.settings import Settings

if TYPE_CHECKING:
    from gvtzoo.packages.config import PackageConfig
    from gvtzoo.prediction.model import Model
    from gvtzoo.prediction.resampling import Resampling

log = logging.getLogger(__name__)

SEED = 0
MOST_REASONS = 2


@dataclass(frozen=True)
class Fit:
    """How an image compares with a model's training images.

    Attributes
    ----------
    model : str
        Its name.
    fits : bool
    distance : float
        From the training images, as a multiple of the largest that such images have: above 1 the
        image is unlike them. Infinite where it has not even their axes.
    reasons : tuple of str
        In what it is unlike them, and how; the clearest first.
    """

    model: str
    fits: bool
    distance: float
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self._verdict("the training images").removeprefix("is ")

    @property
    def sentence(self) -> str:
        """The verdict behind an image's name, with the model's."""
        return self._verdict(f"the training images of {self.model}")

    def _verdict(self, known: str) -> str:
        if self.fits:
            return f"fits {known}"
        return f"is unlike {known} in {'; '.join(self.reasons[:MOST_REASONS])}"


OnFit = Callable[[Fit], None]


def judge(
    model: Model, image: LazyImage, settings: Settings, strict: bool, on_fit: OnFit | None
) -> str:
    """`check_fit` before a prediction: told, or with `strict` refused; empty where it is unknown.

    Parameters
    ----------
    model : Model
    image : LazyImage
    settings : Settings
    strict : bool
        Whether an image that does not fit is refused.
    on_fit : callable, optional
        Called with the `Fit`, where there is one, instead of a warning.

    Returns
    -------
    str
        The verdict.

    Raises
    ------
    GvtzooError
        When the image is refused.
    """
    fit = check_fit(model, image, settings)
    if strict:
        check_strict(fit, model, image.name)
    if fit is None:
        return ""
    if on_fit is not None:
        on_fit(fit)
    elif not fit.fits:
        log.warning("%s %s", image.name or "the image", fit.sentence)
    return str(fit)


def check_fit(model: Model, image: LazyImage, settings: Settings) -> Fit | None:
    """Compare an image with a model's training images; a few crops of it are read.

    Parameters
    ----------
    model : Model
    image : LazyImage
        As from `Model.suit`, with the pixel size that is known of it.
    settings : Settings
        Whether it is resampled.

    Returns
    -------
    Fit or None
        None where the model's package has no fingerprint, or there is too little to see.

    Raises
    ------
    GvtzooError
        When the image's axes do not suit the model.
    """
    known = model.config.fingerprint
    if known is None or known.version != VERSION:
        return None
    frames: list[Any] = list(model.frames(image.array, image.dims))
    resampling = choose_resampling(model.config, image, settings)
    if resampling is not None:
        frames = [ResampledView(frame, resampling) for frame in frames]
    found = [*_planes(known, image, model), *_voxels(known, image, model.config, resampling)]
    seen = look(frames, model.config.normalization.source, np.random.default_rng(SEED))
    if seen is None and not found:
        return None
    if seen is not None:
        found += _features(known, seen, model.config)
    found.sort(key=lambda pair: pair[0], reverse=True)  # the order of equals is kept
    reasons = tuple(text for far, text in found if far > 1)
    return Fit(model.name, not reasons, max((far for far, _ in found), default=0.0), reasons)


def check_strict(fit: Fit | None, model: Model, name: str) -> None:
    """Refuse an image that is unlike the training images.

    Parameters
    ----------
    fit : Fit, optional
        None where it could not be told.
    model : Model
    name : str
        Of the image, for the message.

    Raises
    ------
    GvtzooError
        Also when that cannot be told.
    """
    if model.config.fingerprint is None:
        raise GvtzooError(
            f"{model.name} has no fingerprint of its training images, so that it cannot be told "
            "whether an image fits: predict without --strict (strict=True)"
        )
    if fit is None:
        raise GvtzooError(
            f"{name or 'the image'} is too small or too empty to be compared with the training "
            f"images of {model.name}: predict without --strict (strict=True)"
        )
    if not fit.fits:
        raise GvtzooError(f"{name or 'the image'} {fit.sentence}; nothing was predicted (--strict)")


@dataclass(frozen=True)
class ResampledView:
    """A frame at the network's pixel size, of which boxes are resampled when they are read."""

    frame: Any
    resampling: Resampling

    @property
    def shape(self) -> tuple[int, ...]:
        """(channel, (z,) y, x) at the network's pixel size."""
        return self.resampling.shape(self.frame.shape)

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        sizes = tuple(zip(self.frame.shape[-2:], self.shape[-2:], strict=True))
        wide = tuple(
            slice(b.start * own // new, max(b.start * own // new + 1, b.stop * own // new))
            for b, (own, new) in zip(box[-2:], sizes, strict=True)
        )
        values = np.asarray(self.frame[(*box[:-2], *wide)])
        size = tuple(b.stop - b.start for b in box[-2:])
        planes = [zoom_plane(p, size) for p in values.reshape(-1, *values.shape[-2:])]
        return np.stack(planes).reshape(*values.shape[:-2], *size)


Found = tuple[float, str]  # how far, as `Fit.distance`, and in what


def _planes(known: Fingerprint, image: LazyImage, model: Model) -> Iterator[Found]:
    planes = image.sizes.get("z", 1)
    if "z" in model.axes and planes == 1 and known.planes[0] > 1:
        least, most = known.planes
        trained = f"{least}" if least == most else f"{least} to {most}"
        yield math.inf, f"its one plane (2D), trained on stacks of {trained} planes"


def _voxels(
    known: Fingerprint, image: LazyImage, config: PackageConfig, resampling: Resampling | None
) -> Iterator[Found]:
    """Voxels of another size, along the axes that are not resampled."""
    factor = micrometers(image.unit)
    if factor is None:
        return
    for axes, name in (("yx", "pixels"), ("z", "planes")):
        told = [axis for axis in axes if axis in known.voxels and axis in image.pixel_size]
        if not told or (axes == "yx" and (resampling or config.resampled_to)):
            continue
        size = max(image.pixel_size[axis] * factor for axis in told)
        low, high = known.voxels[told[0]]
        ratio = max(low / size, size / high, 1.0)
        text = f"voxel size: {name} of {size:.3g} µm, trained on {_range(low, high)} µm"
        yield math.log(ratio) / math.log(MISMATCH), text


def _features(known: Fingerprint, seen: np.ndarray, config: PackageConfig) -> Iterator[Found]:
    if only_noise(seen):
        yield math.inf, f"content: there is nothing but noise in {DRAWN} crops of it"
    far = float(distance(seen, np.array(known.mean), triangle(known.factor))) / known.limit
    low, high = np.array(known.low), np.array(known.high)
    beyond = np.nan_to_num(np.maximum(low - seen, seen - high) / RESOLUTIONS, nan=0.0)
    told: set[str] = set()
    for number in np.argsort(-beyond, kind="stable"):
        feature = FEATURES[number]
        text = _in_words(feature, seen[number], low[number], high[number], config)
        about = text.partition(":")[0]
        if beyond[number] > 0 and about not in told and len(told) < MOST_REASONS:
            told.add(about)
            yield far, text
    if not told:
        yield far, "how noise, brightness and structure go together"


def _in_words(
    feature: Feature, value: float, low: float, high: float, config: PackageConfig
) -> str:
    """A feature of the image, and the range of the training images."""
    at, kind = feature.at, config.normalization.source.kind
    of = {"percentile": "the brightness range", "zscore": "the contrast"}.get(kind, "1")
    if feature.group == "noise":
        percent = [100 * 10**number for number in (value, low, high)]
        return f"noise: {percent[0]:.2g} % of {of}, trained on {_range(*percent[1:])} %"
    if feature.group == "brightness":
        return (
            f"brightness: percentile {at:g} is at {value:.2g} of {of}, "
            f"trained on {_range(low, high)}"
        )
    least = LEAST_EXCESS if feature.group == "structure" else 0.0
    own, lowest, highest = (_times(10**number - least) for number in (value, low, high))
    trained = f"trained on {lowest} to {highest} times"
    if feature.group == "direction":
        return f"direction: waves along y have {own} times the power of those along x, {trained}"
    if feature.group in ("structure", "shape"):
        than = "noise" if feature.group == "structure" else "the next shorter ones"
        return (
            f"structure: waves of {at:g} to {_longer(at):g} pixels have {own} times the power of "
            f"{than}, {trained}"
        )
    planes = f"{at:g} plane{'s' * (at > 1)}"
    return f"planes: the correlation over {planes} is {value:.2g}, trained on {_range(low, high)}"


def _longer(wavelength: float) -> float:
    return BANDS[BANDS.index(wavelength) + 1]


def _times(number: float) -> str:
    return "over 1000" if number > 1000 else f"{max(number, 0.0):.2g}"


def _range(low: float, high: float) -> str:
    texts = f"{low:.2g}", f"{high:.2g}"
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)
