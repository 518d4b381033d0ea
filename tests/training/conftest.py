"""Short trainings, most of whose time pictures and the fingerprint of the images would take."""

from __future__ import annotations

import pytest


@pytest.fixture
def in_full():
    """Asks for both as users get them."""


@pytest.fixture(autouse=True)
def _in_short(request, monkeypatch):
    if "in_full" in request.fixturenames:
        return
    for name in ("callbacks.draw_losses", "callbacks.draw_prediction", "finetune.draw_panels"):
        monkeypatch.setattr(f"gvtzoo.training.{name}", lambda *_, **__: None)
    monkeypatch.setattr("gvtzoo.training.fingerprint.VIEWS", 8)
