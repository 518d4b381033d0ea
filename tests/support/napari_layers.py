"""Layers without napari, and waiting for Qt."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class PlainLayer:
    """What the plugin asks of a layer, without napari."""

    data: Any
    name: str = "stack"
    scale: Any = None
    translate: Any = None
    units: tuple[str, ...] = ()
    axis_labels: tuple[str, ...] = ()
    multiscale: bool = False
    rgb: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = (self.data[0] if self.multiscale else self.data).ndim
        self.scale = [1.0] * count if self.scale is None else self.scale
        self.translate = [0.0] * count if self.translate is None else self.translate


def wait_until(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    """Let Qt work until something has happened."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while True:
        QApplication.processEvents()
        if happened():
            return
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
