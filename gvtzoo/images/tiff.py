"""TIFF files of any kind, read lazily: ImageJ hyperstacks, OME-TIFF, plain ones.

tifffile tells which images (series) and resolutions (levels) a file holds; where what it goes by
and the pixels disagree, all pixels are read, or a line says which are not. `TiffArray` reads boxes.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.content import Content
from gvtzoo.images.lazy import Box, View
from gvtzoo.images.ome_sets import metadata_file, ome_xml
from gvtzoo.images.raw import RawArray
from gvtzoo.images.tiff_metadata import (
    MOST_PLANES,
    Described,
    check_ome,
    imagej_description,
    ome_description,
    ome_root,
)

log = logging.getLogger(__name__)

AXES = {"T": "t", "P": "p", "R": "p", "C": "c", "S": "c", "Z": "z", "Y": "y", "X": "x"}
UNKNOWN_AXES = "IQ"
# ImageJ knows no one-slice stack or one-channel hyperstack: our own line keeps axes of size one.
AXES_KEY = "gvtzoo_axes"
LARGEST_COMPRESSION = 1000  # unpacked : packed
ALWAYS_UNPACKED = 2**28  # bytes
MOST_LISTED = 6
DAMAGE = re.compile(r"TiffPages.* (invalid|corrupted) |invalid value offset")
IMAGEJ_COMPLAINT = "ImageJ series metadata invalid"  # of which there is a note of our own
TIFFFILE_NAME = re.compile(r"^<tifffile\.\w+ .*?> ")
# What is no image of its own, but about another one.
BESIDE = re.compile(
    r"labels?|masks?|seg|segmentations?|thumb|thumbnails?|macro|preview|overview|rois?|annotations?"
)


@dataclass
class TiffArray:
    """The pixels of an image in a TIFF file, decoded where a box is read.

    Attributes
    ----------
    path : Path
    series, level : int
        Which of the file's images, and which of its resolutions.
    shape : tuple of int
    dtype : dtype
    """

    path: Path
    series: int
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype
    _pixels: Any = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is decoded together."""
        return tuple(self._opened().chunks)

    def __getitem__(self, box: Box) -> np.ndarray:
        try:
            return np.asarray(self._opened()[box])
        except Exception as error:  # damaged files make the decoders fail in every way
            problem = " ".join(str(error).split()) or type(error).__name__
            raise GvtzooError(
                f"{self.path} cannot be read, its pixels seem damaged: {problem}"
            ) from error

    def _opened(self) -> Any:
        import zarr

        with self._lock:
            if self._pixels is None:
                with _complaints():  # which `read_tiff` has passed on
                    series = _open(self.path).series[self.series]
                # The file stays open as long as it is read.
                self._pixels = zarr.open_array(series.aszarr(level=self.level), mode="r")
            return self._pixels

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pixels": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


@dataclass
class _Tiff:
    """An open file.

    Attributes
    ----------
    file : TiffFile
        As its description says it is.
    series : list of TiffPageSeries
        Its images; of another `TiffFile` where the description is wrong.
    ome : Element, optional
        The OME-XML of the file or its companion.
    notes : list of str
        Where description and pixels disagree.
    """

    file: tifffile.TiffFile
    series: list[tifffile.TiffPageSeries]
    ome: ElementTree.Element | None
    notes: list[str]

    def describe(self, number: int) -> Described:
        """What the file tells of one of its images."""
        if self.ome is None:
            return imagej_description(self.file)
        return ome_description(self.ome, [series.name for series in self.series], number)


