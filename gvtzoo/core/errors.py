"""The one exception that users are meant to read."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")
LONGEST = 1000


def one_line(text: str) -> str:
    """A text that may come from strangers, without what breaks a line or steers a terminal."""
    return CONTROL.sub(" ", text)


class GvtzooError(ValueError):
    """Something the user can mend, in one line: what is wrong, the value, what to do.

    Messages quote files that may come from strangers: what would break the line, or steer a
    terminal, is replaced by spaces, and what is endless is cut.

    Parameters
    ----------
    message : str
    """

    def __init__(self, message: str) -> None:
        line = one_line(message)
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]}…")
