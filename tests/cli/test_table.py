"""Tables on terminals of every width: names of columns stand above their numbers."""

from __future__ import annotations

import os

import pytest

from gvtzoo.cli import table
from gvtzoo.cli.table import table_lines

METRICS = ("r", "nrmse", "psnr", "ssim", "mse", "mae", "r2")
HEADER = ("model", "images", "n", *METRICS)
ROWS = [
    (name, "all", "4", *(f"{0.1234 + 0.1 * place:.4f} ± 0.12" for place in range(7)))
    for name in ("gvtnet-denoising-nuclei", "input")
]


@pytest.fixture
def shown(monkeypatch):
    """Lines on a terminal of so many columns."""

    def lines(columns: int, header=HEADER, rows=ROWS) -> list[str]:
        size = os.terminal_size((columns, 24))
        monkeypatch.setattr(table.shutil, "get_terminal_size", lambda: size)
        monkeypatch.setattr(table.sys.stdout, "isatty", lambda: True, raising=False)
        return list(table_lines(header, rows))

    return lines


def test_a_pipe_gets_tabs():
    assert list(table_lines(("a", "b"), [("1", "")])) == ["a\tb", "1\t"]


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_every_number_stands_below_the_name_of_its_column(shown, columns):
    lines = shown(columns)
    assert max(map(len, lines)) <= columns
    for place, name in enumerate(HEADER[1:], start=1):
        (number,) = [n for n, line in enumerate(lines) if name in line.split()]
        start = f"{lines[number]} ".index(f" {name} ") + 1
        for below, row in enumerate(ROWS, start=1):
            assert lines[number + below].startswith(row[0])
            assert lines[number + below][start:].startswith(row[place])


def test_the_widest_column_has_lines_of_its_own(shown):
    rows = [("a-model-with-a-long-name", "denoising", "actin, mitochondria, membranes", "2D")]
    lines = shown(44, ("MODEL", "TASK", "STRUCTURE", "AXES"), rows)
    assert lines == [
        "MODEL",
        "  TASK       STRUCTURE                  AXES",
        "a-model-with-a-long-name",
        "  denoising  actin, mitochondria,       2D",
        "             membranes",
    ]
