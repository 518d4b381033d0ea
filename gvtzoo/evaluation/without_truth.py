"""Pairs to measure models on where there is no truth: two noisy recordings of the same object.

The noise of the second is independent of the first's, so that whatever is closer to it is closer
to the truth: its mean squared error is that to the truth plus its own noise, the same for all
(Lehtinen et al., *Noise2Noise*, ICML 2018). Of a time series, these are neighbouring frames; of a
single image, two parts of its photons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress
from gvtzoo.evaluation.measure import frames
from gvtzoo.evaluation.pairs import EvaluationPair, check_places
from gvtzoo.evaluation.predictions import Prediction
from gvtzoo.images.files import read_image, write_image
from gvtzoo.metrics.noise import NoiseModel
from gvtzoo.metrics.pair import pearson_r
from gvtzoo.packages.config import TrainedOn

MOST_FRAMES = 20  # of a series; spread evenly where there are more
SHARE = 0.75  # of the photons of a single image that are predicted from
PARTS = 64  # pixels; images twice as large are measured in four parts, which gives an interval
GAUSSIAN = "best Gaussian"
SIGMAS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0)  # pixels
ALONG_Z = (0.0, 0.25, 0.5, 1.0)  # of the same


def write_noisy_pairs(paths: Sequence[Path], folder: Path) -> list[EvaluationPair]:
    """Two recordings of each image, as files.

    Parameters
    ----------
    paths : sequence of Path
        Each with the axes that models take, and t of a time series.
    folder : Path
        For the files.

    Raises
    ------
    GvtzooError
        When an image cannot be read, or two have the same name.
    """
    found = []
    for path in paths:
        image = read_image(path, keep_channels=True)
        for name, source, target in recordings(path.stem, image):
            files = [folder / kind / f"{name}.tif" for kind in ("source", "target")]
            for file, recording in zip(files, (source, target), strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(file, recording, overwrite=True)
            found.append(EvaluationPair(name, files[0], files[1]))
    if not found:
        raise GvtzooError("there are no images to measure on")
    check_places(found, "the noisy images")
    return found


def recordings(name: str, image: xr.DataArray) -> Iterator[tuple[str, xr.DataArray, xr.DataArray]]:
    """Two recordings of an image, or of its frames or quarters, each with a name."""
    if image.sizes.get("t", 1) > 1:
        count = image.sizes["t"] - 1
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_FRAMES)).astype(int))
        for number in map(int, chosen):
            first, second = (image.isel(t=n, drop=True) for n in (number, number + 1))
            yield f"{name}_{number:03}", first, second
        return
    image = image.isel(t=0, drop=True) if "t" in image.dims else image
    first, second = _split(image)
    boxes = list(_parts(image))
    for number, box in enumerate(boxes):
        part = f"{name}_{number}" if len(boxes) > 1 else name
        yield part, first.isel(box), second.isel(box)


def _split(image: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Two parts of an image's photons, channel by channel."""
    generator = np.random.default_rng(0)
    spatial = [axis for axis in image.dims if axis in ("z", "y", "x")]
    ordered = image.transpose(..., *spatial)
    flat = ordered.to_numpy().reshape(-1, *ordered.shape[ordered.ndim - len(spatial) :])
    parts = [NoiseModel.of(channel).split(channel, SHARE, generator) for channel in flat]
    first, second = (
        ordered.copy(data=np.stack([part[n] for part in parts]).reshape(ordered.shape)).transpose(
            *image.dims
        )
        for n in range(2)
    )
    return first, second


def _parts(image: xr.DataArray) -> Iterator[dict[str, slice]]:
    """Quarters in the plane; all of a small image."""
    halves = {}
    for axis in ("y", "x"):
        size = image.sizes[axis]
        middle = size // 2
        large = size >= 2 * PARTS
        halves[axis] = [slice(0, middle), slice(middle, size)] if large else [slice(0, size)]
    for y, x in product(halves["y"], halves["x"]):
        yield {"y": y, "x": x}


@dataclass(frozen=True)
class BestGaussian:
    """The Gaussian filter that comes closest to the second recordings: hard to choose better.

    Attributes
    ----------
    pairs : sequence of EvaluationPair
    folder : Path
        For its predictions.
    """

    pairs: Sequence[EvaluationPair]
    folder: Path
    name: str = GAUSSIAN
    identity: str = GAUSSIAN
    weights: str | None = None
    trained_on: TrainedOn | None = None

    @cached_property
    def sigmas(self) -> tuple[float, float]:
        """Along z and in the plane, in voxels, with the highest mean r."""
        loaded = [
            (frames(read_image(pair.source, keep_channels=True))[0],
             frames(read_image(pair.target, keep_channels=True))[0])
            for pair in self.pairs
        ]  # fmt: skip
        return best_widths(loaded)

    def predict(self, pair: EvaluationPair, progress: Progress | None = None) -> Prediction:
        """The source filtered with `sigmas`, as a TIFF in the folder, in the units of the truth."""
        from scipy.ndimage import gaussian_filter

        image = read_image(pair.source, keep_channels=True)
        along, plane = self.sigmas
        widths = [{"z": along, "y": plane, "x": plane}.get(str(axis), 0.0) for axis in image.dims]
        path = self.folder / f"{pair.place}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        smooth = gaussian_filter(image.to_numpy().astype(np.float32), widths)
        write_image(path, image.copy(data=smooth), overwrite=True)
        return Prediction(path, in_truth_units=True)


def best_widths(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Widths along z and in the plane, in voxels, of the Gaussian with the highest mean r.

    Parameters
    ----------
    pairs : sequence of pair of ndarray
        ((z,) y, x): what is filtered, and what it is compared with.
    """
    flat = pairs[0][0].ndim < 3
    settings = list(product((0.0,) if flat else ALONG_Z, SIGMAS))

    def quality(setting: tuple[float, float]) -> float:
        widths = (setting[0] * setting[1], setting[1])
        return float(np.mean([pearson_r(t, gaussian(s, widths)) for s, t in pairs]))

    along, plane = max(settings, key=quality)
    return along * plane, plane


def gaussian(image: np.ndarray, widths: tuple[float, float]) -> np.ndarray:
    """An image ((z,) y, x), smoothed by so many voxels along z and in the plane; float32."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype(np.float32), _widths(*widths, image.ndim))


def _widths(along: float, plane: float, dimensions: int) -> tuple[float, ...]:
    return (along, plane, plane)[-dimensions:]
