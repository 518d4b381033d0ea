"""Files from a server on loopback that goes on, has changed, compresses, or never ends."""

from __future__ import annotations

import gzip
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from gvtzoo.core.download import fetch, reason

OLD, NEW = b"old" * 400_000, b"new" * 400_000


class Server(ThreadingHTTPServer):
    content = OLD
    tag = '"1"'
    cut_after: int | None = None
    endless = False
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.ranges.append(wanted)
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        if self.headers.get("If-Range") not in (None, server.tag):
            match = None
        body = server.content[int(match[1]) :] if match else server.content
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        body = gzip.compress(body) if packed else body
        self.send_response(206 if match and server.status == 200 else server.status)
        self.send_header("ETag", server.tag)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        if not server.endless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[: server.cut_after])
            while server.endless:
                self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("gvtzoo.core.download.WAITS", ())
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def part(tmp_path):
    return tmp_path / "file.part"


def begin(server, part) -> None:
    server.cut_after = 800_000
    with pytest.raises(requests.RequestException) as caught:
        fetch(server.url, part)
    assert reason(caught.value) == "the connection broke off"
    server.cut_after = None
    assert 0 < part.stat().st_size < len(OLD)


def test_it_goes_on_behind_what_is_there(server, part):
    begin(server, part)
    fetch(server.url, part)
    assert part.read_bytes() == OLD
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.ranges[1])
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_a_file_that_has_changed_is_fetched_anew(server, part):
    begin(server, part)
    server.content, server.tag = NEW, '"2"'
    fetch(server.url, part)
    assert part.read_bytes() == NEW


def test_what_never_ends_is_cut_off(server, part):
    server.endless = True
    with pytest.raises(requests.RequestException) as caught:
        fetch(server.url, part, size=len(OLD))
    assert "sends another file: it has over 1200000 bytes" in reason(caught.value)
    assert part.stat().st_size <= len(OLD)


def test_errors_that_pass_are_tried_again_and_others_are_not(server, part, monkeypatch):
    monkeypatch.setattr("gvtzoo.core.download.WAITS", (0, 0))
    for status, tries in ((503, 3), (403, 1)):
        server.status, server.ranges = status, []
        with pytest.raises(requests.HTTPError) as caught:
            fetch(server.url, part)
        assert len(server.ranges) == tries
        assert f"127.0.0.1 answers {status}" in reason(caught.value)
