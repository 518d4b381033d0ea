"""Names that hold codes for terminals, printed on one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import numpy as np
import pytest

from gvtzoo.core import progress

TITLE = "a\x1b]0;pwned\x07\x9b2J\r\u202eb"


def on_terminal(*arguments):
    """What a command writes to a terminal, in bytes."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "gvtzoo", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=child, stderr=child, env=environment)
    os.close(child)
    written = b""
    while True:
        try:
            piece = os.read(parent, 4096)
        except OSError:  # the end, on Linux
            break
        if not piece:
            break
        written += piece
    process.wait()
    os.close(parent)
    return written.replace(b"\r\n", b"\n")


CODES = [b"\x1b]0", b"\x07", "\x9b".encode(), b"\r", "\u202e".encode()]


@pytest.mark.parametrize("arguments", [["evaluate"], ["list"]], ids=["evaluate", "list"])
def test_a_name_does_not_steer_the_terminal(tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("GVTZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_COLOR", "1")
    for place in ("data/source", "data/target", "home/models"):
        (tmp_path / place).mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 99, (16, 16), dtype=np.uint8)
    for kind in ("source", "target"):
        np.save(tmp_path / "data" / kind / f"{TITLE}.npy", image)
    (tmp_path / "home" / "models" / f"{TITLE}.zip").write_bytes(b"")
    if arguments == ["evaluate"]:
        arguments = ["predict", "gvtnet-denoising-nuclei", tmp_path / "data" / "source"]
        arguments += ["--dry-run", "--axes", "YX", "-o", tmp_path / "out"]
    written = on_terminal(*arguments)
    assert b"a?]0;pwned" in written or b"a ]0;pwned" in written
    assert [code for code in CODES if code in written] == []


def test_a_name_in_brackets_is_no_markup(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.progress_bar("a[/b].tif") as report:
        report(1, 2, "c[/d]\x1b]0;pwned\x07")
    written = capsys.readouterr().err
    assert "a[/b].tif" in written
    assert "\x1b]0" not in written
