"""Checkpoints in a clone of the authors' repository belong to the models of the index."""

from __future__ import annotations

from pathlib import Path

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.published import find_checkpoints, published_entry, published_models

DNA, LAMIN, DIC = (f"gvtnet-label-free-{name}" for name in ("dna", "lamin-b1", "dic-lamin-b1"))


def put(folder: Path, *names: str) -> None:
    """Empty files, where checkpoints would be."""
    for name in names:
        path = folder / f"{name}.index"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_published_layout_is_found_whole(tmp_path):
    put(
        tmp_path,
        *(f"{e.checkpoint.folder}/model.ckpt-pretrained" for e in published_models().values()),
    )
    expected = {
        name: tmp_path / entry.checkpoint.folder / "model.ckpt-pretrained"
        for name, entry in published_models().items()
    }
    assert len(expected) == 16
    assert find_checkpoints(tmp_path) == expected


def test_a_folder_above_is_as_good(tmp_path):
    put(tmp_path, "GVTNets/save_dir/label-free/dna/models/x/model.ckpt-pretrained")
    assert isinstance(find_checkpoints(tmp_path)[DNA], Path)


@pytest.mark.parametrize(
    "folder", ["lamin_b1", "Lamin-B1", "gvtnet_lamin_b1", "GVTNet_label-free_LaminB1"]
)
def test_the_spelling_of_folders_makes_no_difference(tmp_path, folder):
    put(tmp_path, f"{folder}/model")
    found = find_checkpoints(tmp_path)
    assert found[LAMIN] == tmp_path / folder / "model"
    assert isinstance(found[DIC], GvtzooError)


def test_the_pretrained_checkpoint_is_chosen_among_several(tmp_path):
    put(tmp_path, "dna/model.ckpt-100", "dna/model.ckpt-pretrained")
    assert find_checkpoints(tmp_path)[DNA] == tmp_path / "dna" / "model.ckpt-pretrained"


def test_what_is_missing_or_ambiguous_is_told(tmp_path):
    put(tmp_path, "dna/model.ckpt-100", "dna/model.ckpt-200")
    found = find_checkpoints(tmp_path)
    assert "several checkpoints" in str(found[DNA])
    assert "expected label-free/lamin_b1/models/gvtnet_label-free_pretrained" in str(found[LAMIN])


def test_a_folder_without_checkpoints_is_an_error_at_once(tmp_path):
    with pytest.raises(GvtzooError, match="no TensorFlow checkpoint below"):
        find_checkpoints(tmp_path)


def test_published_models_are_found_by_their_recipe():
    entry = published_entry("label_free/dna")
    assert entry is not None
    assert entry.id == DNA
    assert published_entry("denoising/nuclei") is None
