"""TIFF files: ImageJ hyperstacks, OME-TIFF, and plain ones, with axes and pixel sizes."""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import (
    MICROMETER,
    MICROMETERS,
    in_one_unit,
    length_unit,
    seconds,
)
from gvtzoo.images.lazy import LazyImage, View

log = logging.getLogger(__name__)

AXES = {"T": "t", "P": "p", "R": "p", "C": "c", "S": "c", "Z": "z", "Y": "y", "X": "x"}
UNKNOWN_AXES = "IQ"
IMAGEJ_ORDER = "tzcyx"
# ImageJ knows no one-slice stack or one-channel hyperstack: our own line keeps axes of size one.
AXES_KEY = "gvtzoo_axes"
LARGEST_CLASSIC_TIFF = 2**32 - 2**25  # bytes, with room for metadata
LARGEST_EXACT_INTEGER = 2**24  # of float32
MOST_PLANES = 10**6
LARGEST_COMPRESSION = 1000  # unpacked : packed
ALWAYS_UNPACKED = 2**28  # bytes
DAMAGE = re.compile(r"TiffPages.* (invalid|corrupted) |invalid value offset")


@dataclass(frozen=True)
class Content:
    """What an image file holds.

    Attributes
    ----------
    array : ndarray
        Or, of a file that stays where it is, a `TiffArray` or a `View` of it.
    axes : str or None
        One of ``tpczyx`` per axis; None when the file does not tell.
    stated_axes : str
        The file's own letters, where they are not all among ``tpczyx``.
    pixel_size : dict of str to float
        Of z, y, x in `unit`, of t in seconds, as far as the file tells.
    unit : str
    channels : list of str
        Their names, or nothing.
    origin : dict of str to float
        Where the first voxel's centre lies, as `LazyImage` has it.
    """

    array: Any
    axes: str | None = None
    stated_axes: str = ""
    pixel_size: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    channels: list[str] = field(default_factory=list)
    origin: dict[str, float] = field(default_factory=dict)


@dataclass
class TiffArray:
    """The pixels of a file's first image, of which only boxes are read.

    Uncompressed files are mapped into memory, others decoded page by page, tile by tile.

    Attributes
    ----------
    path : Path
    shape : tuple of int
    dtype : dtype
    chunks : tuple of int
        What is decoded together.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] = ()
    _pixels: Any = field(default=None, repr=False)

    def __getitem__(self, box: tuple[slice, ...]) -> np.ndarray:
        try:
            if self._pixels is None:
                self._pixels = _open_pixels(self.path)
            return np.asarray(self._pixels[box])
        except Exception as error:  # damaged files make the decoders fail in every way
            problem = " ".join(str(error).split()) or type(error).__name__
            raise GvtzooError(f"{self.path.name}: a part cannot be read: {problem}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None}


def _open_pixels(path: Path) -> Any:
    import zarr

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        if series.dataoffset is not None and series.keyframe.is_memmappable:
            return np.memmap(path, series.dtype, "r", series.dataoffset, series.shape)
    # It stays open as long as it is read.
    return zarr.open(tifffile.TiffFile(path).series[0].aszarr(), mode="r")


def read_tiff(path: Path, *, lazy: bool = False) -> Content:
    """The first image of a TIFF file.

    Parameters
    ----------
    path : Path
    lazy : bool
        Leave the pixels in the file; the content's array reads them.

    Raises
    ------
    GvtzooError
        When the file is truncated, or tells of more than it can hold.
    Exception
        Whatever tifffile and the decoders raise for damaged files.
    """
    with _complaints() as complaints, tifffile.TiffFile(path) as tiff:
        if tiff.is_ome and tiff.ome_metadata:
            _check_ome(tiff.ome_metadata, tiff.pages.first.size)
        series = tiff.series[0]
        _check_size(tiff, series)
        _check_complete(tiff, path, complaints)
        if len(tiff.series) > 1:
            log.warning("%s holds %d images: the first is read", path.name, len(tiff.series))
        array = _lazy_array(path, series) if lazy else series.asarray()
        if len(array.shape) != len(series.axes):
            raise GvtzooError(f"its pixels have shape {array.shape}, and axes {series.axes}")
        if tiff.is_ome and tiff.ome_metadata:
            pixel_size, unit, channels = _ome_metadata(tiff.ome_metadata)
        else:
            pixel_size, unit, channels = _imagej_metadata(tiff)
        axes = _axes_of(series.axes)
        written = str((tiff.imagej_metadata or {}).get(AXES_KEY, "")).lower()
    array, axes = _restore_single_axes(array, axes, written)
    stated = series.axes if axes is None else ""
    return Content(array, axes, stated, pixel_size, unit, channels)


def _lazy_array(path: Path, series: tifffile.TiffPageSeries) -> TiffArray:
    dtype = np.dtype(series.dtype)
    if series.dataoffset is not None:
        return TiffArray(path, tuple(series.shape), dtype)
    page = series.keyframe.chunks
    chunks = (1,) * (len(series.shape) - len(page)) + tuple(page)
    return TiffArray(path, tuple(series.shape), dtype, chunks)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs: it reads on, silently shorter, where a file ends too early."""
    messages: list[str] = []
    thread = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        messages.append(record.getMessage())
        log.debug("%s", messages[-1])
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield messages
    finally:
        logger.removeFilter(collect)


