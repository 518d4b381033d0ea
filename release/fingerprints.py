"""Puts the fingerprint of its training images into a trained model of the zoo.

    python release/fingerprints.py NAME --data FOLDER [--voxels Z,Y,X]... [--set KEY=VALUE]...

FOLDER is what the recipe was trained on; noise is simulated where it was. The fingerprint goes into
zoo/NAME/model.zip, whose weights and tests stay as they are. `gvtzoo predict` compares images with
it (docs/howto/fit.md). That of gvtnet-denoising-3d was made with --voxels 0.235,0.15,0.15, the
size of the ovule's, which its data folder does not keep; that of gvtnet-denoising-nuclei with
--set data.noise.photons=[6,8,12,18,30,60,120,250]: in less light there is hardly anything to be
compared, so that all would be like it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gvtzoo.core.resources import zoo_folder
from gvtzoo.packages.config import FORMAT, Fingerprint, PackageConfig
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.rewriting import rewrite_package
from gvtzoo.recipes.recipe import build_recipe
from gvtzoo.training.data.patches import load_images
from gvtzoo.training.fingerprint import fingerprint


def main() -> None:
    """Look at the training images, and write the package again."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--voxels",
        metavar="Z,Y,X",
        action="append",
        default=[],
        help="in µm, of further images whose files do not tell",
    )
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    package = zoo_folder() / arguments.name / "model.zip"
    voxels = [tuple(map(float, text.split(","))) for text in arguments.voxels]
    config = open_package(package).config
    found = fingerprint_of(config, arguments.data, voxels, arguments.settings)
    changes = {"fingerprint": found, "format": FORMAT}
    rewrite_package(package, changes, package, overwrite=True)
    print(found.model_dump_json(indent=1))


def fingerprint_of(
    config: PackageConfig,
    data: Path,
    voxels: Sequence[Sequence[float]] = (),
    settings: Sequence[str] = (),
) -> Fingerprint:
    """Of the training images of a packaged model's recipe."""
    recipe = build_recipe(dict(config.recipe or {}), settings)
    known: list[dict[str, Any]] = [{"pixel_size": config.pixel_size, "unit": config.unit}]
    known += [
        {"pixel_size": dict(zip("zyx", size, strict=True)), "unit": "micrometer"} for size in voxels
    ]
    found = fingerprint(recipe, load_images(data, "train", recipe), known)
    if found is None:
        raise SystemExit(f"{data}: nothing to see in the training images")
    return found


if __name__ == "__main__":
    main()
