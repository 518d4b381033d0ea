"""Checkpoints of strangers: nothing of them runs, and what is wrong is one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from command_line import invoke
from safetensors.torch import save_file
from small_package import NETWORK

from gvtzoo.core.errors import GvtzooError
from gvtzoo.recipes.recipe import load_recipe, to_yaml
from gvtzoo.training.checkpoint import step_of


class Evil:
    """Runs a program where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def with_pickle(path, pickled: bytes) -> None:
    """A checkpoint with this pickle in the place of its own."""
    source = io.BytesIO()
    torch.save({"global_step": 1}, source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))


# 1 GiB of zeros, which weights_only=True makes unasked
LARGE = b"\x80\x02c__builtin__\nbytearray\nJ\x00\x00\x00\x40\x85R."


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_of_a_checkpoint_runs(tmp_path, legacy):
    path, mark = tmp_path / "last.ckpt", tmp_path / "ran"
    evil = {"global_step": 1, "more": Evil(f"touch {mark}")}
    if legacy:
        path.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, path)
    with pytest.raises(GvtzooError, match="cannot be resumed from"):
        step_of(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", {}, [1], {"global_step": "x"}])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "last.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(GvtzooError, match=r"last\.ckpt cannot be resumed from"):
        step_of(path)


def test_memory_is_not_taken_unasked(tmp_path):
    with_pickle(tmp_path / "last.ckpt", LARGE)
    with pytest.raises(GvtzooError, match="it names __builtin__ bytearray"):
        step_of(tmp_path / "last.ckpt")


def test_there_need_not_be_one(tmp_path):
    assert step_of(tmp_path / "last.ckpt") == 0


@pytest.fixture
def run(tmp_path):
    """An interrupted run, and the images that it was begun with."""
    folder = tmp_path / "run"
    for place in (folder, tmp_path / "data" / "source", tmp_path / "data" / "target"):
        place.mkdir(parents=True)
    recipe = load_recipe("denoising/exposures").model_copy(update={"network": NETWORK})
    data = recipe.data.model_copy(update={"noise": None})
    recipe = recipe.model_copy(update={"data": data})
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    save_file(NETWORK.build().state_dict(), folder / "best.safetensors")
    image = np.random.default_rng(0).integers(90, 900, (64, 64), dtype=np.uint16)
    for kind in ("source", "target"):
        np.save(tmp_path / "data" / kind / "a.npy", image)
    return folder


def resume(run):
    return invoke("train", "--resume", "-o", run, "--data", run.parent / "data", "--device", "cpu")


PLAUSIBLE = {
    "global_step": 1,
    "epoch": 0,
    "pytorch-lightning_version": "2.5.0",
    "state_dict": {"other": torch.zeros(1)},
    "loops": {},
    "callbacks": {},
    "optimizer_states": [],
    "lr_schedulers": [],
}


@pytest.mark.parametrize("content", [PLAUSIBLE, {"global_step": 10**30}])
def test_another_trainings_checkpoint_is_refused_in_a_line(run, content):
    torch.save(content, run / "last.ckpt")
    result = resume(run)
    assert isinstance(result.exception, GvtzooError)
    assert "last.ckpt cannot be resumed from" in str(result.exception)


@pytest.mark.parametrize(
    "content", [{"train": 3}, {"train": {"files": 3}}, {"train": {"files": [{"path": 3}]}}]
)
def test_a_damaged_list_of_images_is_told(run, content):
    (run / "data.json").write_text(json.dumps(content))
    for result in (resume(run), invoke("info", run)):
        assert isinstance(result.exception, GvtzooError)
        assert "does not list files with path and sha256" in str(result.exception)


def test_other_images_are_still_told(run):
    listed = {"path": "a.npy", "sha256": "0" * 64}
    (run / "data.json").write_text(json.dumps({"train": {"files": [listed]}}))
    assert "other images" in str(resume(run).exception)
