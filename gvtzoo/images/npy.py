"""Arrays in NumPy's format, from files that need not hold what they say."""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import View
from gvtzoo.images.raw import RawArray

LARGEST_COMPRESSION = 1100  # unpacked : packed, a little above what deflate can do
ARRAY_NAMES = ("image", "source")


def read_npy(file: IO[bytes], size: int) -> np.ndarray:
    """An array of numbers from an npy file.

    Parameters
    ----------
    file : binary file
        That can seek.
    size : int
        How many bytes it has: an array that is larger is not even made room for.

    Raises
    ------
    GvtzooError
        When the file is damaged, or holds Python objects.
    """
    check_npy(file, size)
    try:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except GvtzooError:
        raise
    except Exception as error:  # NumPy raises whatever the damage leads to
        raise GvtzooError(f"it seems damaged, or is no npy file: {error}") from error


def check_npy(file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type and whether the order is Fortran's; `file` is then behind the header.

    Raises
    ------
    GvtzooError
        When it is no array of numbers, of at most `size` bytes.
    """
    try:
        shape, dtype, fortran = _header(file)
    except GvtzooError:
        raise
    except Exception as error:  # NumPy raises whatever the damage leads to
        raise GvtzooError(f"it seems damaged, or is no npy file: {error}") from error
    needed = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise GvtzooError("it holds Python objects, which are not loaded: save numbers")
    if needed > size:
        raise GvtzooError(
            f"it seems damaged: an array of shape {shape} has {needed} bytes, the file {size}"
        )
    return shape, dtype, fortran


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise GvtzooError(f"its version {version} of the npy format is not that of plain numbers")
    shape, fortran, dtype = readers[version](file)
    if any(size < 0 for size in shape):
        raise GvtzooError(f"it seems damaged: its shape is {shape}")
    return shape, dtype, fortran


def open_npy(path: Path) -> Any:
    """The array of an npy file, of which only boxes are read.

    Raises
    ------
    GvtzooError
        When the file is damaged, or holds Python objects.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        shape, dtype, fortran = check_npy(file, size)
        begin = file.tell()
    if begin + math.prod(shape) * dtype.itemsize > size:
        raise GvtzooError(f"it seems damaged: an array of shape {shape} does not fit into it")
    return _stored(path, begin, shape, dtype, fortran)


def open_npz(path: Path) -> Any:
    """The only array of an npz file, or the one that is called ``image`` or ``source``.

    Only boxes are read of what is stored as it is; what is compressed is read.

    Raises
    ------
    GvtzooError
        When there is none such, or the file is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        names = [member.filename.removesuffix(".npy") for member in archive.infolist()]
    chosen = names if len(names) == 1 else [name for name in ARRAY_NAMES if name in names]
    if not chosen:
        raise GvtzooError(
            f"it holds {len(names)} arrays ({', '.join(names)}): name one of them 'image'"
        )
    return open_npz_member(path, chosen[0])


def open_npz_member(path: Path, name: str) -> Any:
    """An array of an npz file: only boxes are read of what is stored as it is.

    Parameters
    ----------
    path : Path
    name : str
        Without ``.npy``.

    Raises
    ------
    GvtzooError
        When there is no such array, or it is damaged.
    """
    found = _place_of_member(path, name)
    return found if isinstance(found, np.ndarray) else _stored(path, *found)


def map_npz_member(path: Path, name: str) -> np.ndarray:
    """As `open_npz_member`, but mapped from disk as a NumPy array."""
    found = _place_of_member(path, name)
    if isinstance(found, np.ndarray):
        return found
    begin, shape, dtype, fortran = found
    order: Literal["C", "F"] = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", begin, shape, order)


def _stored(path: Path, begin: int, shape: tuple[int, ...], dtype: np.dtype, fortran: bool) -> Any:
    if not fortran:
        return RawArray(path, shape, dtype, (begin,))
    backwards = RawArray(path, shape[::-1], dtype, (begin,))
    return View(backwards, tuple(reversed(range(len(shape)))))


def _place_of_member(
    path: Path, name: str
) -> np.ndarray | tuple[int, tuple[int, ...], np.dtype, bool]:
    """Where in an npz file an array begins, and what it is; the array where it is compressed."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        member = members.get(f"{name}.npy") or members.get(name)
        if member is None:
            raise GvtzooError(f"it holds no array {name}")
        _check_packing(member)
        with archive.open(member) as file:
            if member.compress_type != zipfile.ZIP_STORED:
                return read_npy(file, member.file_size)
            shape, dtype, fortran = check_npy(file, member.file_size)
            header = file.tell()
    if header + math.prod(shape) * dtype.itemsize > member.file_size:
        raise GvtzooError(f"it seems damaged: an array of shape {shape} does not fit into it")
    if not shape or 0 in shape:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return read_npy(file, member.file_size)
    # The local header's own lengths count: they may differ from the directory's.
    with path.open("rb") as raw:
        raw.seek(member.header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", raw.read(4))
    begin = member.header_offset + 30 + name_length + extra_length + header
    return begin, shape, dtype, fortran


def _check_packing(member: zipfile.ZipInfo) -> None:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise GvtzooError("it is compressed in a way that is not read")
    if member.file_size > LARGEST_COMPRESSION * member.compress_size:
        raise GvtzooError(
            f"it seems damaged: {member.compress_size} bytes cannot unpack to {member.file_size}"
        )
