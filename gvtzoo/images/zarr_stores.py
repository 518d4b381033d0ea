"""Where Zarr lies: in a folder, in a zip file (``.ozx``), or on a server (https, s3)."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    import zarr

Place = str | Path  # a path, or the address of a folder on a server

SUFFIX = ".zarr"
ZIP_SUFFIXES = (".ozx", ".zarr.zip")
METADATA_FILES = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
LARGEST_MEMBER = 2**31  # bytes of a file in a zip, unpacked
MOST_MEMBERS = 10**7


def is_url(place: Place) -> bool:
    """Whether this is an address, and not a path."""
    return isinstance(place, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", place) is not None


def is_zarr(place: Place) -> bool:
    """Whether this is Zarr: on a server, a zip file, a folder, or a folder in one of these."""
    if is_url(place):
        return True
    path = Path(place)
    if path.is_file():
        return path.suffix.lower() in (".ozx", ".zip")
    if any(part.lower().endswith((SUFFIX, *ZIP_SUFFIXES)) for part in path.parts):
        return True
    return path.is_dir() and any((path / name).is_file() for name in METADATA_FILES)


def name_of(place: Place) -> str:
    """What an image's outputs are called, without suffix: with the collection that it is in.

    Examples
    --------
    >>> name_of("https://example.org/data/plate.zarr/A/1/0")
    'plate_A_1_0'
    """
    parts = [part for part in str(place).replace("\\", "/").split("/") if part]
    suffixes = (SUFFIX, *ZIP_SUFFIXES)
    for number, part in enumerate(parts):
        suffix = next((s for s in suffixes if part.lower().endswith(s)), None)
        if suffix is not None:
            return "_".join([part[: -len(suffix)], *parts[number + 1 :]])
    return Path(parts[-1]).stem if parts else "image"


def inside(place: Place, inner: str) -> Place:
    """What is called so in a group."""
    if is_url(place):
        return f"{str(place).rstrip('/')}/{inner}"
    return Path(place) / inner


def open_group(place: Place) -> zarr.Group:
    """The group at a place, to be read.

    Raises
    ------
    GvtzooError
        When there is none, or it cannot be read.
    """
    import zarr

    store, inner = open_store(place)
    try:
        node = zarr.open(store, path=inner, mode="r")
    except GvtzooError:
        raise
    except Exception as error:
        denied = getattr(store, "denied", None)
        if denied:
            raise GvtzooError(denied) from error
        if is_url(place):
            raise GvtzooError(
                f"{place} is no OME-Zarr image: the server has no zarr.json or .zgroup there; "
                "what is not OME-Zarr in a folder has to be downloaded first"
            ) from error
        problem = " ".join(str(error).split()) or type(error).__name__
        raise GvtzooError(f"{place} is no OME-Zarr image, or a damaged one: {problem}") from error
    if not isinstance(node, zarr.Group):
        raise GvtzooError(f"{place} is a bare Zarr array: name the OME-Zarr folder that it is in")
    return node


def archive_of(path: Path) -> Path | None:
    """The file that a path leads to or into."""
    return next((part for part in (path, *path.parents) if part.is_file()), None)


def open_store(place: Place) -> tuple[Any, str]:
    """The store that a place is in, and the path inside of it.

    Raises
    ------
    GvtzooError
        When there is no such place.
    """
    if is_url(place):
        from gvtzoo.images.remote import open_remote

        return open_remote(str(place)), ""
    path = Path(place)
    if path.is_dir():
        from zarr.storage import LocalStore

        return LocalStore(path, read_only=True), ""
    archive = archive_of(path)
    if archive is None:
        raise GvtzooError(f"there is no file or folder {path}")
    root = _root_in(archive)
    inner = path.relative_to(archive).as_posix()
    return _zip_store(archive), "/".join(part for part in (root, inner) if part and part != ".")


def _zip_store(path: Path) -> Any:
    from zarr.storage import ZipStore

    return ZipStore(path, mode="r", read_only=True)


def _root_in(path: Path) -> str:
    """The folder in a zip file that holds everything; empty where that is the file itself.

    Raises
    ------
    GvtzooError
        When it is no zip file, or holds no Zarr.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile) as error:
        raise GvtzooError(
            f"{path} cannot be read, it is no zip file or damaged: {error}"
        ) from error
    large = next((m for m in members if m.file_size > LARGEST_MEMBER), None)
    if large is not None or len(members) > MOST_MEMBERS:
        raise GvtzooError(f"{path} would unpack to more than can be read")
    names = {member.filename for member in members}
    if any(name in names for name in METADATA_FILES):
        return ""
    tops = {name.split("/")[0] for name in names if "/" in name}
    roots = [top for top in tops if any(f"{top}/{name}" in names for name in METADATA_FILES)]
    if len(roots) != 1:
        raise GvtzooError(f"{path} holds no OME-Zarr image")
    return roots[0]
