"""Suggestions for misspelt names: the nearest one of those that exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

CLOSE = 0.7  # as difflib measures it: 1 is the same
SHORTEST_PART = 3  # letters of a name by which it is suggested


def nearest(text: str, names: Iterable[str]) -> str:
    """The name that is nearly `text`, or has it in it; empty when there is none."""
    known = list(names)
    close = difflib.get_close_matches(text, known, n=1, cutoff=CLOSE)
    inside = [name for name in known if text in name] if len(text) >= SHORTEST_PART else []
    return next(iter([*close, *inside]), "")
