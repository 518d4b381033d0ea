"""Small stand-ins for the data sets of the paper's trainings, in those data sets' own layouts."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import tifffile

from gvtzoo.core.resources import recipes_folder
from gvtzoo.recipes.recipe import load_recipe

LABEL_FREE = sorted(
    f"label_free/{file.stem}"
    for file in (recipes_folder() / "label_free").glob("*.yaml")
    if not file.stem.startswith(("_", "phase_to_"))
)
CARE = ["denoising/planaria", "denoising/tribolium", "projection/flywing"]
PAPER_RECIPES = [*LABEL_FREE, *CARE]

CHANNELS, PLANES = 7, 34


def allen_stand_in(folder: Path, recipe: str, size: int) -> Path:
    """All images of a structure's lists: one OME-TIFF of `size` pixels under every name."""
    folder.mkdir(parents=True, exist_ok=True)
    stack = np.random.default_rng(0).integers(0, 4000, (CHANNELS, PLANES, size, size))
    original = folder / "original.ome.tif"
    pixels = {"PhysicalSizeX": 0.108, "PhysicalSizeY": 0.108, "PhysicalSizeZ": 0.29}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    metadata = {"axes": "CZYX", **pixels, **units}
    tifffile.imwrite(original, stack.astype(np.uint16), ome=True, metadata=metadata)
    for name in (load_recipe(recipe).data.files or {}).values():
        with (recipes_folder() / name).open(newline="") as file:
            for row in csv.DictReader(file):
                path = (folder / row["path_czi"]).with_suffix(".ome.tif")
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    os.link(original, path)
    return folder


def care_stand_in(folder: Path, recipe: str, size: int) -> Path:
    """CARE's file of training patches, of `size` pixels and as many planes as a patch has."""
    planes = load_recipe(recipe).training.patch[0]
    targets = 1 if recipe.startswith("projection") else planes
    generator = np.random.default_rng(0)
    (folder / "train_data").mkdir(parents=True)
    np.savez(
        folder / "train_data" / "data_label.npz",
        X=generator.random((2, 1, planes, size, size), np.float32),
        Y=generator.random((2, 1, targets, size, size), np.float32),
        axes="SCZYX",
    )
    return folder
