"""``gvtzoo list`` and ``gvtzoo info`` as a user types them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError

BUNDLED = "gvtnet-denoising-nuclei"
PUBLISHED = "gvtnet-projection-flywing"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


def output_of(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def on_a_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines that a terminal of this width shows."""
    inside, outside = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "gvtzoo", *arguments],
        stdout=outside,
        env={**os.environ, "COLUMNS": str(columns)},
        check=True,
        timeout=60,
    )
    os.close(outside)
    content = b""
    while True:
        try:
            piece = os.read(inside, 65536)
        except OSError:  # Linux: nobody writes any more
            break
        if not piece:
            break
        content += piece
    os.close(inside)
    return content.decode().splitlines()


def test_a_pipe_gets_tab_separated_columns():
    header, *rows = [line.split("\t") for line in output_of("list").splitlines()]
    assert header == ["MODEL", "TASK", "STRUCTURE", "AXES", "SIZE", "LICENSE", "WHERE"]
    assert {len(row) for row in rows} == {len(header)}
    by_name = {row[0]: row for row in rows}
    assert by_name[PUBLISHED][1:] == [
        *("projection", "cell membranes", "3D", "6.5 MB", "GPL-3.0-only", "to download")
    ]
    assert by_name[BUNDLED][4].endswith(" MB")


def test_a_wide_terminal_gets_aligned_columns():
    lines = on_a_terminal(140, "list")
    starts = {line.index("GPL-3.0-only") for line in lines if "GPL-3.0-only" in line}
    assert len(starts) == 1
    assert "\t" not in "".join(lines)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_terminal_gets_two_lines_a_model(columns):
    chosen = ["--task", "projection", "--structure", "cell membranes"]
    lines = on_a_terminal(columns, "list", *chosen)
    assert lines == [
        PUBLISHED,
        "  projection, cell membranes, 3D, 6.5 MB, GPL-3.0-only, to download",
    ]


def test_filters():
    assert output_of("list", "--task", "label-free", "--structure", "golgi").count("\n") == 2
    assert PUBLISHED not in output_of("list", "--local")
    assert BUNDLED in output_of("list", "--local", "--dimensions", "3")


def test_an_unknown_task_is_wrong_usage():
    done = CliRunner().invoke(app, ["list", "--task", "segmentation"])
    assert done.exit_code == 2
    assert "label_free, denoising, projection" in done.stderr


def test_json_has_everything():
    models = {model["name"]: model for model in json.loads(output_of("list", "--json"))}
    published, bundled = models[PUBLISHED], models[BUNDLED]
    assert published["images"] == {"train": None, "test": 26}
    assert published["metrics"] == "not yet measured"
    assert published["commands"] == [f"gvtzoo download {PUBLISHED}"]
    assert published["manual_commands"][1].startswith("gvtzoo import-tf ")
    assert published["where"] == "to download"
    assert (published["steps"], published["size"]) == (44_000, 6_466_492 + 9_046)
    assert bundled["metrics"][0]["method"]
    assert bundled["path"].endswith("model.zip")


def test_list_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['gvtzoo', 'list']\n"
        "from gvtzoo.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'bioimageio', 'lightning', 'matplotlib', 'skimage', 'xarray', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_info_of_a_bundled_model():
    text = output_of("info", BUNDLED)
    assert "BSD-3-Clause (weights)" in text
    assert "blocks of (32, 32, 64), halo (28, 28, 28)" in text
    assert "5 photons, GVTNet: r 0.9399" in text
    assert "@misc{wang2021,\n" in text
    content = json.loads(output_of("info", BUNDLED, "--json"))
    assert content["metadata"]["id"] == BUNDLED
    assert content["bibtex"].startswith("@misc{wang2021,")


def test_info_of_a_model_that_is_not_here_says_how_to_obtain_it():
    text = output_of("info", PUBLISHED)
    assert "GPL-3.0-only (weights)" in text
    assert "ZYX → YX" in text
    assert "26 for test" in text
    assert "not yet measured" in text
    assert "44000" in text
    assert f"gvtzoo download {PUBLISHED}" in text
    assert "gvtzoo import-tf GVTNets/save_dir/care_projection/flywing/models/" in text
    assert "@misc{weigert2018,\n" in text
    content = json.loads(output_of("info", PUBLISHED, "--json"))
    assert content["recipe"] == "projection/flywing"
    assert content["bibtex"].startswith("@misc{wang2021,")


def test_info_of_a_misspelt_model():
    with pytest.raises(GvtzooError, match=f"did you mean {PUBLISHED}"):
        output_of("info", "gvtnet-projection-flywings")
