"""Files as microscopes and programs write them, where they are read wrong most easily."""

from __future__ import annotations

import logging
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import xarray as xr
from ome_sets import OME, image_xml, uuid, write_plane, write_set

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import open_image, read_image, with_ending, write_image

PLAIN = {"photometric": "minisblack", "metadata": None}


def planes(count=6, height=12, width=16, dtype=np.uint16):
    return np.random.default_rng(1).integers(0, 4000, (count, height, width)).astype(dtype)


def write_imagej(path, array, lines, resolution=(4, 4)):
    """ImageJ's own description, whatever it says."""
    text = "ImageJ=1.53t\n" + "".join(f"{line}\n" for line in lines)
    with tifffile.TiffWriter(path) as writer:
        for number, plane in enumerate(array):
            writer.write(
                plane,
                description=text if number == 0 else None,
                metadata=None,
                resolution=resolution,
                resolutionunit="NONE",
                contiguous=False,
            )


def write_ome(path, array, attributes, content='<TiffData IFD="0" PlaneCount="{count}"/>'):
    count, height, width = array.shape
    pixels = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        f'SizeX="{width}" SizeY="{height}" SizeZ="{count}" SizeC="1" SizeT="1" {attributes}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{content.format(count=count)}'
        "</Pixels></Image>"
    )
    description = OME.format(uuid=uuid(0), content=pixels).encode()
    tifffile.imwrite(path, array, description=description, **PLAIN)


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: " | ".join(caplog.messages)


@pytest.mark.parametrize("companion", [False, True])
@pytest.mark.parametrize("number", [0, 2])
def test_every_file_of_a_set_gives_the_whole_image(tmp_path, companion, number, messages):
    size = 'PhysicalSizeX="0.1" PhysicalSizeY="0.1" PhysicalSizeZ="500" PhysicalSizeZUnit="nm"'
    files = write_set(tmp_path, companion=companion, size=size)
    image = read_image(files[number])
    assert image.dims == ("z", "y", "x")
    assert image[:, 1, 0].values.tolist() == [0, 1, 2]
    assert image.attrs["unit"] == "micrometer"
    assert image.attrs["pixel_size"] == pytest.approx({"z": 0.5, "y": 0.1, "x": 0.1})
    assert messages() == ""


def test_a_companion_can_be_named_itself(tmp_path):
    write_set(tmp_path, companion=True)
    assert read_image(tmp_path / "pos.companion.ome").shape == (3, 6, 5)


def test_of_an_incomplete_set_it_is_said_what_is_missing(tmp_path, messages):
    files = write_set(tmp_path)
    files[1].unlink()
    image = read_image(files[0])
    assert image[:, 1, 0].values.tolist() == [0, 0, 2]
    assert "pos_z0.ome.tif: lacks 1 of its 3 planes: they are zero" in messages()
    assert "pos_z1.ome.tif" in messages()


def test_without_its_companion_a_file_says_that_it_is_a_part(tmp_path, messages):
    files = write_set(tmp_path, companion=True)
    (tmp_path / "pos.companion.ome").unlink()
    assert read_image(files[1]).shape == (6, 5)
    assert "is one file of a set that pos.companion.ome describes, which is not here" in messages()


def test_positions_in_their_own_files_are_told_apart(tmp_path, messages):
    content = image_xml({0: "a.ome.tif"}, 'PhysicalSizeX="1"', "a")
    content += image_xml({1: "b.ome.tif"}, 'PhysicalSizeX="2"', "b")
    for number, name in enumerate("ab"):
        write_plane(tmp_path / f"{name}.ome.tif", number, content)
    for number, name in enumerate("ab"):
        image = read_image(tmp_path / f"{name}.ome.tif")
        assert image[1, 0] == number
        assert image.attrs["pixel_size"] == {"x": number + 1}
    assert messages() == ""


def test_a_stack_that_was_appended_plane_by_plane_is_one_image(tmp_path, messages):
    array = planes(4)
    for plane in array:
        tifffile.imwrite(tmp_path / "a.tif", plane, append=True)
    image = open_image(tmp_path / "a.tif")
    assert image.dims == ("z", "y", "x")
    np.testing.assert_array_equal(image.load(), array)
    assert messages() == "a.tif: was written plane by plane: its 4 planes are read as one stack"


def test_appended_volumes_are_images_to_choose_from(tmp_path, messages):
    for number in range(2):
        tifffile.imwrite(tmp_path / "a.tif", planes() + number, append=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", series=1), planes() + 1)
    assert messages() == ""
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), planes())
    assert (
        "holds 2 images (0 6×12×16, 1 6×12×16): 0 is read, --series N takes another" in messages()
    )


