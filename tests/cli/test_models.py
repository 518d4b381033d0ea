"""``gvtzoo list`` and ``gvtzoo info`` as a user types them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.overview import best_score
from gvtzoo.hub.registry import find_model
from gvtzoo.packages.reader import gvtzoo_config, read_description
from gvtzoo.recipes.metadata import MetricRow

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
    assert header == ["MODEL", "TASK", "STRUCTURE", "DIMS", "SIZE", "LICENSE", "WHERE"]
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


def test_a_narrow_terminal_gets_two_lines_a_model():
    chosen = ["--task", "projection", "--structure", "cell membranes"]
    assert on_a_terminal(80, "list", *chosen) == [
        "MODEL",
        "  TASK        STRUCTURE       DIMS  SIZE    LICENSE       WHERE",
        PUBLISHED,
        "  projection  cell membranes  3D    6.5 MB  GPL-3.0-only  to download",
    ]


@pytest.mark.parametrize("columns", [40, 60, 80, 100])
def test_lines_and_column_names_fit_any_terminal(columns):
    lines = on_a_terminal(columns, "list")
    assert max(map(len, lines)) <= columns or columns < 80  # less is too little for two columns
    for name in ("MODEL", "TASK", "STRUCTURE", "DIMS", "SIZE", "LICENSE", "WHERE"):
        assert any(name in line.split() for line in lines)


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


@pytest.mark.parametrize("command", [["list"], ["info", BUNDLED], ["info", PUBLISHED]])
def test_list_and_info_import_nothing_heavy(command):
    code = (
        f"import sys; sys.argv = ['gvtzoo', *{command}]\n"
        "from gvtzoo.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'bioimageio', 'lightning', 'matplotlib', 'skimage', 'xarray', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_info_is_one_screen():
    config = gvtzoo_config(read_description(find_model(BUNDLED)))
    lines = on_a_terminal(80, "info", BUNDLED)
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert config["metadata"]["intended_use"] in text
    assert config["metadata"]["limitations"] in text
    assert f"z {config['pixel_size']['z']:g}, y " in text
    assert re.search(r"SSIM 0\.\d{3} against 0\.\d{3} by the best simple filter, \w", text)
    assert "BSD-3-Clause (weights)" in text
    assert f"gvtzoo predict {BUNDLED} IMAGE -o OUT.tif" in text


def test_details_of_a_bundled_model():
    text = output_of("info", BUNDLED, "--details")
    assert "blocks of (32, 64, 64), halo (32, 32, 32)" in text
    assert "6 photons, GVTNet: r 0.9387" in text
    assert "@misc{wang2021,\n" in text
    content = json.loads(output_of("info", BUNDLED, "--json"))
    assert content["metadata"]["id"] == BUNDLED
    assert content["bibtex"].startswith("@misc{wang2021,")


def test_metrics_of_a_bundled_model():
    rows = gvtzoo_config(read_description(find_model(BUNDLED)))["metrics"]
    lines = output_of("info", BUNDLED, "--metrics").splitlines()
    assert len(lines) == len(rows)
    assert all(row["method"] in line for row, line in zip(rows, lines, strict=True))


def test_info_of_a_model_that_is_not_here_says_how_to_obtain_it():
    text = output_of("info", PUBLISHED)
    assert "GPL-3.0-only (weights)" in text
    assert "ZYX → YX" in text
    assert "not yet measured" in text
    assert f"gvtzoo download {PUBLISHED}" in text
    details = output_of("info", PUBLISHED, "--details")
    assert "26 for test" in details
    assert "44000" in details
    assert "gvtzoo import-tf GVTNets/save_dir/care_projection/flywing/models/" in details
    assert "@misc{weigert2018,\n" in details
    content = json.loads(output_of("info", PUBLISHED, "--json"))
    assert content["recipe"] == "projection/flywing"
    assert content["bibtex"].startswith("@misc{wang2021,")


def row(method, condition="", **values):
    return MetricRow(data="cells", condition=condition, method=method, **values)


def test_the_score_is_that_of_the_same_images():
    rows = [
        row("GVTNet", "dim", SSIM=0.6),
        row("Gaussian", "dim", SSIM=0.5),
        row("median", "dim", SSIM=0.55),
        row("plain U-Net of the same size", "dim", SSIM=0.58),
        row("GVTNet", "bright", SSIM=0.4),
        row("Gaussian", "bright", SSIM=0.9),
    ]
    found = best_score(rows)
    assert (found.value, found.rival, found.rival_value) == (0.6, "median", 0.55)
    assert "dim" in found.text


def test_a_filter_that_is_better_is_named():
    found = best_score([row("GVTNet", r=0.5), row("Gaussian", r=0.6)])
    assert "the filter is not worse" in found.text
    assert best_score([row("input", r=0.5)]) is None


def test_info_of_a_misspelt_model():
    with pytest.raises(GvtzooError, match=f"did you mean {PUBLISHED}"):
        output_of("info", "gvtnet-projection-flywings")
