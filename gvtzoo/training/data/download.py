"""Public data sets: what they are, and fetching them."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, model_validator

from gvtzoo.core.download import fetch, reason
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.core.progress import Progress
from gvtzoo.core.resources import recipes_folder
from gvtzoo.core.strict import Strict
from gvtzoo.core.yaml import read_yaml

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


class DataFile(Strict):
    """A file on a server; its name there, unless another is given."""

    url: str
    name: str = ""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")

    @property
    def file_name(self) -> str:
        """What it is called here."""
        return self.name or PurePosixPath(urlsplit(self.url).path).name


class DataSet(Strict):
    """A public data set.

    Attributes
    ----------
    description, license, cite : str
    recipes : tuple of str
        That are trained on it.
    files : tuple of DataFile
        Archives are unpacked.
    page : str, optional
        Where people find it, for data that cannot be fetched by a program.
    """

    description: str
    license: str
    cite: str
    recipes: tuple[str, ...] = ()
    files: tuple[DataFile, ...] = ()
    page: str | None = None

    @model_validator(mode="after")
    def _check_place(self) -> DataSet:
        if not self.files and self.page is None:
            raise ValueError("a data set needs files or a page")
        return self


def data_sets() -> dict[str, DataSet]:
    """The data sets that are known, by name."""
    path = recipes_folder() / "_data_sets.yaml"
    content = read_yaml(path.read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, DataSet]).validate_python(content)


def find_data_set(name: str) -> DataSet:
    """A data set by name.

    Raises
    ------
    GvtzooError
        When there is none of this name.
    """
    known = data_sets()
    if name not in known:
        raise GvtzooError(f"no data set {name!r}: choose one of {', '.join(known)}")
    return known[name]


def download_data_set(
    data_set: DataSet, folder: str | Path, progress: Progress | None = None
) -> list[Path]:
    """Fetch a data set's files, and unpack archives.

    A download that broke off goes on where it stopped. Hashes are checked where they are known;
    otherwise that of the first download is noted as ``NAME.sha256``, and holds for later ones.

    Parameters
    ----------
    data_set : DataSet
    folder : path
        Made where it is missing. Files that are there already are kept, once their hash is right.
    progress : callable, optional
        ``progress(bytes so far, bytes in all)`` of the file at hand.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    GvtzooError
        When a file cannot be fetched, is another one than it should be, or cannot be unpacked.
    """
    if not data_set.files:
        raise GvtzooError(f"{data_set.description} is fetched by hand: see {data_set.page}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [_fetch(file, folder, progress) for file in data_set.files]


def _fetch(file: DataFile, folder: Path, progress: Progress | None) -> Path:
    import logging

    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel(logging.ERROR)
    path = folder / file.file_name
    note = path.with_name(f"{path.name}.sha256")
    known = file.sha256 or (note.read_text().split()[0] if note.is_file() else None)
    try:
        pooch.retrieve(
            file.url,
            known_hash=known and f"sha256:{known}",
            fname=path.name,
            path=folder,
            downloader=_Resuming(path.with_name(f"{path.name}.part"), progress),
        )
    except RequestException as error:
        raise GvtzooError(
            f"{file.url} could not be fetched: {reason(error)}; what has come is kept, try again"
        ) from error
    except ValueError as error:
        raise GvtzooError(
            f"{file.url} is not the file that it should be (its hash is another): {error}"
        ) from error
    if known is None:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        with write_atomically(note) as temporary:
            temporary.write_text(f"{digest}  {path.name}\n")
    if path.name.endswith(ARCHIVES):
        unpack(path, folder)
    return path


class _Resuming:
    """Downloads for pooch, into a file that outlives an interruption."""

    def __init__(self, part: Path, progress: Progress | None) -> None:
        self.part = part
        self.progress = progress

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        fetch(url, self.part, self.progress)
        shutil.move(self.part, output_file)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip or tar archive; nothing is written outside of `folder`.

    Raises
    ------
    GvtzooError
        When it is damaged, or would write elsewhere.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            return
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise GvtzooError(f"{path} cannot be unpacked: {error}") from error
