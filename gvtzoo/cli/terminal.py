"""What is shown on a terminal does not steer it.

Names of models, images and files come from strangers, and a name may hold the codes by which
programs move the cursor, set the window's title, or paste. Pipes get every name as it is.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, TextIO

from gvtzoo.core.errors import CONTROL, one_line

# Lines and tables are our own.
STEERING = re.compile(rf"(?![\n\t]){CONTROL.pattern.removesuffix('+')}")


class PlainTerminal:
    """Standard output without control codes.

    Parameters
    ----------
    stream : text file
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text in which a question mark stands for each code."""
        self._stream.write(STEERING.sub("?", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return one_line(super().formatMessage(record))


def log_handler() -> logging.Handler:
    """Messages on standard error, one line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    return handler
