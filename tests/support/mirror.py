"""A mirror of the authors' repository on loopback, and a zoo that knows its files."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from gvtzoo.core.resources import zoo_folder


class Mirror(ThreadingHTTPServer):
    """Serves a folder, with ranges.

    Attributes
    ----------
    cut_after : int, optional
        Bytes after which every answer's connection is lost.
    instead : bytes, optional
        What is sent for every file, as by a network that asks for a log-in first.
    requests : list of (str, str)
        Name of the file, and the range that was asked for.
    """

    cut_after: int | None = None
    instead: bytes | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.requests: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        path, wanted = self.server.folder / self.path.lstrip("/"), self.headers.get("Range", "")
        self.server.requests.append((path.name, wanted))
        if self.server.instead is None and not path.is_file():
            self.send_error(404)
            return
        content = self.server.instead or path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        body = content[int(match[1]) :] if match else content
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Mirror]:
    """A mirror of a folder that has ``save_dir`` in it."""
    server = Mirror(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_zoo(folder: Path, checkpoints: dict[str, Path]) -> None:
    """The zoo, with the checksums of other checkpoints; `checkpoints` are their folders by id."""
    for path in zoo_folder().iterdir():
        if path.name not in checkpoints:
            (folder / path.name).symlink_to(path)
            continue
        values = yaml.safe_load((path / "model.yaml").read_text())
        values["files"] = _files(checkpoints[path.name])
        (folder / path.name).mkdir()
        (folder / path.name / "model.yaml").write_text(yaml.safe_dump(values))


def _files(checkpoint: Path) -> dict[str, dict[str, object]]:
    (index,) = (path.read_bytes() for path in checkpoint.glob("*.index"))
    (data,) = (path.read_bytes() for path in checkpoint.glob("*.data-*"))
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False)
    return {
        "index": {"bytes": len(index), "sha256": hashlib.sha256(index).hexdigest()},
        "data": {"bytes": len(data), "git_sha1": blob.hexdigest()},
    }
