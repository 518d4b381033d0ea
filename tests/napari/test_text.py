"""Texts of strangers are not taken for pages."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.napari

PAGE = '<img src="//evil.example/share/x.png"><a href="file:///etc">here</a>'


@pytest.fixture(scope="module")
def application():
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from qtpy.QtWidgets import QApplication

    return QApplication.instance() or QApplication([])


def test_a_models_purpose_is_shown_as_it_is(application, monkeypatch):
    from qtpy.QtCore import Qt
    from qtpy.QtGui import QTextDocument

    from gvtzoo.napari import model_list
    from gvtzoo.napari.choices import Choice

    monkeypatch.setattr(model_list, "choices", lambda: [Choice("mine", "Mine", PAGE, PAGE)])
    shown = model_list.ModelList()
    assert shown.purpose.textFormat() == Qt.TextFormat.PlainText
    assert PAGE in shown.purpose.text()
    tooltip = QTextDocument()
    tooltip.setHtml(shown.list.item(0).toolTip())
    assert tooltip.toPlainText() == PAGE
