"""Progress on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[float, float, str], None]

MEGABYTE = 10**6


@contextmanager
def progress_bar(title: str) -> Iterator[Report | None]:
    """A bar on standard error, ``report(done, all, note)``; None where that is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, note="")

        def report(done: float, total: float, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield report


@contextmanager
def download_bar(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """As `progress_bar`, with bytes: ``report(bytes so far, bytes in all)``."""
    with progress_bar(title) as report:
        if report is None:
            yield None
            return
        shown = report

        def told(done: int, total: int) -> None:
            shown(done, total, f"{done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB")

        yield told
