from __future__ import annotations

import numpy as np
import pytest
import tifffile

from gvtzoo.images.files import find_images
from gvtzoo.images.ome_sets import files_of, image_of

OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">{content}</OME>'
)


def uuid(number):
    return f"urn:uuid:00000000-0000-4000-8000-{number:012d}"


def image_xml(names, size="", name="s"):
    """One Image element with one plane of 6×5 per file."""
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{file}">{uuid(number)}</UUID></TiffData>'
        for z, (number, file) in enumerate(names.items())
    )
    return (
        f'<Image ID="Image:{name}" Name="{name}"><Pixels ID="Pixels:{name}" DimensionOrder="XYZCT" '
        f'Type="uint16" SizeX="5" SizeY="6" SizeZ="{len(names)}" SizeC="1" SizeT="1" {size}>'
        f'<Channel ID="Channel:{name}" SamplesPerPixel="1"/>{planes}</Pixels></Image>'
    )


def write_plane(path, number, content):
    array = np.full((6, 5), number, np.uint16)
    array[0] = range(5)
    xml = OME.format(uuid=uuid(number), content=content)
    tifffile.imwrite(path, array, description=xml, metadata=None)


def write_set(folder, count=3, *, companion=False, size='PhysicalSizeX="0.1" PhysicalSizeY="0.1"'):
    names = {number: f"pos_z{number}.ome.tif" for number in range(count)}
    content = image_xml(names, size)
    if companion:
        xml = OME.format(uuid=uuid(99), content=content)
        (folder / "pos.companion.ome").write_text(xml, encoding="utf-8")
        content = f'<BinaryOnly MetadataFile="pos.companion.ome" UUID="{uuid(99)}"/>'
    for number, name in names.items():
        write_plane(folder / name, number, content)
    return [folder / name for name in names.values()]


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
