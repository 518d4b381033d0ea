"""Every command and every example of the README runs, in its order, as it is shown."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.demo import demo_images
from gvtzoo.images.files import write_image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# A training of minutes says no more about the command than one of four steps.
SHORT_FINETUNING = [
    *("--set", "training.steps=2", "--set", "training.validate_every=1"),
    *("--set", "training.patch=[8, 32, 32]", "--set", "training.batch_size=1"),
]
SHORT = {"finetune": SHORT_FINETUNING}
# These say where their files are, or what publishing would need.
TALKATIVE = {*SHORT, "evaluate", "package", "predict"}  # which say what they think of it


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True) for part in parts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The files that the README's commands name."""
    folder = tmp_path_factory.mktemp("readme")
    noisy, truth = demo_images()
    small = noisy[:8, :64, :64]
    write_image(folder / "stack.tif", small)
    write_image(folder / "stack.zarr", small)
    write_image(folder / "images" / "a.tif", small)
    write_image(folder / "images" / "b.tif", small)
    write_image(folder / "my_pairs" / "source" / "a.tif", small)
    write_image(folder / "my_pairs" / "target" / "a.tif", truth[:8, :64, :64].astype(np.float32))
    return folder


def test_readme_shows_the_commands_of_a_first_day():
    shown = {command[1] for command in commands() if command[0] == "gvtzoo"}
    assert shown >= {"demo", "list", "info", "predict", "finetune", "evaluate", "package"}


@pytest.mark.parametrize(
    ("number", "command"),
    enumerate(command for command in commands() if command[0] == "gvtzoo"),
    ids=lambda value: " ".join(value[1:3]) if isinstance(value, list) else str(value),
)
def test_command_runs(number, command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = [*command[1:], *SHORT.get(command[1], [])]
    # Two as people start them; the others without the seconds that importing takes.
    status, output, messages = (in_a_process if number < 2 else in_this_process)(arguments)
    assert status == 0, messages
    assert output.strip()
    assert not messages.strip() or command[1] in TALKATIVE


def in_a_process(arguments: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gvtzoo", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def in_this_process(arguments: list[str]) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout, f"{done.stderr}{done.exception or ''}"


def test_other_commands_are_how_ci_runs_them():
    others = [command for command in commands() if command[0] != "gvtzoo"]
    assert others == [["pip", "install", ".[test]"], ["pytest", "-n", "auto"]]


@pytest.mark.parametrize("code", blocks("python"), ids=["predict"])
def test_python_example_runs(code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    if "clean" in names:
        assert names["clean"].dims == names["sigma"].dims == ("z", "y", "x")
        assert names["clean"].shape == tifffile.imread("stack.tif").shape
