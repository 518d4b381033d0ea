"""Tables on standard output: aligned on a terminal, tab-separated in a pipe."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

GAP = 2


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table.

    In a pipe, cells are separated by tabs. On a terminal that is too narrow for the columns, a
    row's first cell has a line of its own, and the others follow on the next; so does the header's.
    """
    if not sys.stdout.isatty():
        yield from map("\t".join, (header, *rows))
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    if sum(widths) + GAP * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        for row in (header, *rows):
            cells = [cell.ljust(width + GAP) for cell, width in zip(row, widths, strict=True)]
            yield "".join(cells).rstrip()
        return
    for row in (header, *rows):
        yield row[0]
        yield f"  {', '.join(cell for cell in row[1:] if cell)}"
