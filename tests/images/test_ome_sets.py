from __future__ import annotations

import numpy as np
import pytest
import tifffile
from ome_sets import image_xml, write_plane, write_set

from gvtzoo.images.files import find_images
from gvtzoo.images.ome_sets import files_of, image_of


@pytest.mark.parametrize("companion", [False, True])
def test_a_set_of_files_is_one_image(tmp_path, companion):
    files = write_set(tmp_path, companion=companion)
    assert find_images(tmp_path) == files[:1]
    for file in files:
        assert files_of(file) == files
        assert image_of(file) == files[0]


def test_a_companion_stands_for_its_set(tmp_path):
    files = write_set(tmp_path, companion=True)
    assert image_of(tmp_path / "pos.companion.ome") == files[0]


def test_each_of_several_positions_in_their_own_files_is_an_image(tmp_path):
    content = image_xml({0: "a.ome.tif"}, name="a") + image_xml({1: "b.ome.tif"}, name="b")
    write_plane(tmp_path / "a.ome.tif", 0, content)
    write_plane(tmp_path / "b.ome.tif", 1, content)
    assert find_images(tmp_path) == [tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"]


def test_a_renamed_copy_is_an_image_of_its_own(tmp_path):
    write_plane(tmp_path / "a.ome.tif", 0, image_xml({0: "a.ome.tif"}))
    write_plane(tmp_path / "b.ome.tif", 1, image_xml({1: "a.ome.tif"}))
    assert find_images(tmp_path) == [tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"]


@pytest.mark.parametrize("name", ["../a.ome.tif", "..\\\\a.ome.tif", "/etc/a.ome.tif"])
def test_files_in_other_folders_are_of_no_set(tmp_path, name):
    write_plane(tmp_path / "b.ome.tif", 1, image_xml({1: "b.ome.tif", 0: name}))
    assert files_of(tmp_path / "b.ome.tif") == [tmp_path / "b.ome.tif"]


def test_what_is_no_ome_tiff_is_itself(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    (tmp_path / "damaged.tif").write_bytes(b"II*\x00")
    tifffile.imwrite(tmp_path / "plain.tif", np.ones((2, 2)))
    (tmp_path / "xml.ome.tif").write_bytes(b"x")
    for path in tmp_path.iterdir():
        assert files_of(path) == [path]
        assert image_of(path) == path