def read_tiff(path: Path, *, series: int | str | None = None, level: int | None = None) -> Content:
    """An image in a TIFF file, of which no pixels are read yet.

    Parameters
    ----------
    path : Path
    series : int or str, optional
        Number (from 0) or name of one of several images; without it the first that is no label or
        thumbnail of another one.
    level : int, optional
        Which of several resolutions, 0 being the finest, which is taken without it.

    Raises
    ------
    GvtzooError
        When the file is truncated, tells of more than it can hold, or has no such series or level.
    Exception
        Whatever tifffile and the decoders raise for damaged files.
    """
    with _complaints() as complaints:
        opened = _open(path)
        with opened.file:
            number = _choose_series(opened, path, series)
            chosen = opened.series[number]
            levels = chosen.levels
            _check_level(levels, level)
            pixels = levels[level or 0]
            _check_size(opened.file, pixels)
            _check_complete(opened.file, path, pixels, complaints)
            described = opened.describe(number)
            shape = tuple(map(int, pixels.shape))
            if len(shape) != len(pixels.axes):
                raise GvtzooError(f"its pixels have shape {shape}, and axes {pixels.axes}")
            array: Any = _raw_array(path, opened, pixels) or TiffArray(
                path, number, level or 0, shape, np.dtype(pixels.dtype)
            )
            written = str((opened.file.imagej_metadata or {}).get(AXES_KEY, "")).lower()
            notes = [*opened.notes, *described.notes, *_missing_planes(pixels)]
            shapes = [_shape_text(one.shape) for one in levels]
    if len(levels) > 1 and level is None:
        notes.append(
            f"has {len(levels)} resolutions ({', '.join(shapes)}): the finest is read, --level N "
            "takes another"
        )
    said = [_plain(complaint) for complaint in complaints if IMAGEJ_COMPLAINT not in complaint]
    for note in dict.fromkeys([*notes, *said]):
        log.warning("%s: %s", path.name, note)
    axes = _axes_of(pixels.axes)
    array, axes = _restore_single_axes(array, axes, written)
    stated = pixels.axes if axes is None else ""
    pixel_size = _at_level(described.pixel_size, chosen, pixels)
    return Content(array, axes, stated, pixel_size, described.unit, described.channels)


def _open(path: Path) -> _Tiff:
    """The images that a file holds, in which all of its planes are, as far as that is possible."""
    notes: list[str] = []
    tiff = tifffile.TiffFile(path)
    root = None
    if tiff.is_ome and tiff.ome_metadata:
        tiff, root = _described_by_ome(tiff, path, notes)
    if not tiff.series:
        raise GvtzooError("it holds no image")
    if root is not None:
        series = list(tiff.series)
    else:
        series = _as_imagej_says(tiff, path, notes)
        series = _joined(series, notes)
    notes += _unread_pages(tiff, series)
    return _Tiff(tiff, series, root, notes)


def _described_by_ome(
    tiff: tifffile.TiffFile, path: Path, notes: list[str]
) -> tuple[tifffile.TiffFile, ElementTree.Element | None]:
    """The file as OME-XML describes it: its own, or that of the set that it is a part of."""
    own = tiff.ome_metadata
    assert own
    root = ome_root(own)
    if root is not None and root.find("{*}BinaryOnly") is not None:
        companion = metadata_file(own)
        xml = ome_xml(path)
        if xml is None:
            notes.append(
                f"is one file of a set that {companion or 'a file elsewhere'} describes, which is "
                "not here: only this file's planes are read, without their voxel size"
            )
            tiff.close()
            return tifffile.TiffFile(path, is_ome=False), None
        tiff.close()
        tiff, root = tifffile.TiffFile(path, omexml=xml), ome_root(xml)
    if root is None:
        notes.append("its OME-XML is damaged: read as a plain TIFF, without voxel size and names")
        tiff.close()
        return tifffile.TiffFile(path, is_ome=False), None
    check_ome(root, tiff.pages.first.size)
    if not tiff.series:
        notes.append("its OME-XML describes no image that is there: read as a plain TIFF")
        tiff.close()
        return tifffile.TiffFile(path, is_ome=False), None
    return tiff, root


def _as_imagej_says(
    tiff: tifffile.TiffFile, path: Path, notes: list[str]
) -> list[tifffile.TiffPageSeries]:
    """The images of a file; all of its planes where an ImageJ description tells of fewer."""
    series = list(tiff.series)
    if not tiff.imagej_metadata:
        return series
    if series[0].kind == "imagej":
        if len(tiff.pages) <= math.prod(series[0].shape) // series[0].keyframe.size:
            return series
        plain = list(tifffile.TiffFile(path, is_imagej=False).series)
        if math.prod(plain[0].shape) <= math.prod(series[0].shape):
            return series
        series = plain
    planes = math.prod(series[0].shape) // series[0].keyframe.size
    said = ", ".join(
        f"{tiff.imagej_metadata[key]} {key}"
        for key in ("images", "channels", "slices", "frames")
        if key in tiff.imagej_metadata
    )
    notes.append(
        f"its ImageJ description ({said}) does not fit its {planes} planes: all are read, as z "
        "unless --axes says otherwise"
    )
    return series


