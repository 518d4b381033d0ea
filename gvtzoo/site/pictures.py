"""The two pictures that a card compares: the input and the prediction of one slice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import MODEL as DEMO_MODEL
from gvtzoo.demo import PHOTONS, demo_images
from gvtzoo.packages.reader import LARGEST_TENSOR, ModelPackage

PERCENTILES = (0.1, 99.9)
SMALLEST_WIDTH = 512  # pixels; browsers blur what they have to enlarge


@dataclass(frozen=True)
class Pictures:
    """Two pictures of the same place.

    Attributes
    ----------
    before, after : bytes
        PNG files, 8 bit grey, of the same size.
    width, height : int
        In pixels.
    caption : str
        What they show, in one sentence.
    """

    before: bytes
    after: bytes
    width: int
    height: int
    caption: str


def pictures_of(package: ModelPackage) -> Pictures:
    """What a card compares: the demonstration's stack, else the package's sample images.

    Raises
    ------
    GvtzooError
        When the package's sample images are missing, damaged, or do not fit each other.
    """
    if package.config.metadata.id == DEMO_MODEL:
        return _demonstration(package)
    source, prediction = _samples(package)
    source = package.config.normalization.source.fit(source).apply(source)
    same_contrast = package.config.task != "label_free"
    return side_by_side(
        source, prediction, "From the package’s sample", same_contrast=same_contrast
    )


def side_by_side(
    source: np.ndarray, prediction: np.ndarray, origin: str, *, same_contrast: bool
) -> Pictures:
    """The slice in which the prediction varies most, from both images.

    Parameters
    ----------
    source : ndarray, shape (z, y, x) or (y, x)
        In the prediction's units, where the contrast is the same.
    prediction : ndarray, shape (z, y, x) or (y, x)
        A prediction without z is compared with the source's middle slice.
    origin : str
        How the caption begins.
    same_contrast : bool
        Whether the prediction's 0.1 and 99.9 percentiles are black and white in both; else each
        image has its own.

    Raises
    ------
    GvtzooError
        When the sizes along y and x differ.
    """
    number = _telling_slice(source, prediction)
    before, after = (image if image.ndim == 2 else image[number] for image in (source, prediction))
    if before.shape != after.shape:
        raise GvtzooError(
            f"the sample input has the shape {source.shape}, the sample output {prediction.shape}"
        )
    limits = np.percentile(prediction, PERCENTILES)
    own = limits if same_contrast else np.percentile(source, PERCENTILES)
    factor = -(-SMALLEST_WIDTH // after.shape[1])
    place = f", slice {number + 1} of {len(source)}" if source.ndim == 3 else ""
    contrast = "the same contrast on both sides" if same_contrast else "each side in its contrast"
    return Pictures(
        before=_png(before, own, factor),
        after=_png(after, limits, factor),
        width=after.shape[1] * factor,
        height=after.shape[0] * factor,
        caption=f"{origin}{place}; {contrast}.",
    )


def _demonstration(package: ModelPackage) -> Pictures:
    from gvtzoo.hub.load import load_own

    noisy, _ = demo_images()
    denoised = load_own(package.path).predict(noisy, device="cpu")
    origin = f"A stack not seen in training, {PHOTONS:g} photons at the bright structures"
    return side_by_side(noisy.to_numpy(), denoised.to_numpy(), origin, same_contrast=True)


def _telling_slice(source: np.ndarray, prediction: np.ndarray) -> int:
    if source.ndim == 2:
        return 0
    if prediction.ndim == 2:
        return len(source) // 2
    return int(prediction.std(axis=(1, 2)).argmax())


def _samples(package: ModelPackage) -> tuple[np.ndarray, np.ndarray]:
    """The sample images, ((z,) y, x), of the input's first channel."""
    with TemporaryDirectory() as folder:
        source, prediction = (
            _read_sample(package, place, Path(folder) / f"{place}.tif")
            for place in ("inputs", "outputs")
        )
    return source, prediction


def _read_sample(package: ModelPackage, place: str, path: Path) -> np.ndarray:
    from gvtzoo.images.files import read_image

    path.write_bytes(package.read(_sample_name(package, place), LARGEST_TENSOR))
    try:
        image = read_image(path, keep_channels=True)
    except GvtzooError as error:
        raise GvtzooError(f"{package.path}: the sample image of {place}: {error}") from error
    first = {axis: 0 for axis in image.dims if axis not in ("z", "y", "x")}
    return image.isel(first).to_numpy()


def _sample_name(package: ModelPackage, place: str) -> Any:
    try:
        return package.rdf[place][0]["sample_tensor"]["source"]
    except (KeyError, IndexError, TypeError) as error:
        raise GvtzooError(f"{package.path}: the description names no sample {place}") from error


def _png(plane: np.ndarray, limits: np.ndarray, factor: int) -> bytes:
    """Black and white at the limits, every pixel `factor` pixels wide and high."""
    from imagecodecs import png_encode

    low, high = limits
    grey = np.clip((plane - low) / max(high - low, 1e-12), 0, 1)
    pixels = (255 * grey).round().astype(np.uint8)
    return bytes(png_encode(pixels.repeat(factor, axis=0).repeat(factor, axis=1), level=9))
