"""Zarr on a server: what is read is fetched once, and again when the connection breaks.

Only what is asked for is fetched. It is kept in a folder of its own as long as the image is open,
since exact predictions go over an image several times.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
import weakref
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.storage import FsspecStore, WrapperStore

from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

WAITS = (0.2, 0.5, 1.0, 2.0)  # seconds before trying again
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others a moment later
DENIED = {401, 403}
METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")
SCHEMES = ("http", "https", "s3")


def open_remote(url: str) -> RemoteStore:
    """What lies below an address.

    Raises
    ------
    GvtzooError
        When such addresses are not read, or what reads them is not installed.
    """
    scheme = url.split("://")[0].lower()
    if scheme not in SCHEMES:
        raise GvtzooError(f"{url}: images are read from https:// and s3://, not from {scheme}://")
    if re.search(r"[?#]", url):
        raise GvtzooError(f"{url}: name the image's folder, without what follows ? or #")
    return RemoteStore(_connect(url, scheme), url)


def _connect(url: str, scheme: str) -> FsspecStore:
    options: dict[str, Any] = {"skip_instance_cache": True}
    if scheme == "s3":
        try:
            import botocore.session
            import s3fs  # noqa: F401
        except ImportError as error:
            raise GvtzooError(
                f"{url}: reading from s3:// needs s3fs: pip install 'gvtzoo[remote]'"
            ) from error
        # Without keys of one's own, public buckets are open to anyone.
        options["anon"] = botocore.session.get_session().get_credentials() is None
    return FsspecStore.from_url(url.rstrip("/"), storage_options=options, read_only=True)


class RemoteStore(WrapperStore[FsspecStore]):
    """A server's folder.

    Attributes
    ----------
    url : str
        As it was typed.
    denied : str, optional
        What to say where metadata could not be read for want of rights: some servers answer so
        for files that are not there.
    absent : set of str
        Chunks that are not there, and so read as the fill value.
    """

    def __init__(self, store: FsspecStore, url: str) -> None:
        super().__init__(store)
        self.url = url.rstrip("/")
        self.denied: str | None = None
        self.absent: set[str] = set()
        self._folder = Path(tempfile.mkdtemp(prefix="gvtzoo-remote-"))
        weakref.finalize(self, _close, store.fs, self._folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_remote, (self.url,)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """A file or a part of it; None where it is not there.

        Parameters
        ----------
        key : str
            The file's path below the store's address.
        prototype : BufferPrototype
        byte_range : ByteRequest, optional
            By default all of the file.

        Raises
        ------
        GvtzooError
            When the server answers with an error, or not at all.
        """
        kept = self._folder / hashlib.sha256(f"{key} {byte_range}".encode()).hexdigest()
        if kept.is_file():
            return prototype.buffer.from_bytes(kept.read_bytes())
        if key in self.absent:
            return None
        value = await self._fetch(key, prototype, byte_range)
        if value is None:
            if not key.endswith(METADATA):
                self.absent.add(key)
            return None
        value = _part_of(value, byte_range)
        part = kept.with_suffix(f".{id(value)}")
        part.write_bytes(value.to_bytes())
        part.replace(kept)
        return value

    async def _fetch(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        """From the server, with patience.

        Raises
        ------
        GvtzooError
            When it answers with an error, or not at all.
        """
        for wait in (*WAITS, None):
            try:
                return await self._store.get(key, prototype, byte_range)
            except Exception as error:
                status = _status(error)
                if status in DENIED and key.endswith(METADATA):
                    self.denied = f"{self.url}: the server refuses to show it ({status})"
                    return None
                passing = status in PASSING or (
                    status is None and not isinstance(error, ValueError)
                )
                if wait is None or not passing:
                    raise GvtzooError(f"{self.url}: {_answer(error, status)} [{key}]") from error
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def exists(self, key: str) -> bool:
        """Whether the server has a file; it is fetched to see that, and kept."""
        from zarr.core.buffer import default_buffer_prototype

        return await self.get(key, default_buffer_prototype()) is not None

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Files, or parts of them, fetched at once; None for each that is not there."""
        return list(
            await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))
        )

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        async for found in Store._get_many(self, requests):
            yield found


def _close(files: Any, folder: Path) -> None:
    """Remove what was kept, and end the connection, of which aiohttp else complains."""
    shutil.rmtree(folder, ignore_errors=True)
    session = getattr(files, "_session", None)
    if session is not None:
        files.close_session(None, session)


def _part_of(value: Buffer, byte_range: ByteRequest | None) -> Buffer:
    """The part that was asked for, also from servers that send the whole file."""
    if isinstance(byte_range, RangeByteRequest):
        length = byte_range.end - byte_range.start
        return value if len(value) <= length else value[byte_range.start : byte_range.end]
    if isinstance(byte_range, SuffixByteRequest) and len(value) > byte_range.suffix:
        return value[len(value) - byte_range.suffix :]
    return value


def _status(error: BaseException) -> int | None:
    """The status of an HTTP answer, whichever library tells it."""
    if isinstance(error, PermissionError):
        return 403
    if "not satisfiable" in str(error).lower():
        return 416
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _answer(error: BaseException, status: int | None) -> str:
    if status in DENIED:
        return f"the server refuses to show it ({status})"
    if status == 416:
        return "the server has less of it than the image's index says (416): it seems damaged"
    if status is not None:
        return f"the server answers with status {status}"
    problem = " ".join(str(error).split()) or type(error).__name__
    return f"the connection breaks ({problem}): try again later"
