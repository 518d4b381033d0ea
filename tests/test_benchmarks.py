"""Long scripts run to their end on small things, so that they are ready for the large ones.

That for GPUs runs on a CPU; that for trainings without truth trains for a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_script_for_gpus(tmp_path):
    command = [
        sys.executable,
        "benchmarks/gpu.py",
        "--device",
        "cpu",
        "--small",
        "--seconds",
        "3000",  # no row is left out on a slow or busy computer
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--steps", "correctness,speed,others", "--output", str(tmp_path / "gpu.json")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    errors = {row["what"]: row["error"] for row in rows if "against float64" in row["what"]}
    assert errors["float32 against float64"] < 1e-5
    assert errors["bfloat16 against float64"] < 0.05
    assert all(row["seconds"] for row in rows if row["what"] == "whole, float32")
    assert done.stdout.rstrip().splitlines()[-1] in done.stdout.rpartition("|---|")[2]


@pytest.mark.slow
def test_the_comparison_without_truth(tmp_path):
    y, x = np.mgrid[:64, :96]
    clean = 30 + 20 * np.sin(x / 5) * np.cos(y / 6)
    frames = np.random.default_rng(0).poisson(clean, (8, 16, 64, 96)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "series.tif", frames, imagej=True, metadata={"axes": "TZYX"})
    command = [sys.executable, "benchmarks/without_truth.py", str(tmp_path / "series.tif")]
    options = ["--minutes", "0.02", "--seeds", "1", "-o", str(tmp_path / "results")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json")]
    ways = {row["way"] for row in rows}
    assert ways == {"gvtzoo-blind-spots", "gvtzoo-frames", "gvtzoo-finetune-frames"}
    assert all(0 < row["r"] < 1 for row in rows)
    assert all(f"| {way}, 0.02 min | " in done.stdout for way in ways)
