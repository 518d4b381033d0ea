"""CARE's data sets are read in their own layout, patches from where they lie on disk."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from gvtzoo.core.errors import GvtzooError
from gvtzoo.recipes.recipe import Recipe, load_recipe
from gvtzoo.training.data.patches import load_images

SMALL = ["network.features=4", "training.batch_size=1", "training.steps=1"]


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("denoising/planaria", SMALL)


def save_patches(folder, source, target, axes="SCZYX", save=np.savez):
    (folder / "train_data").mkdir(parents=True, exist_ok=True)
    save(folder / "train_data" / "data_label.npz", X=source, Y=target, axes=axes)


def patches(count=3, shape=(16, 64, 64), seed=0):
    return np.random.default_rng(seed).random((count, 1, *shape), np.float32)


def is_mapped(array) -> bool:
    """Whether an array is a view of a memory map."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


def test_patches_stay_on_disk(tmp_path, recipe):
    source, target = patches(seed=0), patches(seed=1)
    save_patches(tmp_path, source, target)
    images = load_images(tmp_path, "train", recipe)
    assert len(images) == 3
    for number, image in enumerate(images):
        found = image.raw(np.random.default_rng(0))
        np.testing.assert_array_equal(found[0], source[number])
        np.testing.assert_array_equal(found[1], target[number])
        assert is_mapped(found[0])


def test_patches_are_normalized_already(tmp_path, recipe):
    source = patches()
    save_patches(tmp_path, source, source)
    (first, *_) = load_images(tmp_path, "train", recipe)
    box = (slice(0, 16), slice(0, 64), slice(0, 64))
    np.testing.assert_array_equal(first.patch(box, np.random.default_rng(0))[0], source[0])


def test_compressed_files_and_other_axes_are_read(tmp_path, recipe):
    source = patches()
    save_patches(tmp_path, np.moveaxis(source, 1, -1), source[:, 0], "SZYXC", np.savez_compressed)
    with pytest.raises(GvtzooError, match="cannot have axes SZYXC"):
        load_images(tmp_path, "train", recipe)
    moved = np.moveaxis(source, 1, -1)
    save_patches(tmp_path, moved, moved, "SZYXC", np.savez_compressed)
    (first, *_) = load_images(tmp_path, "train", recipe)
    np.testing.assert_array_equal(first.raw(np.random.default_rng(0))[0], source[0])


def test_patches_that_do_not_suit_the_network_are_refused(tmp_path, recipe):
    save_patches(tmp_path, patches(shape=(64, 64)), patches(shape=(64, 64)), "SCYX")
    with pytest.raises(GvtzooError, match="do not suit the network, which takes 1 × ZYX"):
        load_images(tmp_path, "train", recipe)


def test_unequal_numbers_of_patches_are_refused(tmp_path, recipe):
    save_patches(tmp_path, patches(3), patches(2))
    with pytest.raises(GvtzooError, match="3 patches in X, but 2 in Y"):
        load_images(tmp_path, "train", recipe)


def test_python_objects_are_not_loaded(tmp_path, recipe):
    objects = np.array([{}], object)
    save_patches(tmp_path, objects, objects)
    with pytest.raises(GvtzooError, match="Python objects"):
        load_images(tmp_path, "train", recipe)


def test_targets_of_a_projection_have_one_plane(tmp_path):
    recipe = load_recipe("projection/flywing", SMALL)
    save_patches(tmp_path, patches(shape=(50, 64, 64)), patches(shape=(1, 64, 64)))
    (first, *_) = load_images(tmp_path, "train", recipe)
    source, target = first.raw(np.random.default_rng(0))
    assert (source.shape, target.shape) == ((1, 50, 64, 64), (1, 64, 64))


def test_test_images_in_folders(tmp_path, recipe):
    for folder in ("GT", "condition_1", "condition_2"):
        (tmp_path / "test_data" / folder).mkdir(parents=True)
        for name in ("a.tif", "b.tif"):
            stack = np.random.default_rng(0).integers(0, 99, (4, 8, 8)).astype(np.uint16)
            tifffile.imwrite(
                tmp_path / "test_data" / folder / name, stack, imagej=True, metadata={"axes": "ZYX"}
            )
    assert len(load_images(tmp_path, "test", recipe)) == 4
    assert load_images(tmp_path, "val", recipe) == []
    (tmp_path / "test_data" / "GT" / "a.tif").unlink()
    with pytest.raises(GvtzooError, match=r"a\.tif has no partner"):
        load_images(tmp_path, "test", recipe)


def test_test_images_as_frames_of_one_file(tmp_path, recipe):
    (tmp_path / "test_data").mkdir()
    frames = np.random.default_rng(0).integers(0, 99, (4, 5, 8, 8)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "test_data" / "worm.tif", frames)
    images = load_images(tmp_path, "test", recipe)
    assert [image.name for image in images] == [f"worm, condition {n}" for n in (3, 2, 1)]
    source, target = images[-1].raw(np.random.default_rng(0))
    np.testing.assert_array_equal(source[0], frames[2])
    np.testing.assert_array_equal(target[0], frames[3])
