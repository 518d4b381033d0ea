"""Models on Hugging Face: from ``ORG/NAME[@revision]`` to a folder in its cache.

The cache, its locks, progress, continued downloads, and ``HF_TOKEN``, ``HF_HOME``,
``HF_HUB_OFFLINE`` are huggingface_hub's. Added here: another try where it has none, a look at the
checksums of what arrived, and errors in one line.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.version import __version__
from gvtzoo.packages.reader import is_package_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(\S+))?", re.ASCII)
PACKAGE_FOLDER = "package"
DESCRIPTION = "bioimageio.yaml"  # where bioimageio.spec looks for it in a repository

ANSWER = 10  # seconds to wait for an answer to a small question
WAITS = (1, 4)  # seconds, before another try after an error of the server
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def hub() -> HfApi:
    """The client of the Hub, at ``HF_ENDPOINT`` where that is set."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars

    if not is_watched() and not are_progress_bars_disabled():
        disable_progress_bars()
    # huggingface_hub reads the variable once, when it is imported.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    return HfApi(endpoint=endpoint, library_name="gvtzoo", library_version=__version__)


def is_watched() -> bool:
    """Whether progress bars reach anybody: on a terminal or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def split_name(name: str) -> tuple[str, str | None]:
    """Repository and revision of ``ORG/NAME[@revision]``.

    Raises
    ------
    GvtzooError
        When the name is of another form.

    Examples
    --------
    >>> split_name("me/my-model@1.0.0")
    ('me/my-model', '1.0.0')
    """
    match = REPOSITORY.fullmatch(name)
    if match is None:
        raise GvtzooError(f"{name!r} is not a repository: write it like ORG/NAME or ORG/NAME@1.0.0")
    return match[1], match[2]


def download(name: str) -> Path:
    """The package of a model on Hugging Face, in its cache.

    Only the repository's ``package`` folder is fetched. A copy in the cache is used where the
    Hub cannot be reached, which is said.

    Parameters
    ----------
    name : str
        ``ORG/NAME``, or ``ORG/NAME@revision`` with a branch, tag or commit.

    Returns
    -------
    Path
        A folder with the description, weights, and the other files of the package.

    Raises
    ------
    GvtzooError
        When there is no such model, it may not be read, or it does not arrive.
    """
    repository, revision = split_name(name)
    known = _known_commit(repository, revision)
    with explained(repository, revision):
        folder = _snapshot(repository, revision)
        if next(_damaged(folder), None) is not None:
            folder = _snapshot(repository, revision, again=True)
    if known == folder.parent.name:
        _say_if_stale(name, repository, revision, folder)
    damaged = next(_damaged(folder), None)
    if damaged is not None:
        raise GvtzooError(
            f"{name}: {damaged.name} is damaged, and no better copy can be had: connect to the "
            f"network and try again (it lies in {damaged.parent})"
        )
    if not is_package_folder(folder):
        raise GvtzooError(
            f"{name} has no {PACKAGE_FOLDER}/{DESCRIPTION}: it is not a BioImage.IO model"
        )
    return folder


def _snapshot(repository: str, revision: str | None, again: bool = False) -> Path:
    for wait in (*WAITS, None):
        try:
            folder = hub().snapshot_download(
                repository,
                revision=revision,
                allow_patterns=f"{PACKAGE_FOLDER}/*",
                force_download=again,
            )
            return Path(folder) / PACKAGE_FOLDER
        except AttributeError as error:
            # When a connection is lost, one of the client's threads takes away the session that
            # the others are about to use (huggingface_hub 2.4).
            raise ConnectionError("the connection was lost") from error
        except failures() as error:
            is_passing = any((_status(cause) or 0) >= 500 for cause in _causes(error))
            if wait is None or not is_passing:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


def _known_commit(repository: str, revision: str | None) -> str | None:
    """The commit of a branch or tag when it was last downloaded; None where it never was."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    try:
        return (folder / "refs" / (revision or "main")).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _say_if_stale(name: str, repository: str, revision: str | None, folder: Path) -> None:
    """Say so where the Hub cannot be asked: huggingface_hub takes the copy silently."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return  # nobody is to be asked
    try:
        hub().model_info(repository, revision=revision or "main", timeout=ANSWER)
    except failures():
        since = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        log.warning(
            "%s: %s cannot be reached: the copy of %s is used, which may be outdated",
            name,
            hub().endpoint,
            f"{since:%Y-%m-%d}",
        )


def _damaged(folder: Path) -> Iterator[Path]:
    """Files that are not what the Hub holds.

    The cache names a file's content by its hash and links to it: SHA-256 of large files, else
    that of git. (Where the system has no links, the package's own checksums have to do.)
    """
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            continue
        expected = path.readlink().name
        content = path.read_bytes()
        if len(expected) == 64:
            actual = hashlib.sha256(content).hexdigest()
        elif len(expected) == 40:
            actual = git_hash(content)
        else:
            continue
        if actual != expected:
            yield path


def git_hash(content: bytes) -> str:
    """The name that git, and so the Hub, gives a file's content."""
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises when something is wrong with the world."""
    from huggingface_hub.errors import HfHubHTTPError

    # The bases are those of the HTTP library, which differs between versions.
    bases = tuple(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    return (*bases, OSError, RuntimeError, ValueError)


@contextmanager
def explained(repository: str, revision: str | None = None) -> Iterator[None]:
    """Errors of the Hub, the network and the disk as one line that says what to do.

    Parameters
    ----------
    repository : str
        ``ORG/NAME``.
    revision : str, optional
        That was asked for.

    Raises
    ------
    GvtzooError
        In the place of such an error.
    """
    try:
        yield
    except GvtzooError:
        raise
    except failures() as error:
        raise GvtzooError(_explanation(error, repository, revision)) from error


def _explanation(error: BaseException, repository: str, revision: str | None) -> str:
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    endpoint = hub().endpoint
    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    not_found = (
        f"there is no repository {repository} at {endpoint}, or it is private: check the name; "
        f"for a private one {log_in}"
    )
    for cause in _causes(error):
        match cause:
            case GatedRepoError():
                return (
                    f"{repository} is gated: ask for access at {endpoint}/{repository}, then "
                    f"{log_in}"
                )
            case RevisionNotFoundError():
                return (
                    f"{repository} has no branch, tag or commit {revision!r}: leave out "
                    f"@{revision} for the newest version"
                )
            case RepositoryNotFoundError():
                return not_found
            case HfHubHTTPError() if _status(cause) == 401 and get_token() is None:
                return not_found  # the Hub does not tell which
            case OfflineModeIsEnabled():
                return (
                    f"{repository} is not, or not completely, in the cache "
                    f"({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE forbids to download it: "
                    "unset that"
                )
            case LocalTokenNotFoundError():
                return f"this needs an account at {endpoint}: {log_in}"
            case HFValidationError():
                return f"{repository!r} cannot be a repository's name: {_first_line(cause)}"
            case HfHubHTTPError() if status := _status(cause):
                return _refusal(status, repository, endpoint, cause)
            case OSError(errno=number) if number in FULL_DISK:
                return (
                    f"there is no room for {repository} in {constants.HF_HUB_CACHE}: free some, "
                    "or set HF_HOME to a folder on another disk"
                )
            case PermissionError():
                return f"{cause}: set HF_HOME to a folder that you may write"
    if type(error) is ValueError:
        return f"{repository}: {_first_line(error)}"
    return (
        f"{endpoint} cannot be reached or breaks off: check the network, and HF_ENDPOINT where it "
        f"is set, then try again ({_first_line(error)})"
    )


def _refusal(status: int, repository: str, endpoint: str, error: Exception) -> str:
    if status == 401:
        return (
            f"{endpoint} does not accept the token: log in again with `hf auth login`, or mend "
            "HF_TOKEN"
        )
    if status == 403:
        return (
            f"the token gives no right to do this with {repository}: take one that may read it, "
            "and write it to publish (the settings of your account list them)"
        )
    if status in (409, 412):
        return f"{repository} was changed by somebody else at the same time: try again"
    if status == 429:
        return f"{endpoint} wants fewer requests ({status}): wait some minutes and try again"
    if status >= 500:
        return f"{endpoint} has an error of its own ({status}): try again in some minutes"
    return f"{endpoint} refuses this ({status}): {_first_line(error)}"


def _status(error: BaseException) -> int | None:
    """Of the Hub's answer (some errors have none)."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
