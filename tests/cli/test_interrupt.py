"""Ctrl-C ends every command with one line that says what is kept, and status 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from gvtzoo.cli.interrupt import InterruptibleGroup, interruptible

MODEL = "gvtnet-denoising-exposures"
COUNT = 80  # images


def interrupted(*arguments: object, when, folder: Path) -> subprocess.CompletedProcess:
    """A command that gets SIGINT as soon as `when` holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gvtzoo", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell starts what runs in the background, as tests may, with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def last_line(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.fixture
def images(tmp_path):
    """So many that no command is through with them at once."""
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        for kind in ("source", "target"):
            path = tmp_path / "pairs" / kind / f"{number:03}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = generator.integers(90, 900, (96, 96), dtype=np.uint16)
            tifffile.imwrite(path, image, imagej=True, metadata={"axes": "YX"})
    return tmp_path / "pairs"


def test_predict(tmp_path, images):
    out = tmp_path / "out"
    done = interrupted(
        *("predict", MODEL, images / "source", "-o", out, "--device", "cpu"),
        when=lambda: (out / "000.tif").exists(),
        folder=tmp_path,
    )
    line = last_line(done)
    assert line.startswith("gvtzoo: interrupted: ")
    assert line.endswith(
        f"of {COUNT} predictions are written and stay: the same command makes the others"
    )
    written = len(list(out.glob("*.tif")))
    assert written - 1 <= len(done.stdout.splitlines()) <= written
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_evaluate(tmp_path, images):
    report = tmp_path / "report"
    done = interrupted(
        *("evaluate", MODEL, "--data", images, "-o", report, "--device", "cpu"),
        when=lambda: list(report.glob("predictions/*/000.json")),
        folder=tmp_path,
    )
    kept = report / "predictions"
    assert last_line(done) == (
        f"gvtzoo: interrupted: predictions that were made are kept in {kept}: the same command "
        "goes on with them"
    )


def test_train(tmp_path, images):
    run = tmp_path / "run"
    small = ["--set", "training.patch=[32, 32]", "--set", "training.batch_size=1"]
    small += ["--set", "network.features=4", "--set", "training.validate_every=2"]
    small += ["--set", "data.files=null"]  # the recipe's own images are others
    for path in images.glob("*/*.tif"):
        if int(path.stem) >= 8:  # a training is not through with few either
            path.unlink()
    done = interrupted(
        *("train", "denoising/exposures", "--data", images, "-o", run, "--device", "cpu", *small),
        when=lambda: (run / "last.ckpt").exists(),
        folder=tmp_path,
    )
    assert last_line(done) == (
        f"gvtzoo: interrupted: {run} holds all up to the last validation: the same command with "
        "--resume goes on"
    )
    assert (run / "best.safetensors").is_file()


app = typer.Typer(cls=InterruptibleGroup)


@app.command()
def silent() -> None:
    raise KeyboardInterrupt


@app.command()
def told() -> None:
    with interruptible(lambda: "all is well"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("command", "words"), [("silent", "the same command starts again"), ("told", "all is well")]
)
def test_any_command(command, words):
    done = CliRunner().invoke(app, [command])
    assert done.exit_code == 130
    assert done.stderr.startswith("gvtzoo: interrupted: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
