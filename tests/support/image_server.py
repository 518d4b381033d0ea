"""A server on loopback that gives files, counts what is asked for, and can be told to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

MISSING = b"<Error><Code>NoSuchKey</Code><Message>not there</Message></Error>"


@dataclass
class Served:
    """What a server has been asked for, and how it is to fail.

    Attributes
    ----------
    url : str
    requests : list of str
        Paths, in order, those that failed too.
    sent : int
        Bytes of files.
    fails : callable
        ``fails(path, n)``: what to do at the n-th request for a path: nothing, answer with a
        status, or ``"drop"`` the connection half-way.
    ranges : bool
        Whether parts of files are given, or always all.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    sent: int = 0
    fails: Callable[[str, int], int | str | None] = lambda path, number: None
    ranges: bool = True

    @property
    def chunks(self) -> list[str]:
        """Requests that are not for metadata."""
        return [path for path in self.requests if not path.endswith(("zarr.json", *V2_METADATA))]


V2_METADATA = (".zgroup", ".zattrs", ".zarray", ".zmetadata")


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Files of a folder, at an address of this machine."""
    served = Served()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            path = unquote(self.path.split("?")[0]).strip("/")
            with lock:
                served.requests.append(path)
                failure = served.fails(path, served.requests.count(path))
            file = folder / path
            if isinstance(failure, int):
                self._send(failure, b"", body=body)
            elif not file.is_file():
                self._send(404, MISSING, body=body)
            else:
                self._send_file(file.read_bytes(), failure == "drop", body)

        def _send_file(self, content: bytes, drop: bool, body: bool) -> None:
            status, headers = 200, {}
            wanted = self.headers.get("Range")
            if wanted and served.ranges:
                first, last = wanted.removeprefix("bytes=").split("-")
                start = int(first) if first else max(0, len(content) - int(last))
                stop = int(last) + 1 if first and last else len(content)
                if start >= len(content):
                    self._send(416, b"", body=body)
                    return
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
                status, content = 206, content[start:stop]
            with lock:
                served.sent += len(content) * body
            self._send(status, content, headers, drop=drop, body=body)

        def _send(
            self,
            status: int,
            content: bytes,
            headers: dict[str, str] | None = None,
            *,
            drop: bool = False,
            body: bool = True,
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            if drop:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
            elif body:
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
