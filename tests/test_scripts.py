"""The scripts beside the package, which no other test starts, find what they import."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("benchmarks", "docs", "release", "zoo")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "conf.py"  # which writes pages when it is read
)


def test_there_are_scripts():
    assert {"zoo/train.py", "release/measure_clients.py"} < set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_finds_what_it_imports(script, monkeypatch):
    path = ROOT / script
    monkeypatch.setattr(sys, "path", [str(path.parent), str(ROOT), *sys.path])
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(path), run_name="imported")
