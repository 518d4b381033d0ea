"""``gvtzoo site``."""

from __future__ import annotations

import subprocess
import sys


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gvtzoo", "site", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_page_is_made_and_named(tmp_path):
    done = run("-o", tmp_path / "zoo")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'zoo' / 'index.html'}\n"
    assert not done.stderr
    assert "gvtnet-denoising-nuclei" in (tmp_path / "zoo" / "index.html").read_text()


def test_a_folder_with_something_else_is_refused_in_one_line(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    done = run("-o", tmp_path)
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr.startswith(f"gvtzoo: {tmp_path} holds something else")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
