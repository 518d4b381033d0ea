"""What commands say beside their result: progress, what comes next, completion, sentences."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys

import pytest

from gvtzoo.cli.completion import complete_axes, complete_model, complete_recipe
from gvtzoo.cli.options import next_step
from gvtzoo.core import progress
from gvtzoo.evaluation.sweep import SweepRow
from gvtzoo.report.sweep import sweep_sentence


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch):
    seconds = iter([0, 10, 29, 31, 40, 62])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    report = progress.lines_of("predicting", interval=30)
    for done in range(1, 6):
        report(done, 10, "tiles")
    assert capsys.readouterr().err == "predicting: 30 %, tiles\npredicting: 50 %, tiles\n"


def test_bars_of_several_files_are_numbered(monkeypatch, capsys):
    seconds = iter([0, 40])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    with progress.numbered(2, 5), progress.progress_bar("a.tif") as report:
        report(1, 4, "")
    assert capsys.readouterr().err == "2 of 5: a.tif: 25 %\n"


def test_short_work_says_nothing(capsys):
    with progress.progress_bar("quick") as report:
        report(1, 2, "")
        report(2, 2, "")
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_messages_do_not_break_the_bar(monkeypatch):
    """A message goes through the bar, which clears its line first and is drawn again below."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler(terminal)
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        with progress.progress_bar("training") as report:
            report(1, 2, "")
            logger.warning("step 30: loss 0.1")
            report(2, 2, "")
        assert handler.stream is terminal
        logger.warning("afterwards")
    finally:
        logger.removeHandler(handler)
    before, _, after = terminal.getvalue().partition("step 30: loss 0.1\n")
    assert before.endswith("\r\x1b[2K")
    assert after.startswith("training")
    assert after.endswith("afterwards\n")


def test_what_comes_next_is_said_on_a_terminal_only(capsys, monkeypatch):
    next_step("open report")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    next_step("open report")
    assert capsys.readouterr() == ("", "next: open report\n")


def test_models_recipes_and_axes_are_completed(tmp_path, monkeypatch):
    assert "gvtnet-denoising-nuclei" in complete_model("gvtnet-den")
    assert complete_recipe("label_free/tom") == ["label_free/tom20"]
    assert "TZYX" in complete_axes("t")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.zip").touch()
    (tmp_path / "mine.txt").touch()
    (tmp_path / "more").mkdir()
    assert complete_model("m") == ["mine.zip", "more/"]


def test_the_shell_gets_the_names():
    environment = {
        **os.environ,
        "_GVTZOO_COMPLETE": "complete_bash",
        "COMP_WORDS": "gvtzoo info gvtnet-projection",
        "COMP_CWORD": "2",
    }
    code = "import sys; sys.argv = ['gvtzoo']; from gvtzoo.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["gvtnet-projection-flywing", "gvtnet-projection-notum"]


def swept(whole: float, **tiles: float) -> list[SweepRow]:
    rows = [
        SweepRow((16, 32, 32), (0, 0, 0), 0.9, 0.1, {"ssim": value}, method=method)
        for method, value in tiles.items()
    ]
    return [*rows, SweepRow(None, (0, 0, 0), 1.0, 0.0, {"ssim": whole}, method="whole")]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (swept(0.6, halo=0.5, blocks=0.55), "averaged blocks of 16×32×32 have 0.5500, the most"),
        (swept(0.6, halo=0.7, exact=0.6), "here, tiles do better than the whole image"),
        (swept(0.6, exact=0.6), "SSIM 0.6000."),
    ],
)
def test_a_sweep_ends_with_a_sentence(rows, words):
    assert words in sweep_sentence(rows)
