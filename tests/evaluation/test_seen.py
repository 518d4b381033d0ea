"""A model's number on an image that it has learned from is marked as such."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.core.files import sha256_of
from gvtzoo.evaluation.pairs import EvaluationPair, write_recipe_pairs
from gvtzoo.evaluation.seen import Seeing, _overlap
from gvtzoo.packages.config import TrainedFile, TrainedOn
from gvtzoo.recipes.recipe import load_recipe


@pytest.fixture
def pair(tmp_path):
    for name, value in (("source", 1), ("target", 2), ("other", 3)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.full((8, 8), value, np.uint8))
    return EvaluationPair("a", tmp_path / "source.tif", tmp_path / "target.tif")


def knows(*files):
    return TrainedOn(
        files=tuple(
            TrainedFile(name=path.name, sha256=sha256_of(path), use=use, region=region)
            for path, use, region in files
        )
    )


def test_what_is_not_known_is_not_marked(pair, tmp_path):
    assert Seeing().of(None, pair) == ""
    assert Seeing().of(TrainedOn(), pair) == ""
    assert Seeing().of(knows((tmp_path / "other.tif", "train", {})), pair) == ""


def test_the_worst_counts(pair):
    assert Seeing().of(knows((pair.source, "val", {})), pair) == "val"
    assert Seeing().of(knows((pair.source, "val", {}), (pair.target, "train", {})), pair) == "train"


def test_a_copy_under_another_name_is_the_same_image(pair, tmp_path):
    copy = tmp_path / "copy.tif"
    copy.write_bytes(pair.source.read_bytes())
    assert Seeing().of(knows((copy, "train", {})), pair) == "train"


def test_a_folder_is_known_by_what_is_in_it(tmp_path):
    for place in ("one/a.zarr", "two/b.zarr"):
        (tmp_path / place / "c").mkdir(parents=True)
        (tmp_path / place / "c" / "0").write_bytes(b"voxels")
    one, two = tmp_path / "one" / "a.zarr", tmp_path / "two" / "b.zarr"
    assert sha256_of(one) == sha256_of(two)
    (two / "c" / "0").write_bytes(b"others")
    assert sha256_of(one) != sha256_of(two)


@pytest.mark.parametrize(
    ("trained", "shown", "seen"),
    [
        ({"y": (0, 20)}, {"y": (20, 40)}, "part"),
        ({"y": (0, 21)}, {"y": (20, 40)}, "train"),
        ({"y": (0, 20)}, {}, "train"),
        ({"y": (0, 20)}, {"x": (20, 40)}, "train"),
        ({"y": (0, 20), "x": (0, 9)}, {"y": (0, 20), "x": (9, 12)}, "part"),
    ],
)
def test_parts_of_a_file(pair, trained, shown, seen):
    part = EvaluationPair("a", pair.source, pair.target, region=shown)
    assert Seeing().of(knows((pair.source, "train", trained)), part) == seen


ranges = st.tuples(st.integers(0, 9), st.integers(1, 9)).map(lambda t: (t[0], t[0] + t[1]))
regions = st.dictionaries(st.sampled_from("zyx"), ranges)


@given(regions, regions)
def test_parts_overlap_where_they_have_voxels_in_common(first, second):
    masks = []
    for region in (first, second):
        mask = np.zeros((19, 19, 19), bool)
        mask[tuple(slice(*region.get(axis, (0, 19))) for axis in "zyx")] = True
        masks.append(mask)
    assert _overlap(first, second) == bool((masks[0] & masks[1]).any())


def test_a_recipes_images_come_from_the_files_that_they_are_cut_from(tmp_path):
    y, x = np.mgrid[:40, :48] / 8
    stack = np.stack([1000 + 900 * np.sin(y + z / 4) * np.cos(x) for z in range(8)])
    (tmp_path / "clean").mkdir()
    path = tmp_path / "clean" / "blobs.tif"
    tifffile.imwrite(path, stack.astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    recipe = load_recipe(
        "denoising/nuclei",
        ["data.noise.photons=[5]", "data.regions={train: {y: [0, 20]}, test: {y: [24, 40]}}"],
    )
    (pair,) = write_recipe_pairs(recipe, tmp_path / "clean", tmp_path / "report")
    assert pair.origins == (path,)
    assert Seeing().of(knows((path, "train", {"y": (0, 20)})), pair) == "part"
    assert Seeing().of(knows((path, "train", {})), pair) == "train"
