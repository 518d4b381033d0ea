"""Layers without a window, and a viewer on a screen of its own."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest


@pytest.fixture
def stack() -> np.ndarray:
    """A small noisy stack, (z, y, x)."""
    return np.random.default_rng(0).poisson(20, (8, 24, 32)).astype(np.uint16)


@pytest.fixture(scope="session")
def screen():
    """A display: the one that is there, or else Xvfb's, which has OpenGL."""
    if os.environ.get("DISPLAY"):
        yield os.environ["DISPLAY"]
        return
    program = shutil.which("Xvfb")
    assert program is not None, "there is no screen, and no Xvfb: install xvfb"
    read, write = os.pipe()
    with subprocess.Popen(
        [program, "-displayfd", str(write), "-screen", "0", "1600x1000x24", "+extension", "GLX"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(write)
        with os.fdopen(read) as number:
            os.environ["DISPLAY"] = f":{number.readline().strip()}"
        os.environ["QT_QPA_PLATFORM"] = "xcb"
        yield os.environ["DISPLAY"]
        process.terminate()
        del os.environ["DISPLAY"]


@pytest.fixture
def viewer(screen, tmp_path, monkeypatch):
    """A viewer of napari, closed at the end."""
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "napari.yaml"))
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=False)
    yield viewer
    if viewer in napari.Viewer._instances:
        viewer.close()
    QApplication.processEvents()
