"""Commands start fast: what takes long to import is imported where it is needed only."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import gvtzoo

MODEL = "gvtnet-denoising-nuclei"
HEAVY = ("torch", "dask", "pint", "onnxruntime", "bioimageio.core", "matplotlib")
RUN = f"""
import json, sys
from gvtzoo.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
"""


def imported(*arguments):
    """Heavy modules that a command has imported, in a process of its own."""
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1])


@pytest.fixture
def stack(tmp_path):
    np.save(tmp_path / "in.npy", np.random.default_rng(0).poisson(9, (5, 18, 22)).astype("u2"))
    return tmp_path / "in.npy"


def test_a_whole_image_is_predicted_without_torch(stack):
    found = stack.with_name("out.npy")
    assert imported("predict", MODEL, stack, "-o", found, "--device", "cpu") == []
    expected = gvtzoo.load(MODEL).predict(np.load(stack), axes="ZYX", engine="torch", device="cpu")
    difference = np.abs(np.load(found) - expected.values).max()
    assert difference < 2e-5 * np.ptp(expected.values)


@pytest.mark.parametrize("command", [["info", MODEL], ["list"]])
def test_models_are_described_without_torch(command):
    assert imported(*command) == []


def test_what_needs_torch_gets_it(stack):
    arguments = ["-o", stack.with_name("out.npy"), "--device", "cpu", "--uncertainty"]
    assert imported("predict", MODEL, stack, *arguments) == ["torch"]
