"""The paper's published models by one command: downloaded, checked, converted, tested, installed.

A model's checkpoint is two files in the authors' repository, fetched at one commit. The index has
to have the SHA-256 that it had; it holds the CRC-32C of every variable, and the data have to have
the id that git gives them. Only then is a package made of them, tested, and put into the models
folder, where commands find it by its name.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

import numpy as np

from gvtzoo.core.download import fetch, reason
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import MEGABYTE, Progress, download_bar
from gvtzoo.hub.agreement import agree
from gvtzoo.hub.index import Checkpoint, Entry
from gvtzoo.hub.installed import installed_models, models_folder
from gvtzoo.hub.published import import_published

log = logging.getLogger(__name__)

ADDRESS = "https://raw.githubusercontent.com/divelab/GVTNets/{commit}"
ADDRESS_VARIABLE = "GVTZOO_PUBLISHED_URL"  # of a mirror, which has save_dir/ below it
PREFIX = "model.ckpt-pretrained"
INDEX, DATA = f"{PREFIX}.index", f"{PREFIX}.data-00000-of-00001"
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ROOM = 4  # times the checkpoint: with the package, and its parts while it is made
TOLERANCE = 1e-4  # of the test output's range
CHUNK = 2**20


def obtain(entry: Entry, *, assume_yes: bool = False) -> Path:
    """A published model's package, which is installed for good.

    What will be fetched, and its licence, is said; on a terminal it is asked for once.

    Parameters
    ----------
    entry : Entry
        Of a model with a checkpoint.
    assume_yes : bool
        Do not ask.

    Returns
    -------
    Path
        Of the zip in the models folder.

    Raises
    ------
    GvtzooError
        In one line, which names the other way: when the answer is no, the files do not come or
        are others, or there is no room. What has come is kept for the next try.
    """
    checkpoint = _checkpoint(entry)
    target = models_folder() / f"{entry.id}.zip"
    if target.is_file():
        return target
    log.warning("%s", announcement(entry))
    agree(entry.license, assume_yes=assume_yes)
    folder = models_folder().parent / "downloads" / entry.id
    with _explained(entry, folder), _alone(folder, entry.id):
        if not target.is_file():  # else another process has installed it meanwhile
            _check_room(folder, checkpoint)
            _download(entry, checkpoint, folder)
            _install(entry, folder, target)
        shutil.rmtree(folder, ignore_errors=True)
    return target


def announcement(entry: Entry) -> str:
    """What is fetched, how much of it, from whom, and under which licence."""
    checkpoint = _checkpoint(entry)
    return (
        f"{entry.id} is not here yet: fetching {checkpoint.size:,} bytes "
        f"({checkpoint.size / MEGABYTE:.0f} MB) from the authors' repository; the weights are "
        f"under {entry.license}"
    )


def total_announcement(entries: Sequence[Entry]) -> str:
    """The same of several models."""
    total = sum(_checkpoint(entry).size for entry in entries)
    return (
        f"{len(entries)} of the published models are not here yet: fetching {total:,} bytes "
        f"({total / MEGABYTE:.0f} MB) from the authors' repository; the weights are under "
        f"{', '.join(sorted({entry.license for entry in entries}))}"
    )


def missing(entries: Sequence[Entry]) -> list[Entry]:
    """Those that are not in the models folder."""
    installed = installed_models()
    return [entry for entry in entries if entry.id not in installed]


def address(checkpoint: Checkpoint, name: str) -> str:
    """Of one of a checkpoint's files."""
    base = os.environ.get(ADDRESS_VARIABLE) or ADDRESS.format(commit=checkpoint.commit)
    return f"{base.rstrip('/')}/save_dir/{checkpoint.folder}/{name}"


def _checkpoint(entry: Entry) -> Checkpoint:
    if entry.checkpoint is None:
        raise GvtzooError(f"{entry.id} is none of the published models: it comes with gvtzoo")
    return entry.checkpoint


