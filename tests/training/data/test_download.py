"""Data sets are fetched from a server on loopback: with hashes, and on from where it broke off."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.recipes.files import recipe_names
from gvtzoo.training.data.download import DataFile, DataSet, data_sets, download_data_set

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` under every path; drops the connection after `breaks_after` bytes, once."""

    content = CONTENT
    breaks_after: int | None = None
    ranges: bool = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        wanted = self.headers.get("Range", "")
        self.server.requests.append(wanted)
        match = re.fullmatch(r"bytes=(\d+)-", wanted) if self.server.ranges else None
        start = int(match[1]) if match else 0
        body = self.server.content[start:]
        if match and not body:
            self.send_error(416)
            return
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        breaks, self.server.breaks_after = self.server.breaks_after, None
        self.wfile.write(body[:breaks])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def data_set(server: Server, name: str = "cells.tif", sha256: str | None = None) -> DataSet:
    url = f"http://127.0.0.1:{server.server_port}/files/{name}"
    file = DataFile(url=url, sha256=sha256)
    return DataSet(description="Cells", license="CC0", cite="A. Uthor", files=(file,))


def test_a_file_comes_with_progress_and_is_not_fetched_twice(server, tmp_path):
    seen = []
    wanted = data_set(server, sha256=SHA256)
    (path,) = download_data_set(wanted, tmp_path, lambda *numbers: seen.append(numbers))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    download_data_set(wanted, tmp_path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(server, tmp_path, ranges, monkeypatch):
    monkeypatch.setattr("gvtzoo.core.download.WAITS", ())
    server.breaks_after, server.ranges = 2_000_000, ranges
    wanted = data_set(server, sha256=SHA256)
    with pytest.raises(GvtzooError, match="what has come is kept, try again"):
        download_data_set(wanted, tmp_path)
    (path,) = download_data_set(wanted, tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests[1].startswith("bytes=")
    assert [file.name for file in tmp_path.iterdir()] == ["cells.tif"]


def test_a_connection_that_is_lost_is_taken_up_again(server, tmp_path):
    server.breaks_after = 2_000_000
    (path,) = download_data_set(data_set(server, sha256=SHA256), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests[0] == ""
    assert re.fullmatch(r"bytes=[1-9]\d*-", server.requests[1])


def test_another_file_is_refused(server, tmp_path):
    with pytest.raises(GvtzooError, match="its hash is another"):
        download_data_set(data_set(server, sha256="0" * 64), tmp_path)
    assert not (tmp_path / "cells.tif").exists()


def test_unknown_hashes_are_noted_and_hold(server, tmp_path):
    download_data_set(data_set(server), tmp_path)
    assert (tmp_path / "cells.tif.sha256").read_text() == f"{SHA256}  cells.tif\n"
    (tmp_path / "cells.tif").unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(GvtzooError, match="its hash is another"):
        download_data_set(data_set(server), tmp_path)


def archive(name: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"cell"))
    return file.getvalue()


def test_archives_are_unpacked(server, tmp_path):
    server.content = archive("tom20/a.czi")
    download_data_set(data_set(server, "tom20.tar.gz"), tmp_path)
    assert (tmp_path / "tom20" / "a.czi").read_bytes() == b"cell"


def test_archives_cannot_write_elsewhere(server, tmp_path):
    server.content = archive("../outside.txt")
    with pytest.raises(GvtzooError, match="cannot be unpacked"):
        download_data_set(data_set(server, "evil.tar.gz"), tmp_path / "data")
    assert not (tmp_path / "outside.txt").exists()


def test_a_server_that_is_not_there(server, tmp_path, monkeypatch):
    monkeypatch.setattr("gvtzoo.core.download.WAITS", ())
    wanted = data_set(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(GvtzooError, match="could not be fetched"):
        download_data_set(wanted, tmp_path)


def test_the_list_names_recipes_that_exist():
    known = recipe_names()
    for entry in data_sets().values():
        assert set(entry.recipes) <= set(known)


def test_the_commands(tmp_path):
    listed = CliRunner().invoke(app, ["data", "list"])
    assert "tom20" in listed.stdout
    assert "Terms of Use of the Allen Institute" in listed.stdout
    command = ["data", "download", "flywing", "-o", str(tmp_path)]
    with pytest.raises(GvtzooError, match="by hand: see https://publications"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    with pytest.raises(GvtzooError, match="choose one of nuclei"):
        CliRunner().invoke(app, ["data", "download", "x", "-o", "."], catch_exceptions=False)