@pytest.fixture
def pyramid(tmp_path):
    array = np.random.default_rng(0).integers(0, 4000, (64, 96)).astype(np.uint16)
    size = {"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.3}
    options = {"tile": (16, 32), "compression": "zlib", "predictor": True}
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        writer.write(array, subifds=1, metadata={"axes": "YX", **size}, **options)
        writer.write(array[::2, ::2].copy(), subfiletype=1, **options)
    return tmp_path / "a.ome.tif", array


def test_of_a_pyramid_the_finest_level_is_read_in_tiles_or_the_one_that_is_named(pyramid, messages):
    path, array = pyramid
    image = open_image(path)
    np.testing.assert_array_equal(image.array[3:40, 50:70], array[3:40, 50:70])
    assert (
        "a.ome.tif: has 2 resolutions (64×96, 32×48): the finest is read, --level N" in messages()
    )
    coarse = read_image(path, level=1)
    np.testing.assert_array_equal(coarse, array[::2, ::2])
    assert coarse.attrs["pixel_size"] == pytest.approx({"y": 0.6, "x": 0.4})
    with pytest.raises(GvtzooError, match=r"no level 2, its levels are: 0 64×96, 1 32×48"):
        open_image(path, level=2)


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"metadata": None},
        {"compression": "zlib"},
        {"bigtiff": True},
        {"metadata": None, "rowsperstrip": 5},
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_big_endian_files_are_the_same_in_tiles(tmp_path, options, dtype):
    array = planes(dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=">", **options)
    image = open_image(tmp_path / "a.tif")
    part = (slice(1, 4), slice(2, 9), slice(3, 11))
    np.testing.assert_array_equal(image.array[part], array[part])
    np.testing.assert_array_equal(image.load(), array)


@pytest.mark.parametrize(
    ("lines", "dims", "warns"),
    [
        (["images=6", "slices=6"], "zyx", False),
        (["images=3", "slices=3"], "zyx", True),
        (["images=12", "slices=12"], "zyx", True),
        (["images=6", "channels=2", "slices=2", "hyperstack=true"], "zyx", True),
        (["images=6", "channels=2", "frames=3", "hyperstack=true"], "tcyx", False),
        ([], "zyx", False),
    ],
)
def test_all_planes_are_read_whatever_imagej_says(tmp_path, lines, dims, warns, messages):
    array = planes()
    write_imagej(tmp_path / "a.tif", array, lines)
    image = read_image(tmp_path / "a.tif", keep_channels=True)
    assert image.dims == tuple(dims)
    np.testing.assert_array_equal(image.to_numpy().reshape(array.shape), array)
    assert ("does not fit its 6 planes: all are read" in messages()) == warns


def test_planes_that_ome_xml_does_not_tell_of_are_named(tmp_path, messages):
    array = planes()
    write_ome(tmp_path / "a.ome.tif", array[:4], "")
    tifffile.imwrite(tmp_path / "a.ome.tif", array[4:], append="force", **PLAIN)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), array[:4])
    assert "2 of its 6 planes are in no image that it describes: not read" in messages()


def test_ome_xml_that_is_none_costs_the_calibration_only(tmp_path, messages):
    xml = OME.format(uuid=uuid(0), content='<Image Name="a & b"></Image>')
    tifffile.imwrite(tmp_path / "a.ome.tif", planes(), description=xml, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), planes())
    assert "its OME-XML is damaged: read as a plain TIFF" in messages()


def test_what_tifffile_says_is_passed_on_once(tmp_path, messages, caplog):
    xml = '<TiffData IFD="0" PlaneCount="{count}"/><TiffData FirstZ="99" IFD="0"/>'
    write_ome(tmp_path / "a.ome.tif", planes(), "", xml)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), planes())
    assert "a.ome.tif: OME series contains invalid TiffData index" in messages()
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(("beside", "dtype"), [("label", "u2"), ("Thumbnail 1", "u2"), ("x", "i4")])
def test_a_label_image_that_comes_first_is_not_taken_for_the_data(
    tmp_path, beside, dtype, messages
):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(planes(1, 5, 6)[0].astype(dtype), metadata={"axes": "YX", "Name": beside})
        writer.write(planes(), metadata={"axes": "ZYX", "Name": "data"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif"), planes())
    assert f"holds 2 images (0 '{beside}' 5×6, 1 'data' 6×12×16): 1 'data' is read" in messages()


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        *(("um", "micrometer"), ("micrometres", "micrometer"), ("\\u00B5m", "micrometer")),
        *(("nanometer", "nanometer"), ("millimeter", "millimeter"), ("inch", "inch")),
    ],
)
def test_units_of_imagej(tmp_path, unit, name):
    write_imagej(
        tmp_path / "a.tif", planes(), ["images=6", "slices=6", f"unit={unit}", "spacing=.5"]
    )
    image = read_image(tmp_path / "a.tif")
    assert image.attrs == {"pixel_size": {"z": 0.5, "y": 0.25, "x": 0.25}, "unit": name}


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        ("in", "inch"),
        ("Å", "angstrom"),
        ("nm", "nanometer"),
        ("pm", "picometer"),
        ("mm", "millimeter"),
    ],
)
def test_units_of_ome(tmp_path, unit, name):
    size = " ".join(f'PhysicalSize{axis}="2" PhysicalSize{axis}Unit="{unit}"' for axis in "XYZ")
    write_ome(tmp_path / "a.ome.tif", planes(), size)
    image = read_image(tmp_path / "a.ome.tif")
    assert image.attrs == {"pixel_size": {"z": 2, "y": 2, "x": 2}, "unit": name}
    for written in ("out.tif", "out.ome.tif", "out.zarr"):
        write_image(tmp_path / written, image)
        assert read_image(tmp_path / written).attrs["unit"] == name