def _check_room(folder: Path, checkpoint: Checkpoint) -> None:
    """Refuse before anything is fetched what would not fit in the end.

    Raises
    ------
    OSError
    """
    there = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    for place in (folder, Path(gettempdir())):
        if shutil.disk_usage(place).free < ROOM * checkpoint.size - there:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


def _download(entry: Entry, checkpoint: Checkpoint, folder: Path) -> None:
    index, data = folder / INDEX, folder / DATA
    _fetch(address(checkpoint, INDEX), index, checkpoint.index.bytes)
    with _removed_if_wrong(index):
        if _digest(index, hashlib.sha256()) != checkpoint.index.sha256:
            raise GvtzooError(
                f"{address(checkpoint, INDEX)} is not the file that was published (its SHA-256 "
                f"is another): a proxy or mirror has changed it; {entry.by_hand}"
            )
    with download_bar(entry.id) as progress:
        _fetch(address(checkpoint, DATA), data, checkpoint.data.bytes, progress)
    with _removed_if_wrong(data):
        _check_data(checkpoint, folder)


def _fetch(url: str, path: Path, size: int, progress: Progress | None = None) -> None:
    """A file under its name, once it is complete."""
    if path.is_file():
        return
    part = path.with_name(f"{path.name}.part")
    if part.is_file() and part.stat().st_size > size:
        part.unlink()
    fetch(url, part, progress, size)
    part.replace(path)


def _check_data(checkpoint: Checkpoint, folder: Path) -> None:
    """Every variable by its CRC-32C, and all of the file by git's id of it."""
    from gvtzoo.packages.tensorflow import read_checkpoint

    data = folder / DATA
    header = f"blob {data.stat().st_size}\0".encode()
    again = "it was removed: run the same command again"
    try:
        read_checkpoint(folder / PREFIX)
    except GvtzooError as error:
        raise GvtzooError(f"{data.name} came damaged ({error}); {again}") from error
    if _digest(data, hashlib.sha1(header, usedforsecurity=False)) != checkpoint.data.git_sha1:
        raise GvtzooError(f"{data.name} is not the file that was published; {again}")


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def _removed_if_wrong(path: Path) -> Iterator[None]:
    try:
        yield
    except GvtzooError:
        path.unlink(missing_ok=True)
        raise


def _install(entry: Entry, folder: Path, target: Path) -> None:
    """The package, made, tested, and then put into its place."""
    log.warning("%s: making and testing the package", entry.id)
    made = folder / target.name
    import_published(entry, folder / PREFIX, made, overwrite=True)
    _test(made)
    target.parent.mkdir(parents=True, exist_ok=True)
    made.replace(target)


def _test(path: Path) -> None:
    """That what was written predicts what the network predicted, read back.

    (Each exported graph was compared with the network when it was made.)
    """
    from gvtzoo.packages.checks import predict_normalized
    from gvtzoo.packages.reader import open_package

    package = open_package(path)
    expected = package.test_output()
    found = predict_normalized(package, package.test_input(), package.build_network())
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * float(np.ptp(expected)):
        raise GvtzooError(
            f"the package that was made does not reproduce its test image (differences up to "
            f"{difference:.2g}), so it was not installed: run the same command again"
        )


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """One process fetches a model, others wait for it."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("%s: another process is fetching it, waiting for that", name)
        lock.acquire()
    try:
        folder.mkdir(parents=True, exist_ok=True)  # the other one has removed it
        yield
    finally:
        lock.release()


@contextmanager
def _explained(entry: Entry, folder: Path) -> Iterator[None]:
    """What went wrong with the network or the disk, in one line that names the other way."""
    from requests import RequestException

    try:
        yield
    except RequestException as error:
        raise GvtzooError(
            f"{entry.id} could not be fetched: {reason(error)}. What has come is kept, and the "
            f"same command goes on; {entry.by_hand}"
        ) from error
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        needed = ROOM * _checkpoint(entry).size / MEGABYTE
        raise GvtzooError(
            f"there is no room for {entry.id} in {error.filename or folder}: {needed:.0f} MB are "
            "needed. Free some, or set GVTZOO_HOME (or TMPDIR) to a folder on another disk; what "
            "has come is kept"
        ) from error
