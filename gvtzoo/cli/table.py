"""Tables on standard output: aligned on a terminal, tab-separated in a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

GAP = 2
INDENT = 2
NARROWEST = 16  # characters of a column whose cells are broken into lines: numbers stay whole

Row = Sequence[str]


def table_lines(header: Row, rows: Sequence[Row]) -> Iterator[str]:
    """The lines of a table.

    In a pipe, cells are separated by tabs. On a terminal that is too narrow for the columns, a
    row's first cell has a line of its own, and the others follow below the header's; where these
    are too many, the table is divided into several, each with the first column.
    """
    if not sys.stdout.isatty():
        yield from map("\t".join, (header, *rows))
        return
    width = shutil.get_terminal_size().columns
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if _taken(widths) <= width:
        yield from _aligned(table, widths)
    elif (below := _narrowed(widths[1:], width - INDENT)) is not None:
        for row in table:
            yield row[0]
            yield from (" " * INDENT + line for line in _aligned([row[1:]], below))
    else:
        for number, columns in enumerate(_bands(widths, width)):
            yield from [""] * (number > 0)
            part = [[row[column] for column in columns] for row in table]
            yield from _aligned(part, [widths[column] for column in columns])


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _narrowed(widths: Sequence[int], room: int) -> list[int] | None:
    """Widths that fit, the widest one smaller; None where that is not enough."""
    found = list(widths)
    excess = _taken(found) - room
    if excess > 0:
        widest = found.index(max(found))
        found[widest] -= excess
        if found[widest] < NARROWEST:
            return None
    return found


def _bands(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns that fit beside the first one, from left to right."""
    bands = [[0]]
    for column in range(1, len(widths)):
        band = [*bands[-1], column]
        if len(band) > 2 and _taken([widths[place] for place in band]) > room:
            bands.append([0, column])
        else:
            bands[-1] = band
    return bands


def _aligned(table: Sequence[Row], widths: Sequence[int]) -> Iterator[str]:
    for row in table:
        cells = [wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            parts = [part.ljust(width + GAP) for part, width in zip(line, widths, strict=True)]
            yield "".join(parts).rstrip()
