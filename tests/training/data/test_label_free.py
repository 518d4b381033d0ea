"""The Allen Institute's data: lists of CZI files with channel numbers, or their conversions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from paper_data import LABEL_FREE, PLANES, allen_stand_in
from scipy.ndimage import zoom

from gvtzoo.core.errors import GvtzooError
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.data.patches import load_images


def stand_in(folder: Path, structure: str, size: int) -> Path:
    """The images of a structure's lists."""
    return allen_stand_in(folder, f"label_free/{structure}", size)


def test_images_are_normalized_and_resampled_in_the_references_order(tmp_path):
    recipe = load_recipe("label_free/tom20")
    (first, *others) = load_images(stand_in(tmp_path, "tom20", 48), "test", recipe)
    assert len(others) == 19
    assert first.shape == (1, PLANES, 18, 18)  # 48 · 0.37241
    assert first.calibration["pixel_size"] == {"z": 0.29, "y": 0.29, "x": 0.29}
    whole = tuple(slice(None) for _ in range(3))
    stack = tifffile.imread(tmp_path / "original.ome.tif").astype(np.float64)
    patch = first.patch(whole, np.random.default_rng(0))
    for image, channel in zip(patch, (6, 3), strict=True):
        scored = (stack[channel] - stack[channel].mean()) / stack[channel].std()
        expected = zoom(scored, (1, 18 / 48, 18 / 48), order=3, mode="nearest")
        np.testing.assert_allclose(image[0], expected, atol=1e-4)
        assert abs(image.std() - 1) > 1e-3  # the other order would make this 0


def test_recipes_that_do_not_say_normalize_resampled_images(tmp_path):
    recipe = load_recipe("label_free/tom20", ["normalization.before_resampling=false"])
    first = load_images(stand_in(tmp_path, "tom20", 48), "test", recipe)[0]
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


@pytest.mark.parametrize("name", LABEL_FREE)
def test_every_structure_has_its_images(tmp_path, name):
    assert len(load_images(allen_stand_in(tmp_path, name, 16), "train", load_recipe(name))) == 30
