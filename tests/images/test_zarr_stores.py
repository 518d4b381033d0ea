"""OME-Zarr in zip files, and collections of images: plates, wells, bioformats2raw."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import zarr
from ome_zarr_files import multiscale, write, write_plate, zipped

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import find_images, open_image, read_image
from gvtzoo.images.ome_zarr import open_ome_zarr
from gvtzoo.images.zarr_stores import is_url, is_zarr, name_of

IMAGE = np.arange(4 * 6 * 8, dtype="u2").reshape(4, 6, 8)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("name", "below"), [("a.ozx", ""), ("a.zarr.zip", ""), ("a.zip", "a.ome.zarr/")]
)
def test_zip_files(tmp_path, version, name, below):
    folder = write(tmp_path / "a.zarr", IMAGE, multiscale("zyx"), version)
    path = zipped(folder, tmp_path / name, below=below)
    image = open_image(path)
    np.testing.assert_array_equal(image.load(), IMAGE)
    np.testing.assert_array_equal(
        image.array[(slice(1, 3), slice(0, 6), slice(2, 5))], IMAGE[1:3, :, 2:5]
    )


def test_zip_files_are_images_of_a_folder(tmp_path):
    folder = write(tmp_path / "a.zarr", IMAGE, multiscale("zyx"))
    zipped(folder, tmp_path / "b.ozx")
    zipped(folder, tmp_path / "c.zarr.zip")
    (tmp_path / "model.zip").write_bytes(b"")
    assert [path.name for path in find_images(tmp_path)] == ["a.zarr", "b.ozx", "c.zarr.zip"]


def test_zip_files_without_images_are_refused(tmp_path):
    path = tmp_path / "a.ozx"
    path.write_bytes(b"PK")
    with pytest.raises(GvtzooError, match=r"a.ozx cannot be read, it is no zip file or damaged"):
        read_image(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(GvtzooError, match=r"a.ozx holds no OME-Zarr image"):
        read_image(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_plates_are_folders_of_images(tmp_path, version, kind):
    fields = [np.full((6, 8), n, "u2") for n in range(3)]
    path = write_plate(tmp_path / "plate.zarr", {"A/1": fields[:2], "B/2": fields[2:]}, version)
    if kind == "zip":
        path = zipped(path, tmp_path / "plate.ozx")
    images = find_images(path)
    assert [str(image.relative_to(path)) for image in images] == ["A/1/0", "A/1/1", "B/2/0"]
    assert [int(read_image(image)[0, 0]) for image in images] == [0, 1, 2]
    assert open_image(images[1]).name == "plate_A_1_1"
    assert find_images(path / "A" / "1") == images[:2]
    assert int(read_image(path / "B" / "2")[0, 0]) == 2  # a well with a single field
    assert int(open_ome_zarr(path, series=1).load()[0, 0]) == 1
    assert int(open_ome_zarr(path, series="B/2/0").load()[0, 0]) == 2
    with pytest.raises(GvtzooError, match=r"is a plate of 3 images: name one, such as .*A/1/0"):
        read_image(path)


@pytest.mark.parametrize("listed", [True, False])
def test_what_bioformats2raw_writes(tmp_path, listed):
    path = tmp_path / "a.zarr"
    zarr.create_group(path, zarr_format=2, attributes={"bioformats2raw.layout": 3})
    names = ["0", "1"]
    for number, name in enumerate(names):
        write(path / name, IMAGE + number, multiscale("zyx"))
    if listed:
        zarr.create_group(path / "OME", zarr_format=2, attributes={"series": names})
    assert find_images(path) == [path / "0", path / "1"]
    np.testing.assert_array_equal(open_ome_zarr(path, series=1).load(), IMAGE + 1)
    with pytest.raises(GvtzooError, match="is a collection of 2 images"):
        read_image(path)


def test_a_file_of_one_image_by_bioformats2raw(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_group(path, zarr_format=2, attributes={"bioformats2raw.layout": 3})
    write(path / "0", IMAGE, multiscale("zyx"))
    np.testing.assert_array_equal(read_image(path), IMAGE)


def test_a_folder_of_any_name_is_zarr_by_its_metadata(tmp_path):
    path = write(tmp_path / "converted", IMAGE, multiscale("zyx"), "0.5")
    np.testing.assert_array_equal(read_image(path), IMAGE)
    assert not is_zarr(tmp_path)


def test_names():
    assert is_url("https://example.org/a.zarr")
    assert is_url("s3://bucket/a.zarr")
    assert not is_url("C:\\data\\a.zarr")
    assert not is_url("a.zarr")
    assert name_of("https://example.org/data/plate.zarr/A/1/0") == "plate_A_1_0"
    assert name_of("data/Zelle ä.ome.zarr") == "Zelle ä.ome"
