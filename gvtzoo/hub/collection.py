"""Models of bioimage.io, by id or address, through bioimageio.spec."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gvtzoo.core.errors import GvtzooError, one_line
from gvtzoo.core.files import write_atomically
from gvtzoo.hub.huggingface import is_watched

log = logging.getLogger(__name__)


def download_package(source: str) -> Path:
    """The package of a model of bioimage.io, as a zip in gvtzoo's cache.

    Nothing of the package is run. A copy in the cache is used where a new one cannot be had, which
    is said.

    Parameters
    ----------
    source : str
        An id, such as ``affable-shark``, a DOI, or the address of a description or a zip.

    Raises
    ------
    GvtzooError
        When bioimageio.spec does not find or accept it, and it is not in the cache.
    """
    from bioimageio.spec import (
        InvalidDescr,
        ValidationContext,
        load_description,
        save_bioimageio_package,
    )
    from loguru import logger

    context = ValidationContext(progressbar=None if is_watched() else False)
    target = cache_folder() / _file_name(source)
    logger.disable("bioimageio")
    try:
        with write_atomically(target) as temporary, context:
            with ValidationContext(perform_io_checks=False, progressbar=context.progressbar):
                description = load_description(source)
            if isinstance(description, InvalidDescr):
                raise ValueError(description.validation_summary.errors[0].msg)
            _refuse_own_files(source, description)
            save_bioimageio_package(description, output_path=temporary)
    except GvtzooError:
        raise
    # What is raised depends on what is wrong with the network or the description.
    except Exception as error:
        if not target.exists():
            raise GvtzooError(
                f"{source} cannot be had by bioimageio.spec: check the name and the network"
                f"{_reason(error)}"
            ) from error
        since = datetime.fromtimestamp(target.stat().st_mtime, UTC)
        log.warning(
            "%s cannot be had%s: the copy of %s is used, which may be outdated",
            source,
            one_line(_reason(error)),
            f"{since:%Y-%m-%d}",
        )
    finally:
        logger.enable("bioimageio")
    return target


def _refuse_own_files(source: str, description: object) -> None:
    """Refuse a description from a server that names files of this computer.

    bioimageio.spec would copy them into the package.
    """
    for path in _paths(description):
        raise GvtzooError(f"{source} is refused: it names {path}, a file of your computer")


def _paths(value: Any) -> Iterator[Path]:
    """Files on disk that a description holds, wherever they stand."""
    from pydantic import BaseModel

    if isinstance(value, Path):
        yield value
    parts: Iterable[Any] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    elif isinstance(value, BaseModel):
        parts = [*value.__dict__.values(), *(value.__pydantic_extra__ or {}).values()]
    for part in parts:
        yield from _paths(part)


def _reason(error: Exception) -> str:
    """What went wrong, in brackets."""
    cause = error.__cause__ or error
    if isinstance(cause, (FileNotFoundError, IsADirectoryError)):
        # What is not found on the network is at last looked for as a file.
        return ""
    return f" ({' '.join(str(cause).split())[:200]})"


def cache_folder() -> Path:
    """Where packages from elsewhere than Hugging Face are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "gvtzoo" / "bioimageio"


def _file_name(source: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")[-60:]
    return f"{readable}-{hashlib.sha256(source.encode()).hexdigest()[:8]}.zip"
