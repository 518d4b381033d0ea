"""Reading and writing images as `xarray.DataArray` with named axes.

Axes are single lower-case letters: ``t`` (time), ``p`` (position), ``c`` (channel), ``z``, ``y``,
``x``. ``image.attrs["pixel_size"]`` maps z, y, x to sizes in ``image.attrs["unit"]``, and t to
seconds, as far as the file tells; both are always there, and empty when it tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically, write_folder_atomically
from gvtzoo.images.content import Content
from gvtzoo.images.formats import MICROSCOPE_SUFFIXES, read_microscope_file
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.npy import open_npy, open_npz
from gvtzoo.images.ome_sets import TIFF_SUFFIXES, image_of, is_companion
from gvtzoo.images.pictures import PICTURE_SUFFIXES, read_picture
from gvtzoo.images.tiff import read_tiff
from gvtzoo.images.tiff_writing import OME_ENDINGS, write_tiff
from gvtzoo.images.zarr_stores import ZIP_SUFFIXES, Place, archive_of, is_url, is_zarr, name_of

if TYPE_CHECKING:
    from gvtzoo.images.ome_zarr_writer import ZarrOptions

ZARR_SUFFIX = ".zarr"
WRITTEN_SUFFIXES = (*TIFF_SUFFIXES, ".npy", ".npz", ZARR_SUFFIX)
IMAGE_SUFFIXES = (*WRITTEN_SUFFIXES, *ZIP_SUFFIXES, *PICTURE_SUFFIXES, *MICROSCOPE_SUFFIXES)
AXES = "tpczyx"


def find_images(path: str | Path) -> list[Path]:
    """The images in a folder, sorted by name; a file gives itself.

    A Zarr collection, such as a plate, is a folder of the images in it.

    An image that is stored in several files (a multi-file OME-TIFF) is there once, by the first of
    them (`image_of`); `files_of` gives all.

    Parameters
    ----------
    path : path
        A folder, or one image.

    Returns
    -------
    list of Path

    Raises
    ------
    GvtzooError
        When there is nothing, or the folder holds no image.
    """
    path = Path(path)
    if is_zarr(path) and (path.exists() or archive_of(path)):
        return _zarr_images(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise GvtzooError(f"there is no file or folder {path}")
    found = [
        file
        for file in path.iterdir()
        if file.name.lower().endswith(IMAGE_SUFFIXES)
        and not file.name.startswith(".")
        and (file.is_file() or is_zarr(file))
    ]
    if not found:
        raise GvtzooError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return sorted({image_of(file) for file in found})


def _zarr_images(path: Path) -> list[Path]:
    from gvtzoo.images.ome_zarr import images_in

    try:
        return [Path(image) for image in images_in(path)]
    except GvtzooError:
        return [path]  # reading it says what is wrong


def read_image(
    path: Place,
    *,
    axes: str | None = None,
    channel: int | str | None = None,
    keep_channels: bool = False,
    series: int | str | None = None,
    level: int | None = None,
) -> xr.DataArray:
    """`open_image`, and all of its values.

    Parameters
    ----------
    path, axes, channel, keep_channels, series, level
        As of `open_image`.

    Returns
    -------
    xarray.DataArray
        In the file's order of axes and its type, in native byte order.

    Raises
    ------
    GvtzooError
        When the file cannot be read, or axes, channel, series or level do not fit it.
    """
    return open_image(
        path, axes=axes, channel=channel, keep_channels=keep_channels, series=series, level=level
    ).load()


def open_image(
    path: Place,
    *,
    axes: str | None = None,
    channel: int | str | None = None,
    keep_channels: bool = False,
    series: int | str | None = None,
    level: int | None = None,
) -> LazyImage:
    """An image from a file, whose values stay there until they are asked for.

    TIFF (ImageJ, OME, plain; also in several files), OME-Zarr, npy and npz are read box by box;
    PNG, JPEG, compressed npz, and CZI, ND2 or LIF (by bioio) are in memory.

    Parameters
    ----------
    path : path
        Also the address of an OME-Zarr image on a server (https, s3).
    axes : str, optional
        Names of the axes, such as ``"ZYX"``, instead of the file's own. Without them, arrays of
        two axes are taken as YX, of three as ZYX.
    channel : int or str, optional
        Number (from 0) or name of the channel to take; needed when there are several.
    keep_channels : bool
        Keep all channels, as axis ``c``, for networks that take several.
    series : int or str, optional
        Number (from 0) or name of one of several images in the file.
    level : int, optional
        One of several resolutions, 0 being the finest, which is taken without it.

    Returns
    -------
    LazyImage
        In the file's order of axes and its type.

    Raises
    ------
    GvtzooError
        When the file cannot be opened, or axes, channel, series or level do not fit it. What is
        wrong with the values is found when they are read.
    """
    if is_zarr(path):
        content, name = _read_zarr(path, series, level), name_of(path)
        shown = str(path) if is_url(path) else Path(path).name
    else:
        path = Path(path)
        _check_readable(path)
        if is_companion(path):
            path = image_of(path)
        content, name, shown = _read(path, series, level), path.stem, path.name
    array = content.array
    if array.dtype.kind not in "buifc":
        raise GvtzooError(f"{path} holds values of type {array.dtype}, not numbers")
    if axes is not None:
        names = _parse_axes(axes, array.shape, shown)
    else:
        names = content.axes or _guess_axes(array.shape, shown, content.stated_axes)
    pixel_size = {axis: size for axis, size in content.pixel_size.items() if axis in names}
    origin = {axis: at for axis, at in content.origin.items() if axis in names}
    image = LazyImage(
        array, tuple(names), name, pixel_size, content.unit, list(content.channels), origin
    )
    return image if keep_channels else _take_channel(image, channel, shown)


def _check_readable(path: Path) -> None:
    if path.is_dir():
        raise GvtzooError(f"{path} is a folder: name an image in it")
    if not path.is_file():
        raise GvtzooError(f"there is no file {path}")
    if path.suffix.lower() not in IMAGE_SUFFIXES and not is_companion(path):
        raise GvtzooError(
            f"{path} is not an image that can be read: {', '.join(IMAGE_SUFFIXES)} are"
        )
    if path.stat().st_size == 0:
        raise GvtzooError(f"{path} is an empty file")


def _read(path: Path, series: int | str | None, level: int | None) -> Content:
    try:
        return _read_file(path, series, level)
    except GvtzooError as error:
        raise GvtzooError(f"{path} cannot be read: {error}") from error
    except PermissionError as error:
        raise GvtzooError(f"{path} cannot be read: {error.strerror}") from error
    except MemoryError as error:
        raise GvtzooError(f"{path} does not fit the memory: save it as TIFF") from error
    except Exception as error:  # damaged files make the readers fail in every way
        problem = " ".join(str(error).split()) or type(error).__name__
        raise GvtzooError(f"{path} cannot be read, it seems damaged: {problem}") from error


def _read_file(path: Path, series: int | str | None, level: int | None) -> Content:
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        return read_tiff(path, series=series, level=level)
    if level not in (None, 0):
        raise GvtzooError(f"there is no level {level}, it has one resolution")
    if suffix in MICROSCOPE_SUFFIXES:
        return read_microscope_file(path, series=series)
    if series not in (None, 0, "0"):
        raise GvtzooError(f"there is no series {series}, it holds one image")
    if suffix in PICTURE_SUFFIXES:
        return read_picture(path)
    return Content(open_npy(path) if suffix == ".npy" else open_npz(path))


def _read_zarr(place: Place, series: int | str | None, level: int | None) -> Content:
    from gvtzoo.images.ome_zarr import open_ome_zarr

    try:
        image = open_ome_zarr(place, level=level, series=series)
    except GvtzooError:
        raise
    except Exception as error:  # metadata that lie make zarr fail in every way
        problem = " ".join(str(error).split()) or type(error).__name__
        raise GvtzooError(f"{place} cannot be read, it seems damaged: {problem}") from error
    return Content(
        image.array,
        "".join(image.dims),
        "",
        image.pixel_size,
        image.unit,
        image.channels,
        image.origin,
    )


def _parse_axes(axes: str, shape: tuple[int, ...], name: str) -> str:
    names = axes.lower()
    if not set(names) <= set(AXES) or len(set(names)) < len(names):
        raise GvtzooError(f"--axes {axes}: use each of {AXES.upper()} at most once, such as ZYX")
    if len(names) != len(shape):
        raise GvtzooError(
            f"{name} has {len(shape)} axes of sizes {shape}, --axes {axes} names {len(names)}"
        )
    if not {"y", "x"} <= set(names):
        raise GvtzooError(f"--axes {axes}: an image has at least Y and X")
    return names


def _guess_axes(shape: tuple[int, ...], name: str, stated: str) -> str:
    if len(shape) < 2:
        raise GvtzooError(f"{name} has shape {shape}: an image has at least two axes, Y and X")
    if stated or len(shape) > 3:
        calls = f"calls them {stated}" if stated else "does not name them"
        raise GvtzooError(
            f"{name} has {len(shape)} axes of sizes {shape}, and {calls}: "
            f"say which they are, such as --axes {'TCZYX'[-len(shape) :]}"
        )
    return "zyx"[-len(shape) :]


def _take_channel(image: LazyImage, channel: int | str | None, name: str) -> LazyImage:
    if "c" not in image.dims:
        if channel not in (None, 0, "0"):
            raise GvtzooError(f"{name} has a single channel, there is no channel {channel}")
        return image
    count = image.sizes["c"]
    labels = image.channels if count == len(image.channels) == len(set(image.channels)) else []
    if channel is None and count == 1:
        channel = 0
    named = f" ({', '.join(labels)})" if labels else ""
    listed = f"{count} channel{'s' * (count > 1)}{named}"
    if channel is None:
        planes = "" if "z" in image.dims or count <= 3 else ", or, if they are planes, --axes "
        planes += "".join(image.dims).upper().replace("C", "Z") if planes else ""
        raise GvtzooError(f"{name} has {listed}: choose one with {_choices(count)}{planes}")
    index = _channel_index(channel, labels)
    if index is None or not 0 <= index < count:
        raise GvtzooError(
            f"{name} has no channel {channel}, it has {listed}: choose one with {_choices(count)}"
        )
    return image.take("c", index)


def _channel_index(channel: int | str, labels: Sequence[str]) -> int | None:
    if channel in labels:
        return labels.index(str(channel))
    try:
        return int(channel)
    except ValueError:
        return None


def _choices(count: int) -> str:
    if count <= 3:
        return " or ".join(f"--channel {index}" for index in range(count))
    return f"--channel 0 to {count - 1}"


def write_image(
    path: str | Path,
    image: xr.DataArray,
    *,
    overwrite: bool = False,
    zarr: ZarrOptions | None = None,
) -> None:
    """Write an image as ImageJ's TIFF, OME-TIFF, OME-Zarr, npy or npz, by the end of its name.

    OME-Zarr (0.5) keeps axes, pixel size, unit, channel names and type. TIFF keeps axes (in the
    order TZCYX), pixel size, unit and channel names; uint8, uint16 and float32 keep their type,
    others become float32. ``.ome.tif`` is OME-TIFF, which has more types. npy and npz keep the
    values only. Missing folders are made.

    Parameters
    ----------
    path : path
    image : DataArray
    overwrite : bool
        Whether a file that exists is replaced.
    zarr : ZarrOptions, optional
        How OME-Zarr is written.

    Raises
    ------
    GvtzooError
        When the file exists, its suffix is unknown, the image does not fit the format, or the disk
        refuses it.
    """
    path = Path(path)
    check_writable(path, overwrite)
    write = write_folder_atomically if path.suffix.lower() == ZARR_SUFFIX else write_atomically
    try:
        with write(path) as temporary:
            _write(temporary, image, path, zarr)
    except OSError as error:
        raise GvtzooError(f"{path} cannot be written: {error.strerror or error}") from error


def _write(temporary: Path, image: xr.DataArray, path: Path, zarr: ZarrOptions | None) -> None:
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES:
        write_tiff(temporary, image, path.name)
        return
    if suffix == ZARR_SUFFIX:
        _write_zarr(temporary, image, zarr)
        return
    with temporary.open("wb") as file:
        if suffix == ".npy":
            np.save(file, image.values, allow_pickle=False)
        else:
            np.savez_compressed(file, image=image.values)


def _write_zarr(path: Path, image: xr.DataArray, options: ZarrOptions | None) -> None:
    from gvtzoo.images.ome_zarr_metadata import ORDER
    from gvtzoo.images.ome_zarr_writer import (
        ZarrOptions,
        add_pyramid,
        create_ome_zarr,
        suited_chunks,
    )

    options = options or ZarrOptions()
    image = image.transpose(*sorted(image.dims, key=(*ORDER, *image.dims).index))
    described = LazyImage.of(image)
    chunks = suited_chunks(described.dims, image.shape, image.shape[-2 - ("z" in image.dims) :])
    array = create_ome_zarr(path, described, chunks=chunks, version=options.version)
    array[...] = image.values
    if options.pyramid:
        add_pyramid(path, described)


def with_ending(path: Path, ending: str) -> Path:
    """A file beside another one, such as ``a_sigma.ome.tif`` beside ``a.ome.tif``."""
    suffix = next((s for s in OME_ENDINGS if path.name.lower().endswith(s)), path.suffix)
    stem = path.name[: len(path.name) - len(suffix)]
    return path.with_name(f"{stem}{ending}{path.name[len(stem) :]}")


def check_writable(path: Path, overwrite: bool) -> None:
    """Refuse an output that exists, or whose format is unknown.

    Raises
    ------
    GvtzooError
    """
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise GvtzooError(
            f"{path}: {path.suffix or 'no suffix'} is not a format that can be written: "
            f"{', '.join(WRITTEN_SUFFIXES)} are"
        )
    if path.is_dir() and path.suffix.lower() != ZARR_SUFFIX:
        raise GvtzooError(f"{path} is a folder: name a file in it")
    if path.exists() and not overwrite:
        raise GvtzooError(f"{path} exists: choose another name or pass --overwrite")