def _joined(
    series: list[tifffile.TiffPageSeries], notes: list[str]
) -> list[tifffile.TiffPageSeries]:
    """A stack that was written plane by plane, each of which counts as an image: one image."""
    first = series[0]
    alike = len(series) > 1 and all(
        one.kind == "shaped"
        and one.shape == first.shape
        and math.prod(one.shape) == one.keyframe.size
        and one.keyframe.hash == first.keyframe.hash
        and len(one.levels) == 1
        for one in series
    )
    if not alike:
        return series
    pages = [one.keyframe for one in series]
    notes.append(f"was written plane by plane: its {len(pages)} planes are read as one stack")
    shape, axes = (len(pages), *first.shape), f"I{first.axes}"
    return [tifffile.TiffPageSeries(pages, shape, first.dtype, axes)]


def _unread_pages(tiff: tifffile.TiffFile, series: Sequence[tifffile.TiffPageSeries]) -> list[str]:
    """Planes of the file that are in none of its images."""
    if series[0].kind not in ("ome", "imagej", "shaped"):
        return []
    read = {
        page.index
        for one in series
        for level in one.levels
        for page in level.pages
        if page is not None and page.parent.filehandle.name == tiff.filehandle.name
    }
    stored_behind = any(len(one.pages) == 1 and len(one) > 1 for one in series)
    unread = 0 if stored_behind else len(tiff.pages) - len(read & set(range(len(tiff.pages))))
    if not unread:
        return []
    return [f"{unread} of its {len(tiff.pages)} planes are in no image that it describes: not read"]


def _choose_series(opened: _Tiff, path: Path, wanted: int | str | None) -> int:
    """The number of the image to be read, with a note where it was not asked for."""
    series = opened.series
    names = [f"{number}{_name(one)}" for number, one in enumerate(series)]
    listed = ", ".join(
        f"{name} {_shape_text(one.shape)}"
        for name, one in list(zip(names, series, strict=True))[:MOST_LISTED]
    )
    listed += ", …" if len(series) > MOST_LISTED else ""
    if wanted is not None:
        number = _number_of(wanted, series)
        if number is None:
            images = "1 image" if len(series) == 1 else f"{len(series)} images"
            raise GvtzooError(f"there is no series {wanted}, it holds {images}: {listed}")
        return number
    own = [n for n, one in enumerate(series) if _is_in(one, path)] or list(range(len(series)))
    number = next((n for n in own if not _is_beside(n, series)), own[0])
    # Positions in files of their own are found by these.
    if len(own) > 1:
        opened.notes.append(
            f"holds {len(series)} images ({listed}): {names[number]} is read, --series N takes "
            "another"
        )
    return number


def _name(series: tifffile.TiffPageSeries) -> str:
    return f" '{series.name}'" if series.name and series.name != series.kind else ""


def _number_of(wanted: int | str, series: Sequence[tifffile.TiffPageSeries]) -> int | None:
    names = [one.name for one in series]
    if wanted in names:
        return names.index(str(wanted))
    try:
        number = int(wanted)
    except ValueError:
        return None
    return number if 0 <= number < len(series) else None


def _is_in(series: tifffile.TiffPageSeries, path: Path) -> bool:
    """Whether an image has planes in this file of a set."""
    return any(
        page is not None and page.parent.filehandle.name == path.name for page in series.pages
    )


def _is_beside(number: int, series: Sequence[tifffile.TiffPageSeries]) -> bool:
    """Whether the name or type of an image tells that it is about another one."""
    one = series[number]
    words = re.split(r"[\W_\d]+", one.name.lower())
    if any(BESIDE.fullmatch(word) for word in words):
        return True
    if one.keyframe.is_mask or one.keyframe.is_reduced:
        return True
    others = [np.dtype(other.dtype) for n, other in enumerate(series) if n != number]
    dtype = np.dtype(one.dtype)
    counts = dtype.kind == "b" or (dtype.kind in "ui" and dtype.itemsize >= 4)
    return counts and any(
        other.kind == "f" or (other.kind in "ui" and other.itemsize < 4) for other in others
    )


