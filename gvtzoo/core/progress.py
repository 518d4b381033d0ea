"""Progress: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from gvtzoo.core.errors import one_line

Progress = Callable[[int, int], None]  # progress(done, all)
TrainingProgress = Callable[[int, int, float], None]  # progress(step, all, loss)
Report = Callable[[float, float, str], None]  # report(done, all, note)

MEGABYTE = 10**6
_place: ContextVar[str] = ContextVar("place", default="")
INTERVAL = 30.0  # seconds between two lines where there is no terminal


def within(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Progress of one of several parts, as a share of all.

    Parameters
    ----------
    progress : callable, optional
        ``progress(done, all)`` of everything.
    number, count : int
        Which part, from 0, of how many.
    """
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, count * total)


@contextmanager
def progress_bar(title: str) -> Iterator[Report | None]:
    """A bar on standard error, ``report(done, all, note)``; in a pipe a line now and then."""
    if not sys.stderr.isatty():
        yield lines_of(one_line(f"{_place.get()}{title}"))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    # Names in square brackets are no markup.
    title_column, note_column = (
        TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}")
    )
    columns = (title_column, BarColumn(), note_column)
    stream = sys.stderr
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
    with bar as progress, _logged_above(stream):
        task = progress.add_task(one_line(f"{_place.get()}{title}"), total=None, note="")

        def report(done: float, total: float, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=one_line(note))

        yield report


@contextmanager
def _logged_above(stream: TextIO) -> Iterator[None]:
    """Messages that are logged to `stream` stand above the bar, which stays the last line."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is stream
    ]
    for handler in handlers:
        handler.setStream(sys.stderr)  # the bar's, by now
    try:
        yield
    finally:
        for handler in handlers:
            handler.setStream(stream)


@contextmanager
def numbered(number: int, total: int) -> Iterator[None]:
    """Bars in it begin with ``2 of 5: ``, where there are several."""
    token = _place.set(f"{number} of {total}: " if total > 1 else "")
    try:
        yield
    finally:
        _place.reset(token)


def lines_of(title: str, interval: float = INTERVAL) -> Report:
    """A report that writes a line to standard error every `interval` seconds, none before."""
    told = time.monotonic()

    def report(done: float, total: float, note: str = "") -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < interval:
            return
        told = now
        share = f"{100 * done / total:.0f} %" if total else f"{done:g}"
        told_now = ", ".join(part for part in (share, one_line(note)) if part)
        print(f"{title}: {told_now}", file=sys.stderr)
        sys.stderr.flush()

    return report


@contextmanager
def download_bar(title: str) -> Iterator[Progress | None]:
    """As `progress_bar`, with bytes: ``report(bytes so far, bytes in all)``."""
    with progress_bar(title) as report:
        if report is None:
            yield None
            return
        shown = report

        def told(done: int, total: int) -> None:
            shown(done, total, f"{done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB")

        yield told
