"""Images that are stored in several files: OME-TIFF sets, with or without a companion file.

Every file of a set holds OME-XML that names all files, or names the file that does
(``BinaryOnly``). The format: https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/
"""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

import tifffile

log = logging.getLogger(__name__)

TIFF_SUFFIXES = (".tif", ".tiff")
COMPANION_SUFFIX = ".companion.ome"


def files_of(path: Path) -> list[Path]:
    """All files that hold planes of the images in a file, sorted; itself when it is no set.

    Parameters
    ----------
    path : Path
        A TIFF file, a companion file (``.companion.ome``), or any other.
    """
    if not _may_be_set(path):
        return [path]
    stat = path.stat()
    return sorted({path.parent / name for name in _names(path, stat.st_size, stat.st_mtime_ns)})


def image_of(path: Path) -> Path:
    """The file that stands for the image that a file belongs to: the first of its set.

    Parameters
    ----------
    path : Path
        As of `files_of`.
    """
    for candidate in files_of(path):
        # A set that does not know the file itself is that of a copy or of an older file.
        if candidate == path or is_companion(path) or path in files_of(candidate):
            return candidate
    return path


def is_companion(path: Path) -> bool:
    """Whether a file holds nothing but a set's OME-XML."""
    return path.name.lower().endswith(COMPANION_SUFFIX)


def ome_xml(path: Path) -> str | None:
    """The OME-XML that describes a file: its own or that of its set; None without any.

    A set's OME-XML that is named but not there counts as none.
    """
    if is_companion(path):
        return path.read_text(encoding="utf-8-sig", errors="replace")
    own = _own_xml(path)
    elsewhere = metadata_file(own) if own else None
    if elsewhere is None:
        return own
    described = path.parent / elsewhere
    if not described.is_file():
        return None
    if described.suffix.lower() in TIFF_SUFFIXES:
        return _own_xml(described)
    return described.read_text(encoding="utf-8-sig", errors="replace")


def metadata_file(xml: str) -> str | None:
    """The name of the file that describes a set, where OME-XML says no more than this."""
    root = _parsed(xml)
    element = None if root is None else root.find("{*}BinaryOnly")
    name = "" if element is None else element.get("MetadataFile", "")
    return None if not name or _is_elsewhere(name) else name


def _may_be_set(path: Path) -> bool:
    suffixes = (*TIFF_SUFFIXES, COMPANION_SUFFIX)
    return path.is_file() and path.name.lower().endswith(suffixes)


@lru_cache(maxsize=4096)
def _names(path: Path, size: int, changed: int) -> tuple[str, ...]:
    """Names of `files_of`; size and time of change tell when they have to be read again."""
    own = (path.name,)
    try:
        xml = ome_xml(path)
    except Exception:  # damaged files fail in every way: reading them says how
        return own
    root = _parsed(xml) if xml else None
    if root is None:
        return own
    uuid = _root_uuid(path)
    found: set[str] = set()
    for image in root.iterfind("{*}Image"):
        names = _files_in(image, path.name, uuid)
        if is_companion(path) or path.name in names:
            found |= names
    there = {name for name in found if (path.parent / name).is_file()}
    return tuple(sorted(there)) or own


def _files_in(image: ElementTree.Element, own: str, uuid: str | None) -> set[str]:
    """Names of the files that an Image element takes planes from."""
    names = set()
    for data in image.iterfind("{*}Pixels/{*}TiffData"):
        element = data.find("{*}UUID")
        name = "" if element is None else element.get("FileName", "")
        # A file that was renamed is still known by its UUID.
        is_own = element is None or (uuid is not None and (element.text or "").strip() == uuid)
        if is_own:
            names.add(own)
        elif name and not _is_elsewhere(name):
            names.add(name)
    return names


def _root_uuid(path: Path) -> str | None:
    if is_companion(path):
        return None
    root = _parsed(_own_xml(path) or "")
    return None if root is None else root.get("UUID")


def _own_xml(path: Path) -> str | None:
    with tifffile.TiffFile(path) as tiff:
        return tiff.ome_metadata if tiff.is_ome else None


def _parsed(xml: str) -> ElementTree.Element | None:
    # OME-XML has no document type, by whose entities a short text becomes one of any size.
    if not xml or "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        return None
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None


def _is_elsewhere(name: str) -> bool:
    return "/" in name or "\\" in name