@pytest.mark.parametrize("value", ["0,2", "", "NaN", "Infinity", "0", "-1", "unknown"])
def test_a_size_that_is_none_costs_a_warning(tmp_path, value, messages):
    sizes = f'PhysicalSizeX="{value}" PhysicalSizeY="0.2" PhysicalSizeZ="1.0"'
    write_ome(tmp_path / "a.ome.tif", planes(), sizes)
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image, planes())
    assert image.attrs["pixel_size"] == {"y": 0.2, "z": 1.0}
    assert f"PhysicalSizeX {value!r}: no number that can be used" in messages()


@pytest.mark.parametrize("value", ["0,5", "unknown", "nan", "0"])
def test_a_spacing_that_is_none_costs_a_warning(tmp_path, value, messages):
    lines = ["images=6", "slices=6", "unit=um", f"spacing={value}"]
    write_imagej(tmp_path / "a.tif", planes(), lines)
    image = read_image(tmp_path / "a.tif")
    assert image.attrs["pixel_size"] == {"y": 0.25, "x": 0.25}
    assert "a.tif: spacing " in messages()


def test_an_interval_that_is_none_costs_a_warning(tmp_path, messages):
    write_ome(tmp_path / "a.ome.tif", planes(), 'PhysicalSizeX="0.2" TimeIncrement="NaN"')
    assert read_image(tmp_path / "a.ome.tif").attrs["pixel_size"] == {"x": 0.2}
    assert "TimeIncrement 'NaN' s: no number that can be used, left out" in messages()


def test_labels_of_planes_are_no_names_of_channels(tmp_path):
    metadata = {
        "axes": "ZCYX",
        "Labels": [f"c:{c}/2 z:{z}/3 - a.czi" for z in (1, 2, 3) for c in (1, 2)],
    }
    array = planes().reshape(3, 2, 12, 16)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata=metadata)
    assert open_image(tmp_path / "a.tif", keep_channels=True).channels == []
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channel=1), array[:, 1])


def test_planes_that_were_saved_as_channels_can_be_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", planes(), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(GvtzooError, match="--channel 0 to 5, or, if they are planes, --axes ZYX"):
        read_image(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", axes="ZYX").dims == ("z", "y", "x")


def test_a_name_that_promises_ome_tiff_keeps_the_promise(tmp_path):
    image = xr.DataArray(
        planes().reshape(2, 3, 12, 16).astype(np.float64),
        dims=tuple("czyx"),
        coords={"c": ["DAPI", "GFP"]},
        attrs={"pixel_size": {"z": 0.5, "y": 0.1, "x": 0.1}, "unit": "micrometer"},
    )
    write_image(tmp_path / "a.ome.tif", image)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        assert tiff.series[0].dtype == np.float64
    found = read_image(tmp_path / "a.ome.tif", keep_channels=True).transpose(*image.dims)
    np.testing.assert_array_equal(found, image)
    assert found.coords["c"].values.tolist() == ["DAPI", "GFP"]
    assert found.attrs == image.attrs
    names = [
        with_ending(Path(name), "_sigma").name for name in ("a.ome.tif", "b.tif", "c.OME.TIFF")
    ]
    assert names == ["a_sigma.ome.tif", "b_sigma.tif", "c_sigma.OME.TIFF"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_values(tmp_path, dtype, messages):
    plane = planes(1)[0].astype(dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(plane))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), plane)
    colours = np.stack([plane, plane // 2, plane // 3], -1)
    (tmp_path / "b.PNG").write_bytes(imagecodecs.png_encode(colours))
    np.testing.assert_array_equal(read_image(tmp_path / "b.PNG", channel="green"), plane // 2)
    assert messages() == ""
    (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(np.dstack([colours, plane])))
    assert read_image(tmp_path / "c.png", keep_channels=True).shape == (12, 16, 3)
    assert "c.png: its transparency is left out" in messages()


def test_jpeg_is_read_with_a_warning(tmp_path, messages):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(smooth, level=99))
    assert np.abs(read_image(tmp_path / "a.jpg").to_numpy().astype(int) - smooth).max() <= 3
    assert "JPEG changes the values of pixels" in messages()


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_pictures_that_are_cut_off_are_refused(tmp_path, name, part):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    encode = imagecodecs.png_encode if name == "a.png" else imagecodecs.jpeg_encode
    content = encode(noise)
    (tmp_path / name).write_bytes(content[: int(part * len(content)) or 5])
    with pytest.raises(GvtzooError, match="cannot be read"):
        read_image(tmp_path / name)


def test_a_tiff_without_images_says_so(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\x00\x00\x00\x00\x00")
    with pytest.raises(GvtzooError, match=r"a\.tif cannot be read") as caught:
        read_image(tmp_path / "a.tif")
    assert "index out of range" not in str(caught.value)