def _check_level(levels: Sequence[tifffile.TiffPageSeries], level: int | None) -> None:
    if level is not None and not 0 <= level < len(levels):
        shapes = ", ".join(f"{n} {_shape_text(one.shape)}" for n, one in enumerate(levels))
        raise GvtzooError(f"there is no level {level}, its levels are: {shapes}")


def _at_level(
    pixel_size: dict[str, float],
    finest: tifffile.TiffPageSeries,
    level: tifffile.TiffPageSeries,
) -> dict[str, float]:
    """Voxel sizes at a coarser resolution."""
    fine = dict(zip(finest.axes.lower(), finest.shape, strict=True))
    coarse = dict(zip(level.axes.lower(), level.shape, strict=True))
    return {
        axis: size * (fine.get(axis, 1) / coarse.get(axis, fine.get(axis, 1)))
        for axis, size in pixel_size.items()
    }


def _raw_array(path: Path, opened: _Tiff, series: tifffile.TiffPageSeries) -> RawArray | None:
    """The image's pixels where they lie in the file as they are; None where they do not."""
    keyframe, shape = series.keyframe, tuple(map(int, series.shape))
    if not keyframe.is_final or keyframe.dtype is None or series.transform is not None:
        return None
    dtype = np.dtype(series.dtype).newbyteorder(opened.file.byteorder)
    single = len(series.pages) == 1
    if single and series.dataoffset is not None and _is_in(series, path):
        return RawArray(path, shape, dtype, (int(series.dataoffset),))
    offsets = []
    for page in series.pages:
        if page is None or page.parent.filehandle.name != path.name or not _is_run(page):
            return None
        offsets.append(int(page.dataoffsets[0]))
    planes = shape[: len(shape) - len(keyframe.shape)]
    if math.prod(planes) != len(offsets) or shape[len(planes) :] != keyframe.shape:
        return None
    return RawArray(path, shape, dtype, tuple(offsets))


def _is_run(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Whether the parts of a page follow each other in the file, and are all there."""
    offsets = np.asarray(page.dataoffsets, np.int64)
    counts = np.asarray(page.databytecounts, np.int64)
    return (
        len(offsets) > 0
        and len(offsets) == len(counts)
        and offsets[0] > 0
        and bool(np.all(offsets[1:] == offsets[:-1] + counts[:-1]))
        and int(counts.sum()) == page.nbytes
    )


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what tifffile logs: it reads on, silently shorter, where a file ends too early."""
    messages: list[str] = []
    thread = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        if record.levelno > logging.DEBUG:
            messages.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield messages
    finally:
        logger.removeFilter(collect)


def _plain(complaint: str) -> str:
    """What tifffile says, without its own name of the file."""
    return " ".join(TIFFFILE_NAME.sub("", complaint).split())


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


def _check_complete(
    tiff: tifffile.TiffFile,
    path: Path,
    series: tifffile.TiffPageSeries,
    complaints: Sequence[str],
) -> None:
    if any(DAMAGE.search(message) for message in complaints):
        raise GvtzooError("it is truncated or damaged: copy or export it again")
    for page in series.pages:
        if page is None:
            continue
        stored = zip(page.dataoffsets, page.databytecounts, strict=False)
        ends = max((offset + count for offset, count in stored), default=0)
        if ends > page.parent.filehandle.size:
            raise GvtzooError("it is truncated, it ends within its pixels: copy it again")
    # Of ImageJ's hyperstacks beyond 4 GB only the first plane is listed.
    if len(series.pages) == 1 and series.dataoffset is not None:
        ends = series.dataoffset + series.nbytes
        if ends > tiff.filehandle.size:
            raise GvtzooError("it is truncated, it ends within its pixels: copy it again")


def _missing_planes(series: tifffile.TiffPageSeries) -> list[str]:
    pages = list(series.pages)
    missing = sum(page is None for page in pages)
    return [f"lacks {missing} of its {len(pages)} planes: they are zero"] if missing else []


def _shape_text(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


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
    numbers = {axis: number for number, axis in enumerate(axes)}
    return View(array, tuple(numbers.get(axis) for axis in written)), written
