"""The pictures that a card compares, of one slice: input, prediction and, if it is known, truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import PHOTONS, demo_images
from gvtzoo.packages.reader import LARGEST_TENSOR, ModelPackage

DEMONSTRATED = ("gvtnet-denoising-nuclei", "gvtnet-denoising-3d")
PERCENTILES = (0.1, 99.9)
SMALLEST_WIDTH = 512  # pixels; browsers blur what they have to enlarge


@dataclass(frozen=True)
class ScaleBar:
    """A length on a picture.

    Attributes
    ----------
    percent : float
        Of the picture's width.
    label : str
        Such as ``10 µm``.
    """

    percent: float
    label: str


@dataclass(frozen=True)
class Pictures:
    """Pictures of the same place.

    Attributes
    ----------
    before, after, truth : bytes
        PNG files, 8 bit grey, of the same size; the truth is None where it is not known.
    width, height : int
        In pixels.
    caption : str
        What they show, in one sentence.
    bar : ScaleBar, optional
        None where the size of pixels is not known.
    """

    before: bytes
    after: bytes
    width: int
    height: int
    caption: str
    truth: bytes | None = None
    bar: ScaleBar | None = None

    @property
    def wide(self) -> bool:
        """Whether two of them stand better below than beside each other."""
        return self.width > 1.6 * self.height


def pictures_of(package: ModelPackage, example: Path | None = None) -> Pictures:
    """What a card compares.

    Nuclei are those of the demonstration's stack, where the model knows its voxel size; else it is
    the example, or without one the package's sample images, which have no truth.

    Parameters
    ----------
    package : ModelPackage
    example : Path, optional
        A folder with ``source.tif`` and ``target.tif``, which the model was not trained on.

    Raises
    ------
    GvtzooError
        When the package's sample images are missing, damaged, or do not fit each other.
    """
    if package.config.metadata.id in DEMONSTRATED:
        return _demonstration(package)
    same_contrast = package.config.task != "label_free"
    if example is not None and example.is_dir():
        return _of_example(package, example, same_contrast)
    source, prediction = _samples(package)
    source = package.config.normalization.source.fit(source).apply(source)
    return side_by_side(
        source, prediction, "From the package’s sample", same_contrast=same_contrast
    )


def side_by_side(
    source: np.ndarray,
    prediction: np.ndarray,
    origin: str,
    *,
    same_contrast: bool,
    truth: np.ndarray | None = None,
    pixel_size: float | None = None,
    unit: str | None = None,
) -> Pictures:
    """The slice in which the prediction varies most, from all images.

    Parameters
    ----------
    source : ndarray, shape (z, y, x) or (y, x)
        In the prediction's units, where the contrast is the same.
    prediction : ndarray, shape (z, y, x) or (y, x)
        A prediction without z is compared with the source's middle slice.
    origin : str
        How the caption begins.
    same_contrast : bool
        Whether the prediction's 0.1 and 99.9 percentiles are black and white in the source, too;
        else it has its own.
    truth : ndarray, optional
        Of the prediction's shape, in any units: it has its own contrast.
    pixel_size : float, optional
        Along x, in `unit`.
    unit : str, optional

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
    shown = None
    if truth is not None:
        expected = truth if truth.ndim == 2 else truth[number]
        shown = _png(expected, np.percentile(truth, PERCENTILES), factor)
    return Pictures(
        before=_png(before, own, factor),
        after=_png(after, limits, factor),
        width=after.shape[1] * factor,
        height=after.shape[0] * factor,
        caption=f"{origin}{place}; {contrast}.",
        truth=shown,
        bar=_scale_bar(after.shape[1], pixel_size, unit),
    )


def _demonstration(package: ModelPackage) -> Pictures:
    from gvtzoo.hub.load import load_own

    noisy, truth = demo_images()
    denoised = load_own(package.path).predict(noisy, device="cpu")
    return side_by_side(
        noisy.to_numpy(),
        denoised.to_numpy(),
        f"A stack not seen in training, {PHOTONS:g} photons at the bright structures",
        same_contrast=True,
        truth=truth.to_numpy(),
        pixel_size=noisy.attrs["pixel_size"]["x"],
        unit=noisy.attrs["unit"],
    )


def _of_example(package: ModelPackage, example: Path, same_contrast: bool) -> Pictures:
    from gvtzoo.hub.load import load_own
    from gvtzoo.images.files import read_image

    source, target = (read_image(example / f"{name}.tif") for name in ("source", "target"))
    prediction = load_own(package.path).predict(source, device="cpu")
    return side_by_side(
        source.to_numpy(),
        prediction.to_numpy(),
        "Not seen in training",
        same_contrast=same_contrast,
        truth=target.to_numpy(),
        pixel_size=source.attrs["pixel_size"].get("x"),
        unit=source.attrs["unit"],
    )


def _scale_bar(width: int, pixel_size: float | None, unit: str | None) -> ScaleBar | None:
    """Of a picture `width` pixels wide, a quarter of it at most."""
    if not pixel_size or not unit:
        return None
    from gvtzoo.images.calibration import round_length, symbol

    length = round_length(width * pixel_size)
    return ScaleBar(round(100 * length / (width * pixel_size), 2), f"{length:g} {symbol(unit)}")


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
