"""Texts of strangers in the window: shown as they are.

Qt takes a text with tags in it for a page, and loads the pictures that it names, from any folder or
computer.
"""

from __future__ import annotations

import html

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel


def plain_label() -> QLabel:
    """A label that shows every text as it is."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def tooltip(text: str) -> str:
    """A text as a tooltip, which is a page always."""
    return f"<qt>{html.escape(text)}</qt>"
