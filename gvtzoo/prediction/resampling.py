"""Images in the pixel size that a model was trained at, and predictions in their own again.

Planes are resampled one by one, so images on disk stay there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.images.lazy import LazyImage, View
from gvtzoo.images.resampling import (
    CUBIC,
    calibrated,
    in_plane_micrometers,
    is_same,
    resampled_size,
    zoom_plane,
)
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.settings import Settings

log = logging.getLogger(__name__)

LARGEST_FACTOR = 20  # between pixel sizes; beyond, one of the two is wrong
MISMATCH = 1.25  # from here on, denoising sees structures of another size than it knows
LINEAR = 1


@dataclass(frozen=True)
class Resampling:
    """From an image's pixel size to the network's, and back.

    Attributes
    ----------
    have : tuple of float
        The image's pixel size along y and x, in µm.
    wanted : float
        The network's, in µm.
    """

    have: tuple[float, float]
    wanted: float

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of a resampled image (…, y, x)."""
        return (*shape[:-2], *resampled_size(shape[-2:], self.have, self.wanted))

    def __str__(self) -> str:
        sizes = " × ".join(f"{size:.4g}" for size in dict.fromkeys(self.have))
        return f"resampled in plane from {sizes} to {self.wanted:g} µm, and the prediction back"


def with_pixel_size(image: LazyImage, settings: Settings) -> LazyImage:
    """The image with the pixel size that the settings give, whatever it states itself."""
    if settings.pixel_size is None:
        return image
    size = settings.pixel_size
    known: dict[str, Any] = calibrated(image.pixel_size, image.unit, size, size)
    return replace(image, **known)


def choose_resampling(
    config: PackageConfig, image: LazyImage, settings: Settings
) -> Resampling | None:
    """How an image is resampled for a model; None where it is taken as it is.

    Parameters
    ----------
    config : PackageConfig
        Of the model.
    image : LazyImage
    settings : Settings

    Raises
    ------
    GvtzooError
        When the pixel sizes are so far apart that one of them is wrong.
    """
    have = in_plane_micrometers(image.pixel_size, image.unit)
    wanted = config.resampled_to
    if wanted is None or have is None or not settings.resample:
        return None
    if all(is_same(size, wanted) for size in have):
        return None
    factors = [max(size / wanted, wanted / size) for size in have]
    if max(factors) > LARGEST_FACTOR:
        raise GvtzooError(
            f"{image.name or 'the image'} states pixels of {max(have):.4g} µm, and "
            f"{config.metadata.id} was trained at {wanted:g} µm: give the true size with "
            "--pixel-size, or predict it as it is with --no-resample (pixel_size=, resample=False)"
        )
    return Resampling(have, wanted)


def tell(
    config: PackageConfig, image: LazyImage, settings: Settings, resampling: Resampling | None
) -> None:
    """Say what is done about an image's pixel size, where it matters.

    Parameters
    ----------
    config : PackageConfig
        Of the model.
    image : LazyImage
    settings : Settings
    resampling : Resampling, optional
        What `choose_resampling` chose.
    """
    name, model = image.name or "the image", config.metadata.id
    if resampling is not None:
        log.warning("%s: %s", name, resampling)
        return
    have = in_plane_micrometers(image.pixel_size, image.unit)
    if config.resampled_to is not None:
        if have is None and settings.resample:
            log.warning(
                "%s states no pixel size: %s takes it as %g µm in plane, as it was trained; give "
                "another with --pixel-size (pixel_size=)",
                *(name, model, config.resampled_to),
            )
        return
    if config.fingerprint is not None:
        return  # `gvtzoo.prediction.fit` tells
    trained = in_plane_micrometers({str(a): s for a, s in config.pixel_size.items()}, config.unit)
    if have is None or trained is None:
        return
    ratios = [size / known for size, known in zip(have, trained, strict=True)]
    if max(max(ratio, 1 / ratio) for ratio in ratios) > MISMATCH:
        log.warning(
            "%s has pixels of %.4g µm, %s was trained at %.4g µm and does not resample: check "
            "the prediction",
            *(name, have[1], model, trained[1]),
        )


@contextmanager
def in_network_pixels(
    frame: View, targets: Sequence[Any], resampling: Resampling | None, folder: Path | None = None
) -> Iterator[tuple[View, Sequence[Any]]]:
    """A frame at the network's pixel size, and places for results, which go to `targets` then.

    Parameters
    ----------
    frame : View
        (channel, (z,) y, x).
    targets : sequence of Target
        For the prediction, and σ if there are two.
    resampling : Resampling, optional
        Without, the same frame and targets are given.
    folder : Path, optional
        For the resampled images, where they do not belong in memory; what is there of an
        interrupted prediction is taken up again.
    """
    if resampling is None:
        yield frame, targets
        return
    resampled = _resampled(frame, resampling, folder)
    results = [
        _array(resampling.shape(target.shape), folder, f"resampled-result-{number}.npy")
        for number, target in enumerate(targets)
    ]
    yield View(resampled, tuple(range(frame.ndim))), results
    # σ is a width: linear interpolation keeps it above zero.
    for target, result, order in zip(targets, results, (CUBIC, LINEAR), strict=False):
        size = target.shape[-2:]
        for place, box in _planes(target.shape):
            target[box] = zoom_plane(result[place], size, order)[(None,) * len(place)]


def _resampled(frame: View, resampling: Resampling, folder: Path | None) -> np.ndarray:
    shape = resampling.shape(frame.shape)
    if folder is None:
        resampled = np.empty(shape, np.float32)
        _fill(resampled, frame)
        return resampled
    path = folder / "resampled.npy"
    if not path.is_file():
        with write_atomically(path) as temporary:
            written = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
            _fill(written, frame)
            written.flush()
    return np.lib.format.open_memmap(path, "r")


def _fill(resampled: np.ndarray, frame: View) -> None:
    for place, box in _planes(frame.shape):
        (plane,) = frame[box].reshape(-1, *frame.shape[-2:])
        resampled[place] = zoom_plane(plane, resampled.shape[-2:])


def _array(shape: tuple[int, ...], folder: Path | None, name: str) -> np.ndarray:
    if folder is None:
        return np.empty(shape, np.float32)
    mode: Any = "r+" if (folder / name).is_file() else "w+"
    return np.lib.format.open_memmap(folder / name, mode, np.float32, shape)


def _planes(shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Index and box of every plane of an image (…, y, x)."""
    for place in np.ndindex(*shape[:-2]):
        yield place, (*(slice(n, n + 1) for n in place), *(slice(0, n) for n in shape[-2:]))
