"""The script for GPUs runs to its end on a CPU, so that it is ready where a GPU is lent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
