"""Every command and every example of the README runs, in its order, as it is shown."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from gvtzoo.demo import demo_images
from gvtzoo.images.files import write_image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# A training of minutes says no more about the command than one of four steps.
SHORT_TRAINING = [
    *("--set", "training.steps=4", "--set", "training.validate_every=2"),
    *("--set", "training.patch=[8, 32, 32]", "--set", "data.regions=null"),
    *("--set", "data.noise.photons=[10]"),
]
SHORT_FINETUNING = [
    *("--set", "training.steps=2", "--set", "training.validate_every=1"),
    *("--set", "training.patch=[8, 32, 32]", "--set", "training.batch_size=1"),
]
SHORT = {"train": SHORT_TRAINING, "finetune": SHORT_FINETUNING}
# These say where their files are, or what publishing would need.
TALKATIVE = {*SHORT, "evaluate", "sweep", "transfer", "package"}


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
    small = noisy[:16, :, :64]
    write_image(folder / "stack.tif", small)
    write_image(folder / "stack.zarr", small)
    write_image(folder / "images" / "a.tif", small)
    write_image(folder / "images" / "b.tif", small)
    np.save(folder / "stack.npy", small.to_numpy())
    for split in ("clean_stacks",):
        write_image(folder / split / "clean.tif", truth[:16, :, :64].astype(np.float32))
    for pairs in ("my_pairs", "their_pairs"):
        write_image(folder / pairs / "source" / "a.tif", small)
        write_image(folder / pairs / "target" / "a.tif", truth[:16, :, :64].astype(np.float32))
    shutil.copytree(ROOT / "tests" / "golden" / "denoise", folder / "checkpoint")
    return folder


def test_readme_shows_each_command():
    shown = {command[1] for command in commands() if command[0] == "gvtzoo"}
    assert shown >= {"demo", "list", "info", "predict", "train", "package", "test", "import-tf",
                      "evaluate", "sweep", "transfer"}  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [command for command in commands() if command[0] == "gvtzoo"],
    ids=lambda command: " ".join(command[1:3]),
)
def test_command_runs(command, folder):
    arguments = [*command[1:], *SHORT.get(command[1], [])]
    done = subprocess.run(
        [sys.executable, "-m", "gvtzoo", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr.strip() or command[1] in TALKATIVE


def test_other_commands_are_how_ci_runs_them():
    others = [command for command in commands() if command[0] != "gvtzoo"]
    assert others == [["pip", "install", ".[test]"], ["pytest"]]


@pytest.mark.parametrize("code", blocks("python"), ids=["predict", "networks"])
def test_python_example_runs(code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    if "clean" in names:
        assert names["clean"].dims == names["sigma"].dims == ("z", "y", "x")
        assert names["clean"].shape == tifffile.imread("stack.tif").shape
