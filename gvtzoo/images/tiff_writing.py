"""Writing TIFF: ImageJ hyperstacks, and OME-TIFF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import LENGTHS, MICROMETER, length_unit, symbol
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.raw import RawArray
from gvtzoo.images.tiff import AXES_KEY

IMAGEJ_ORDER = "tzcyx"
FIT_KEY = "gvtzoo_fit"  # whether a prediction's image fits the model
LARGEST_CLASSIC_TIFF = 2**32 - 2**25  # bytes, with room for metadata
LARGEST_EXACT_INTEGER = 2**24  # of float32
IMAGEJ_TYPES = ("u1", "u2", "f4")
OME_TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
OME_ENDINGS = (".ome.tif", ".ome.tiff")


def write_tiff(path: Path, image: xr.DataArray, name: str) -> None:
    """Write an ImageJ hyperstack, or OME-TIFF: where the name says so, and beyond 4 GB.

    Parameters
    ----------
    path : path
    image : DataArray
        Axes out of ``tczyx``, stored in the order TZCYX. uint8, uint16 and float32 keep their
        type, and in OME-TIFF other integers of up to 32 bits and float64; others become float32.
    name : str
        The file's name in the end: OME-TIFF when it ends in ``.ome.tif`` or ``.ome.tiff``.

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
    array = _storable(image.values, name)
    shape, options = _format_of(image, array.nbytes, name)
    tifffile.imwrite(path, array.reshape(shape), **options)


def create_tiff(path: Path, image: LazyImage) -> RawArray:
    """A new TIFF file to be filled, of the format that `write_tiff` would choose.

    Parameters
    ----------
    path : Path
    image : LazyImage
        What it will look like: float32, axes out of ``tzcyx`` in this order. None of its values is
        read.

    Returns
    -------
    RawArray
        Of the image's shape.
    """
    described = xr.DataArray(
        np.broadcast_to(np.float32(0), image.array.shape),
        dims=image.dims,
        attrs={"pixel_size": image.pixel_size, "unit": image.unit, "fit": image.fit},
    )
    if image.channels and len(image.channels) == image.sizes.get("c"):
        described = described.assign_coords(c=image.channels)
    shape, options = _format_of(described, 4 * described.size, path.name)
    tifffile.memmap(path, shape=shape, dtype=np.float32, byteorder="=", **options)
    return open_created_tiff(path, image.array.shape)


def open_created_tiff(path: Path, shape: Sequence[int]) -> RawArray:
    """A file that `create_tiff` has made, to be filled."""
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.series[0].dataoffset
    assert offset is not None  # uncompressed
    return RawArray(path, tuple(shape), np.dtype("=f4"), (int(offset),))


def is_ome_name(name: str) -> bool:
    """Whether a file's name promises OME-TIFF."""
    return name.lower().endswith(OME_ENDINGS)


def _format_of(image: xr.DataArray, size: int, name: str) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape and options for tifffile."""
    large = size > LARGEST_CLASSIC_TIFF
    if large or is_ome_name(name):
        return tuple(image.shape), {**_ome_options(image), "bigtiff": large}
    # All axes of the format, the last for colours: nothing is left to guess from small sizes.
    shape = tuple(image.sizes.get(axis, 1) for axis in (*IMAGEJ_ORDER, "colour"))
    return shape, _imagej_options(image)


def _imagej_options(image: xr.DataArray) -> dict[str, Any]:
    sizes, unit = _calibration(image)
    metadata: dict[str, Any] = {AXES_KEY: "".join(map(str, image.dims)).upper()}
    # Without a size zero, which programs take as unknown: tifffile would state 1 per unit.
    x, y = (1 / sizes[axis] if axis in sizes else 0.0 for axis in "xy")
    if unit and sizes:
        metadata["unit"] = "um" if unit == MICROMETER else _ascii(symbol(unit))
    if "z" in sizes:
        metadata["spacing"] = sizes["z"]
    if "t" in sizes:
        metadata["finterval"] = sizes["t"]
    if image.attrs.get("fit"):
        metadata[FIT_KEY] = _ascii(str(image.attrs["fit"]))
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
        if axis in sizes and unit in LENGTHS:
            metadata[f"PhysicalSize{axis.upper()}"] = sizes[axis]
            metadata[f"PhysicalSize{axis.upper()}Unit"] = symbol(unit)
    if "t" in sizes:
        metadata["TimeIncrement"] = sizes["t"]
        metadata["TimeIncrementUnit"] = "s"
    if "c" in image.coords and "c" in image.dims:
        metadata["Channel"] = {"Name": [str(label) for label in image.coords["c"].values]}
    if image.attrs.get("fit"):
        metadata["Description"] = f"{FIT_KEY}: {image.attrs['fit']}"
    return {"ome": True, "photometric": "minisblack", "metadata": metadata}


def _calibration(image: xr.DataArray) -> tuple[dict[str, float], str]:
    sizes = image.attrs.get("pixel_size") or {}
    kept = {
        axis: float(size)
        for axis, size in sizes.items()
        # TIFF's fractions hold no others.
        if axis in image.dims and 1e-9 <= size <= 1e9
    }
    return kept, length_unit(str(image.attrs.get("unit") or ""))


def _ascii(text: str) -> str:
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in text)


def _storable(array: np.ndarray, name: str) -> np.ndarray:
    """As one of the types that ImageJ shows, or OME-TIFF has."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.str[1:] in (OME_TYPES if is_ome_name(name) else IMAGEJ_TYPES):
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "uif":
        raise GvtzooError(f"{name}: {array.dtype} values do not fit TIFF, only real numbers do")
    if array.dtype.kind in "ui" and array.dtype.itemsize > 2:
        largest = max(-int(array.min()), int(array.max()))
        if largest > LARGEST_EXACT_INTEGER:
            raise GvtzooError(
                f"{name}: the value {largest} does not fit TIFF's float32, "
                f"which is exact up to {LARGEST_EXACT_INTEGER}: write npy"
            )
    try:
        with np.errstate(over="raise"):
            return array.astype(np.float32)
    except FloatingPointError:
        raise GvtzooError(f"{name}: values above 3.4e38 do not fit TIFF's float32") from None
