"""Writing files so that a killed program never leaves half of one under its name."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp, mkstemp

from gvtzoo.core.errors import GvtzooError


@contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an exception.

    The temporary name keeps the suffix, since libraries choose formats by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = mkstemp(suffix=path.suffix, prefix=f".{path.stem}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder_atomically(path: str | Path) -> Iterator[Path]:
    """A path of a folder to be made beside `path`, which it replaces when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield beside / path.name
        move_in_place(beside / path.name, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def move_in_place(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its name; what had it before goes only then."""
    if not path.is_dir() or path.is_symlink():
        temporary.replace(path)
        return
    aside = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    path.replace(aside / path.name)
    try:
        temporary.replace(path)
    except OSError:
        (aside / path.name).replace(path)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's content; of a folder, of its files' relative names and contents."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for inner in sorted(inner for inner in path.rglob("*") if inner.is_file()):
        digest.update(f"{inner.relative_to(path).as_posix()}\0{sha256_of(inner)}\n".encode())
    return digest.hexdigest()


def file_in(folder: Path, name: str) -> Path:
    """A file of a folder that may come from strangers.

    Parameters
    ----------
    folder : Path
    name : str
        Relative to the folder.

    Raises
    ------
    GvtzooError
        When it is a link that leads out of the folder.
    FileNotFoundError
        When there is no such file; what is no file, as a pipe, would be waited for.
    """
    path = folder / name
    if _leads_out(path, folder):
        raise GvtzooError(f"{path} is refused: it is a link that leads out of {folder}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    return path


def check_links(folder: Path) -> None:
    """Refuse a folder from a stranger in which a link leads out of it.

    Raises
    ------
    GvtzooError
    """
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place) / name
            if path.is_symlink() and _leads_out(path, folder):
                raise GvtzooError(
                    f"{folder} is refused: {path} is a link that leads out of it; put the file "
                    "there instead"
                )


def _leads_out(path: Path, folder: Path) -> bool:
    try:
        found = path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return True
    return not any(found.is_relative_to(place) for place in _places(folder.resolve()))


def _places(folder: Path) -> Iterator[Path]:
    """Where the files of a folder may lie: in it, or in the cache of Hugging Face that it is of.

    There, files in ``snapshots/COMMIT/`` are links to ``blobs/`` beside ``snapshots``.
    """
    yield folder
    for snapshot in (folder, *folder.parents):
        if snapshot.parent.name == "snapshots":
            yield snapshot.parent.parent / "blobs"