def _check_ome(xml: str, voxels: int) -> None:
    """Refuse files elsewhere, and more planes, of `voxels` each, than anyone has."""
    # OME-XML has no document type, by whose entities a short text becomes one of any size.
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise GvtzooError("its OME-XML has a document type, which is not read")
    for element in ElementTree.fromstring(xml).iter():
        tag = element.tag.rpartition("}")[2]
        name = element.get("FileName", "") if tag == "UUID" else ""
        if "/" in name or "\\" in name:
            raise GvtzooError(f"its OME-XML names a file in another folder, {name}")
        if tag == "TiffData":
            _check_planes(tag, max(map(int, element.attrib.values()), default=0))
        elif tag == "Pixels":
            sizes = [int(element.get(f"Size{axis}", "1")) for axis in "TCZYX"]
            _check_planes(tag, math.prod(sizes) // max(1, voxels))
        elif tag.startswith("ModuloAlong") and "Start" in element.attrib:
            start, end, step = (float(element.get(key, "1")) for key in ("Start", "End", "Step"))
            _check_planes(tag, int(1 + (end - start) / step))


def _check_planes(tag: str, planes: int) -> None:
    if planes > MOST_PLANES:
        raise GvtzooError(f"its OME-XML ({tag}) has {planes} planes, more than {MOST_PLANES}")


def _check_size(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Refuse images that are made room for, but of which the file can hold next to nothing."""
    stored = tiff.filehandle.size
    planes = len(series)
    if planes > MOST_PLANES:
        raise GvtzooError(f"it has {planes} planes, more than {MOST_PLANES}")
    if not series.is_multifile and series.nbytes > max(
        ALWAYS_UNPACKED, LARGEST_COMPRESSION * stored
    ):
        raise GvtzooError(
            f"it tells of an image of {series.nbytes} bytes (shape {series.shape}), "
            f"in a file of {stored}"
        )


def _check_complete(tiff: tifffile.TiffFile, path: Path, complaints: Sequence[str]) -> None:
    if any(DAMAGE.search(message) for message in complaints):
        raise GvtzooError(f"{path} is truncated or damaged: copy or export it again")
    pages = list(tiff.series[0].pages)
    for page in pages:
        if page is None:
            continue
        stored = zip(page.dataoffsets, page.databytecounts, strict=False)
        ends = max((offset + count for offset, count in stored), default=0)
        if ends > page.parent.filehandle.size:
            raise GvtzooError(f"{path} is truncated, it ends within its pixels: copy it again")
    missing = sum(page is None for page in pages)
    if missing:
        log.warning("%s lacks %d of its %d planes: they are zero", path.name, missing, len(pages))


def _axes_of(axes: str) -> str | None:
    if len(axes) == 3 and sum(axis in UNKNOWN_AXES for axis in axes) == 1:
        axes = re.sub(f"[{UNKNOWN_AXES}]", "Z", axes)
    if not all(axis in AXES for axis in axes):
        return None
    named = "".join(AXES[axis] for axis in axes)
    return named if len(set(named)) == len(named) else None


def _restore_single_axes(array: Any, axes: str | None, written: str) -> tuple[Any, str | None]:
    if axes is None or [axis for axis in written if axis in axes] != list(axes):
        return array, axes
    if isinstance(array, np.ndarray):
        sizes = dict(zip(axes, array.shape, strict=True))
        return array.reshape([sizes.get(axis, 1) for axis in written]), written
    numbers = {axis: number for number, axis in enumerate(axes)}
    return View(array, tuple(numbers.get(axis) for axis in written)), written


def _imagej_metadata(tiff: tifffile.TiffFile) -> tuple[dict[str, float], str, list[str]]:
    metadata: Mapping[str, Any] = tiff.imagej_metadata or {}
    unit = length_unit(str(metadata.get("unit", "")))
    sizes = _resolution(tiff.pages.first.tags, unit)
    if isinstance(metadata.get("spacing"), (int, float)):
        z_unit = length_unit(str(metadata.get("zunit", ""))) or unit
        sizes["z"] = (abs(float(metadata["spacing"])), z_unit)
    pixel_size, unit = in_one_unit(sizes)
    if isinstance(metadata.get("finterval"), (int, float)):
        interval = seconds(float(metadata["finterval"]), str(metadata.get("tunit", "")))
        if interval is not None:
            pixel_size["t"] = interval
    # One label per plane, channels changing fastest.
    count = metadata.get("channels", 1)
    labels = [str(label).split("\n")[0] for label in (metadata.get("Labels") or [])[:count]]
    return pixel_size, unit, labels if count > 1 else []


def _resolution(tags: tifffile.TiffTags, unit: str) -> dict[str, tuple[float, str]]:
    unit_tag = tags.get("ResolutionUnit")
    resolution_unit = {2: "inch", 3: "cm"}.get(int(unit_tag.value) if unit_tag else 1, "")
    sizes = {}
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        numerator, denominator = tags[name].value if name in tags else (0, 0)
        if not numerator or not denominator:
            continue
        size = denominator / numerator
        micrometers = size * MICROMETERS.get(resolution_unit, 0)
        if unit:
            sizes[axis] = (size, unit)
        elif 0 < micrometers < 10:
            # Coarser than 10 µm is the resolution of a print or screen, not of a microscope.
            sizes[axis] = (micrometers, MICROMETER)
    return sizes


def _ome_metadata(xml: str) -> tuple[dict[str, float], str, list[str]]:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return {}, "", []
    sizes = {}
    for axis in "zyx":
        name = f"PhysicalSize{axis.upper()}"
        if name in pixels.attrib:
            unit = length_unit(pixels.get(f"{name}Unit", MICROMETER))
            sizes[axis] = (float(pixels.attrib[name]), unit)
    pixel_size, unit = in_one_unit(sizes)
    if "TimeIncrement" in pixels.attrib:
        interval = seconds(
            float(pixels.attrib["TimeIncrement"]), pixels.get("TimeIncrementUnit", "s")
        )
        if interval is not None:
            pixel_size["t"] = interval
    channels = [channel.get("Name", "") for channel in pixels.findall("{*}Channel")]
    return pixel_size, unit, channels if all(channels) else []


def write_tiff(path: Path, image: xr.DataArray, name: str) -> None:
    """Write an ImageJ hyperstack; beyond 4 GB, where ImageJ's own format ends, a big OME-TIFF.

    Parameters
    ----------
    path : path
    image : DataArray
        Axes out of ``tczyx``, stored in the order TZCYX. uint8, uint16 and float32 keep their
        type, others become float32.
    name : str
        What to call the file in messages.

    Raises
    ------
    GvtzooError
        When axes or values do not fit.
    """
    unfit = [str(axis) for axis in image.dims if str(axis) not in IMAGEJ_ORDER]
    if unfit:
        raise GvtzooError(
            f"{name}: ImageJ's TIFF has no axis {', '.join(unfit).upper()}: "
            "write one file for each of its positions, or npy"
        )
    if not {"y", "x"} <= set(image.dims):
        raise GvtzooError(f"{name}: an image of axes {image.dims} is no TIFF, y and x are needed")
    if image.size == 0:
        raise GvtzooError(f"{name}: an empty image (shape {image.shape}) is no TIFF")
    image = image.transpose(*(axis for axis in IMAGEJ_ORDER if axis in image.dims))
    array = _storable(image.to_numpy(), name)
    shape, options = _format_of(image, array.nbytes)
    tifffile.imwrite(path, array.reshape(shape), **options)


def create_tiff(path: Path, image: LazyImage) -> np.memmap:
    """A new TIFF file to be filled, of the format that `write_tiff` would choose.

    Parameters
    ----------
    path : Path
    image : LazyImage
        What it will look like: float32, axes out of ``tzcyx`` in this order. None of its values is
        read.

    Returns
    -------
    memmap
        Of the image's shape.
    """
    described = xr.DataArray(
        np.broadcast_to(np.float32(0), image.array.shape),
        dims=image.dims,
        attrs={"pixel_size": image.pixel_size, "unit": image.unit},
    )
    shape, options = _format_of(described, 4 * described.size)
    tifffile.memmap(path, shape=shape, dtype=np.float32, byteorder="=", **options)
    return open_created_tiff(path, image.array.shape)


def open_created_tiff(path: Path, shape: Sequence[int]) -> np.memmap:
    """A file that `create_tiff` has made, to be filled."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.series[0].dataoffset
    assert offset is not None  # uncompressed
    return np.memmap(path, np.dtype("=f4"), "r+", offset, tuple(shape))


def _format_of(image: xr.DataArray, size: int) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape and options for tifffile."""
    if size > LARGEST_CLASSIC_TIFF:
        return tuple(image.shape), _ome_options(image)
    # All axes of the format, the last for colours: nothing is left to guess from small sizes.
    shape = tuple(image.sizes.get(axis, 1) for axis in (*IMAGEJ_ORDER, "colour"))
    return shape, _imagej_options(image)


def _imagej_options(image: xr.DataArray) -> dict[str, Any]:
    sizes, unit = _calibration(image)
    metadata: dict[str, Any] = {AXES_KEY: "".join(map(str, image.dims)).upper()}
    # Without a size zero, which programs take as unknown: tifffile would state 1 per unit.
    x, y = (1 / sizes[axis] if axis in sizes else 0.0 for axis in "xy")
    if unit and sizes:
        metadata["unit"] = "um" if unit == MICROMETER else _ascii(unit)
    if "z" in sizes:
        metadata["spacing"] = sizes["z"]
    if "t" in sizes:
        metadata["finterval"] = sizes["t"]
    if "c" in image.coords and image.sizes.get("c", 1) > 1:
        planes = image.sizes.get("t", 1) * image.sizes.get("z", 1)
        metadata["Labels"] = [str(label) for label in image.coords["c"].values] * planes
    return {
        "imagej": True,
        "photometric": "minisblack",
        "metadata": metadata,
        "resolution": (x, y),
        "resolutionunit": "NONE",
    }


def _ome_options(image: xr.DataArray) -> dict[str, Any]:
    sizes, unit = _calibration(image)
    metadata: dict[str, Any] = {"axes": "".join(map(str, image.dims)).upper()}
    for axis in "zyx":
        if axis in sizes and unit in MICROMETERS:
            metadata[f"PhysicalSize{axis.upper()}"] = sizes[axis]
            metadata[f"PhysicalSize{axis.upper()}Unit"] = "µm" if unit == MICROMETER else unit
    if "t" in sizes:
        metadata["TimeIncrement"] = sizes["t"]
        metadata["TimeIncrementUnit"] = "s"
    if "c" in image.coords and "c" in image.dims:
        metadata["Channel"] = {"Name": [str(label) for label in image.coords["c"].values]}
    return {"bigtiff": True, "ome": True, "photometric": "minisblack", "metadata": metadata}


def _calibration(image: xr.DataArray) -> tuple[dict[str, float], str]:
    sizes = image.attrs.get("pixel_size") or {}
    kept = {
        axis: float(size)
        for axis, size in sizes.items()
        # TIFF's fractions hold no others.
        if axis in image.dims and 1e-9 <= size <= 1e9
    }
    return kept, str(image.attrs.get("unit") or "")


def _ascii(text: str) -> str:
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in text)


def _storable(array: np.ndarray, name: str) -> np.ndarray:
    """As one of the types that ImageJ shows: uint8, uint16, float32."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype in (np.uint8, np.uint16, np.float32):
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "uif":
        raise GvtzooError(f"{name}: {array.dtype} values do not fit TIFF, only real numbers do")
    if array.dtype.kind in "ui" and array.dtype.itemsize > 2:
        largest = max(-int(array.min()), int(array.max()))
        if largest > LARGEST_EXACT_INTEGER:
            raise GvtzooError(
                f"{name}: the value {largest} does not fit ImageJ's float32, "
                f"which is exact up to {LARGEST_EXACT_INTEGER}: write npy"
            )
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float32)
    except FloatingPointError:
        raise GvtzooError(f"{name}: values above 3.4e38 do not fit TIFF's float32") from None
