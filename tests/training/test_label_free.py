"""The Allen Institute's data: lists of CZI files with channel numbers, or their conversions."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from gvtzoo.errors import GvtzooError
from gvtzoo.resources import recipes_folder
from gvtzoo.training.data import load_images
from gvtzoo.training.recipe import load_recipe
from gvtzoo.training.train import train

STRUCTURES = sorted(
    name.stem for name in (recipes_folder() / "label_free").glob("*.yaml")
    if not name.stem.startswith(("_", "phase_to_"))
)  # fmt: skip
CHANNELS, PLANES = 7, 34


def stand_in(folder: Path, structure: str, size: int) -> Path:
    """All images of a structure's lists: one OME-TIFF of few pixels under every name."""
    stack = np.random.default_rng(0).integers(0, 4000, (CHANNELS, PLANES, size, size))
    original = folder / "original.ome.tif"
    pixels = {"PhysicalSizeX": 0.108, "PhysicalSizeY": 0.108, "PhysicalSizeZ": 0.29}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    tifffile.imwrite(original, stack.astype(np.uint16), ome=True,
                     metadata={"axes": "CZYX", **pixels, **units})  # fmt: skip
    for name in (load_recipe(f"label_free/{structure}").data.files or {}).values():
        with (recipes_folder() / name).open(newline="") as file:
            for row in csv.DictReader(file):
                path = (folder / row["path_czi"]).with_suffix(".ome.tif")
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    os.link(original, path)
    return folder


def test_images_are_resampled_and_normalized(tmp_path):
    recipe = load_recipe("label_free/tom20")
    (first, *others) = load_images(stand_in(tmp_path, "tom20", 48), "test", recipe)
    assert len(others) == 19
    assert first.shape == (1, PLANES, 18, 18)  # 48 · 0.37241
    assert first.calibration["pixel_size"] == {"z": 0.29, "y": 0.29, "x": 0.29}
    whole = tuple(slice(None) for _ in range(3))
    for image in first.patch(whole, np.random.default_rng(0)):
        assert image.mean() == pytest.approx(0, abs=1e-4)
        assert image.std() == pytest.approx(1, abs=1e-4)


def test_channels_are_those_of_the_list(tmp_path):
    recipe = load_recipe("label_free/tom20", ["data.pixel_size=null"])
    image = load_images(stand_in(tmp_path, "tom20", 48), "test", recipe)[0]
    stack = tifffile.imread(tmp_path / "original.ome.tif")
    source, target = image.raw(np.random.default_rng(0))
    np.testing.assert_array_equal(source[0], stack[6])
    np.testing.assert_array_equal(target[0], stack[3])


def test_missing_images_are_named(tmp_path):
    with pytest.raises(GvtzooError, match=r"there is no file .*tom20/.*\.czi: download the data"):
        load_images(tmp_path, "train", load_recipe("label_free/tom20"))


def test_an_image_without_pixel_size_is_not_guessed(tmp_path):
    image = np.random.default_rng(0).random((32, 64, 64), np.float32)
    for kind in ("source", "target"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "train" / kind / "a.tif", image)
    settings = ["data.recorded_pixel_size=null"]
    with pytest.raises(GvtzooError, match=r"a has no pixel size in µm.*recorded_pixel_size"):
        load_images(tmp_path, "train", load_recipe("label_free/tom20", settings))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_has_its_images(tmp_path, structure):
    recipe = load_recipe(f"label_free/{structure}")
    folder = stand_in(tmp_path, structure, 16)
    assert len(load_images(folder, "train", recipe)) == 30


def test_the_papers_network_trains(tmp_path):
    settings = ["training.steps=1", "training.batch_size=1"]
    recipe = load_recipe("label_free/fibrillarin", settings)
    run = train(recipe, stand_in(tmp_path, "fibrillarin", 180), tmp_path / "run", device="cpu")
    assert (run / "best.safetensors").is_file()
    assert (run / "metrics.csv").read_text().splitlines()[1].split(",")[2] == ""
