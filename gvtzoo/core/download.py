"""Files from servers, that go on where they broke off."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gvtzoo.core.progress import Progress

if TYPE_CHECKING:
    from requests import RequestException


CHUNK = 2**18  # less than this is lost when a connection is
TIMEOUT = 60  # seconds without an answer
WAITS = (0, 2)  # seconds before another try


def fetch(url: str, part: Path, progress: Progress | None = None, size: int | None = None) -> None:
    """A file from a server, tried again where the connection is lost or the server has an error.

    Parameters
    ----------
    url : str
    part : Path
        What is there already is kept, and the download goes on behind it, unless the server says
        that the file has changed: what it calls the file's version is kept beside it meanwhile.
    progress : callable, optional
        ``progress(bytes so far, bytes in all)``.
    size : int, optional
        Bytes of the whole file; not more are ever written.

    Raises
    ------
    requests.RequestException
        When it does not come; what has come is kept.
    OSError
        When it cannot be written.
    """
    import requests

    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    lasting = (requests.exceptions.ProxyError, requests.exceptions.SSLError)
    for wait in (*WAITS, None):
        try:
            _fetch_once(url, part, progress, size)
            _version(part).unlink(missing_ok=True)
            return
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", 0)
            tried_in_vain = isinstance(error, lasting) or not (
                isinstance(error, passing) or status >= 500
            )
            if wait is None or tried_in_vain:
                raise
            time.sleep(wait)


def _fetch_once(url: str, part: Path, progress: Progress | None, size: int | None) -> None:
    import requests

    done = part.stat().st_size if part.is_file() else 0
    if done == size:
        return
    with requests.get(url, headers=_headers(part, done), stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # what is there is all of it, or of another file
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = size or 0 if length is None else done + int(length)
        if size not in (None, total):
            raise requests.exceptions.ContentDecodingError(
                f"it has {total} bytes, not {size}", request=response.request
            )
        if not resumed:
            _note_version(part, response.headers)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                if size is not None and done + len(chunk) > size:
                    raise requests.exceptions.ContentDecodingError(
                        f"it has over {size} bytes", request=response.request
                    )
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    if done < total:
        if length is None:  # the end of another file, not of the connection
            part.unlink()
        raise requests.ConnectionError(
            f"only {done} of {total} bytes came", request=response.request
        )


def _version(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _headers(part: Path, done: int) -> dict[str, str]:
    """With which all of a file is asked for, or what is missing of the same version of it."""
    # Compressed on its way, a file could neither be counted nor gone on with.
    headers = {"Accept-Encoding": "identity"}
    if not done:
        return headers
    known = _version(part).read_text(encoding="utf-8") if _version(part).is_file() else ""
    return {**headers, "Range": f"bytes={done}-", **({"If-Range": known} if known else {})}


def _note_version(part: Path, headers: Mapping[str, str]) -> None:
    tag = headers.get("ETag", "")
    # A weak tag stands for several contents, so If-Range does not take it.
    version = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    if version:
        _version(part).write_text(version, encoding="utf-8")
    else:
        _version(part).unlink(missing_ok=True)


def reason(error: RequestException) -> str:
    """Why a file did not come, in a few words."""
    import requests

    url = getattr(error.request, "url", None) or ""
    host = urlsplit(url).hostname or "the server"
    match error:
        case requests.exceptions.ProxyError():
            return "the proxy does not let it through: see HTTPS_PROXY"
        case requests.exceptions.SSLError():
            return f"the certificate of {host} is not trusted: see REQUESTS_CA_BUNDLE"
        case requests.Timeout():
            return f"{host} does not answer"
        case requests.HTTPError(response=response) if response is not None:
            return f"{host} answers {response.status_code} {response.reason}"
        case requests.exceptions.ContentDecodingError():
            return f"{host} or a proxy sends another file: {error}"
        case requests.ConnectionError() if "bytes came" in str(error):
            return f"the connection broke off: {error}"
        case requests.exceptions.ChunkedEncodingError():
            return "the connection broke off"
        case requests.ConnectionError():
            return f"{host} cannot be reached"
    return " ".join(str(error).split())[:200] or type(error).__name__
