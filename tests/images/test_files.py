from __future__ import annotations

import logging

import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images import tiff_writing as tiff_module
from gvtzoo.images.files import find_images, read_image, write_image

files = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def random_array(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def stack(array, axes, **attributes):
    return xr.DataArray(array, dims=tuple(axes), attrs=attributes)


def one_line(path, **arguments):
    """The message with which reading is refused."""
    with pytest.raises(GvtzooError) as caught:
        read_image(path, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@st.composite
def stacks(draw):
    others = draw(st.lists(st.sampled_from("tcz"), unique=True))
    axes = draw(st.permutations([*others, "y", "x"]))
    shape = [draw(st.integers(1, 4)) for _ in axes]
    dtype = draw(st.sampled_from(["u1", "u2", ">u2", "f4", ">f4", "f8", "i2", "i4", "f2"]))
    sizes = st.floats(1e-2, 50)
    image = stack(
        random_array(shape, dtype, draw(st.integers(0, 99))),
        axes,
        pixel_size={axis: draw(sizes) for axis in axes if axis != "c" and draw(st.booleans())},
        unit=draw(st.sampled_from(["micrometer", "nanometer", "angstrom", "inch"])),
    )
    if image.sizes.get("c", 1) > 1:
        image = image.assign_coords(c=[f"dye {index}" for index in range(image.sizes["c"])])
    return image


def assert_same(found, image):
    image = image.transpose(*(axis for axis in "tzcyx" if axis in image.dims))
    assert found.dims == image.dims
    np.testing.assert_array_equal(found, image)
    assert found.attrs["pixel_size"] == pytest.approx(image.attrs["pixel_size"], rel=1e-6)
    if set(image.attrs["pixel_size"]) & set("zyx"):
        assert found.attrs["unit"] == image.attrs["unit"]
    if "c" in image.coords:
        assert found.coords["c"].values.tolist() == image.coords["c"].values.tolist()


@files
@given(stacks())
def test_tiff_keeps_values_axes_and_calibration(tmp_path, image):
    path = tmp_path / "image.tif"
    write_image(path, image, overwrite=True)
    found = read_image(path, keep_channels=True)
    assert_same(found, image)
    write_image(path, found, overwrite=True)
    assert_same(read_image(path, keep_channels=True), image)


@files
@given(stacks())
def test_beyond_classic_tiff_a_big_ome_tiff_keeps_them_too(tmp_path, image):
    image = image.squeeze([axis for axis in "tcz" if image.sizes.get(axis) == 1], drop=True)
    image.attrs["pixel_size"] = {
        axis: size for axis, size in image.attrs["pixel_size"].items() if axis in image.dims
    }
    image.attrs["unit"] = "micrometer"
    path = tmp_path / "image.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff_module, "LARGEST_CLASSIC_TIFF", 0)
        write_image(path, image, overwrite=True)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert tiff.is_ome
    assert_same(read_image(path, keep_channels=True), image)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("u1", "u1"),
        ("u2", "u2"),
        (">u2", "u2"),
        ("f4", "f4"),
        ("f8", "f4"),
        ("f2", "f4"),
        ("i2", "f4"),
        ("u4", "f4"),
        ("?", "u1"),
    ],
)
def test_tiff_stores_the_types_that_imagej_shows(tmp_path, dtype, stored):
    write_image(tmp_path / "a.tif", stack(np.eye(3).astype(dtype), "yx"))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.series[0].dtype == np.dtype(stored)
        np.testing.assert_array_equal(tiff.asarray(), np.eye(3))


@pytest.mark.parametrize(
    ("array", "axes", "message"),
    [
        (np.full((2, 2), 2**24 + 1), "yx", "value 16777217 does not fit"),
        (np.full((2, 2), -(2**40)), "yx", "value 1099511627776 does not fit"),
        (np.full((2, 2), 1e300), "yx", "values above 3.4e38"),
        (np.full((2, 2), 1j), "yx", "complex128"),
        (np.zeros((2, 2, 2)), "pyx", "no axis P"),
        (np.zeros((2, 2)), "zx", "y and x are needed"),
        (np.zeros((0, 2)), "yx", "empty"),
    ],
)
def test_what_tiff_cannot_hold_is_refused_and_leaves_nothing(tmp_path, array, axes, message):
    with pytest.raises(GvtzooError, match=message):
        write_image(tmp_path / "a.tif", stack(array, axes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.NPZ", "a.NPY"])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "i8", "f8"])
def test_numpy_files_keep_values_and_type(tmp_path, name, dtype):
    image = stack(random_array((2, 3, 4), dtype), "zyx")
    write_image(tmp_path / name, image)
    found = read_image(tmp_path / name)
    np.testing.assert_array_equal(found, image)
    assert found.dims == ("z", "y", "x")
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert found.attrs == {"pixel_size": {}, "unit": ""}


def test_the_array_of_an_npz_is_the_only_one_or_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, anything=np.ones((2, 3)))
    assert read_image(path).shape == (2, 3)
    np.savez(path, other=np.ones((9, 9)), source=np.ones((2, 4)))
    assert read_image(path).shape == (2, 4)
    np.savez(path, one=np.ones((2, 3)), two=np.ones((2, 3)))
    assert "2 arrays (one, two)" in one_line(path)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
def test_plain_tiffs_of_every_kind_are_read(tmp_path, byteorder, compression, dtype):
    array = random_array((7, 5, 6), dtype)
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, array, byteorder=byteorder, compression=compression)
    image = read_image(path)
    np.testing.assert_array_equal(image, array)
    assert image.dims == ("z", "y", "x")
    assert image.dtype == np.dtype(dtype)


@pytest.mark.parametrize("axes", ["TZYX", "YXZ", "CZYX", "XYT", "YX"])
def test_the_files_order_of_axes_is_kept(tmp_path, axes):
    array = random_array(range(3, 3 + len(axes)), "u2")
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": axes})
    image = read_image(tmp_path / "a.tif", keep_channels=True)
    assert image.dims == tuple(axes.lower())
    np.testing.assert_array_equal(image, array)


def test_pages_without_metadata_are_z(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", random_array((7, 5, 6), "u2"), metadata=None)
    assert read_image(tmp_path / "a.tif").dims == ("z", "y", "x")


def test_colours_are_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", random_array((5, 6, 3), "u1"), photometric="rgb")
    assert read_image(tmp_path / "a.tif", keep_channels=True).dims == ("y", "x", "c")
    assert "3 channels" in one_line(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", channel=1).dims == ("y", "x")


def test_unknown_axes_have_to_be_named(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random_array((2, 7, 5, 6), "u2"))
    assert "(2, 7, 5, 6), and calls them QQYX" in one_line(path)
    assert read_image(path, axes="TZYX").dims == ("t", "z", "y", "x")
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 5, 6)))
    assert "does not name them" in one_line(tmp_path / "a.npy")


def test_axes_that_no_image_here_has_are_not_taken_for_z(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", random_array((3, 5, 6), "u2"), metadata={"axes": "HYX"})
    assert "calls them HYX" in one_line(tmp_path / "a.tif")


def test_given_axes_replace_the_files(tmp_path):
    path = tmp_path / "a.tif"
    write_image(path, stack(random_array((3, 5, 6), "u2"), "zyx", pixel_size={"z": 2.0}, unit="um"))
    image = read_image(path, axes="tyx")
    assert image.dims == ("t", "y", "x")
    assert image.attrs["pixel_size"] == {}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("YX", "has 3 axes of sizes (3, 5, 6), --axes YX names 2"),
        ("QYX", "--axes QYX: use each of TPCZYX at most once"),
        ("YYX", "--axes YYX: use each of TPCZYX at most once"),
        ("TZX", "--axes TZX: an image has at least Y and X"),
    ],
)
def test_axes_that_do_not_fit_are_refused(tmp_path, axes, message):
    np.save(tmp_path / "a.npy", np.zeros((3, 5, 6)))
    assert message in one_line(tmp_path / "a.npy", axes=axes)


@pytest.fixture
def two_channels(tmp_path):
    path = tmp_path / "two.tif"
    image = stack(random_array((3, 2, 5, 6), "u2"), "zcyx").assign_coords(c=["DAPI", "GFP"])
    write_image(path, image)
    return path, image.to_numpy()


@pytest.mark.parametrize(("channel", "index"), [(0, 0), (1, 1), ("1", 1), ("DAPI", 0), ("GFP", 1)])
def test_a_channel_is_chosen_by_number_or_name(two_channels, channel, index):
    path, array = two_channels
    image = read_image(path, channel=channel)
    assert image.dims == ("z", "y", "x")
    assert "c" not in image.coords
    np.testing.assert_array_equal(image, array[:, index])


def test_of_several_channels_one_has_to_be_chosen(two_channels):
    path, _ = two_channels
    assert one_line(path) == (
        "two.tif has 2 channels (DAPI, GFP): choose one with --channel 0 or --channel 1"
    )
    for channel in (2, -1, "RFP"):
        assert f"two.tif has no channel {channel}, it has 2" in one_line(path, channel=channel)


def test_all_channels_are_kept_where_asked(two_channels):
    path, array = two_channels
    image = read_image(path, keep_channels=True)
    np.testing.assert_array_equal(image, array)
    assert image.coords["c"].values.tolist() == ["DAPI", "GFP"]


def test_a_single_channel_needs_no_choice(tmp_path):
    write_image(tmp_path / "a.tif", stack(random_array((1, 5, 6), "u2"), "cyx"))
    assert read_image(tmp_path / "a.tif").dims == ("y", "x")
    np.save(tmp_path / "a.npy", np.ones((5, 6)))
    assert read_image(tmp_path / "a.npy", channel=0).dims == ("y", "x")
    assert "single channel, there is no channel 3" in one_line(tmp_path / "a.npy", channel=3)


def test_names_that_are_the_same_are_no_channel_names(tmp_path):
    image = stack(random_array((2, 5, 6), "u2"), "cyx").assign_coords(c=["a", "a"])
    write_image(tmp_path / "a.tif", image)
    assert "c" not in read_image(tmp_path / "a.tif", keep_channels=True).coords


def test_imagej_calibration(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        random_array((2, 3, 5, 6), "u2"),
        imagej=True,
        resolution=(4, 2),
        metadata={
            "axes": "TZYX",
            "unit": "\\u00B5m",
            "spacing": -0.5,
            "finterval": 250.0,
            "tunit": "ms",
        },
    )
    image = read_image(tmp_path / "a.tif")
    assert image.attrs["pixel_size"] == {"t": 0.25, "z": 0.5, "y": 0.5, "x": 0.25}
    assert image.attrs["unit"] == "micrometer"


def test_resolution_without_imagej(tmp_path):
    array = random_array((5, 6), "u2")
    tifffile.imwrite(
        tmp_path / "a.tif", array, resolution=(50000, 20000), resolutionunit="CENTIMETER"
    )
    image = read_image(tmp_path / "a.tif")
    assert image.attrs["pixel_size"] == pytest.approx({"y": 0.5, "x": 0.2})
    assert image.attrs["unit"] == "micrometer"


def test_the_resolution_of_a_print_is_no_pixel_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", random_array((5, 6), "u2"), resolution=(300, 300), resolutionunit="INCH"
    )
    assert read_image(tmp_path / "a.tif").attrs == {"pixel_size": {}, "unit": ""}


def test_uncalibrated_imagej_images_have_no_pixel_size(tmp_path):
    write_image(tmp_path / "a.tif", stack(random_array((5, 6), "u2"), "yx"))
    assert read_image(tmp_path / "a.tif").attrs == {"pixel_size": {}, "unit": ""}


def test_ome_calibration_and_channels(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        random_array((2, 3, 5, 6), "u2"),
        metadata={
            "axes": "CZYX",
            "PhysicalSizeX": 65.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.065,
            "PhysicalSizeZ": 0.3,
            "PhysicalSizeZUnit": "µm",
            "Channel": {"Name": ["DAPI", "GFP"]},
        },
    )
    image = read_image(tmp_path / "a.ome.tif", keep_channels=True)
    assert image.dims == ("c", "z", "y", "x")
    assert image.attrs["pixel_size"] == pytest.approx({"z": 0.3, "y": 0.065, "x": 0.065})
    assert image.attrs["unit"] == "micrometer"
    assert image.coords["c"].values.tolist() == ["DAPI", "GFP"]


def test_of_several_images_the_first_is_read_or_the_one_that_is_named(tmp_path, caplog):
    first, second = random_array((3, 5, 6), "u2"), random_array((2, 7, 8), "u2")
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(first, metadata={"axes": "ZYX", "Name": "one", "PhysicalSizeZ": 1.0})
        writer.write(second, metadata={"axes": "ZYX", "Name": "two", "PhysicalSizeZ": 2.0})
    with caplog.at_level(logging.WARNING):
        image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image, first)
    assert caplog.messages == [
        "a.ome.tif: holds 2 images (0 'one' 3×5×6, 1 'two' 2×7×8): 0 'one' is read, --series N "
        "takes another"
    ]
    caplog.clear()
    for wanted in (1, "1", "two"):
        image = read_image(tmp_path / "a.ome.tif", series=wanted)
        np.testing.assert_array_equal(image, second)
        assert image.attrs["pixel_size"] == {"z": 2.0}
    assert not caplog.messages
    for wanted in (2, -1, "three"):
        message = one_line(tmp_path / "a.ome.tif", series=wanted)
        assert f"there is no series {wanted}, it holds 2 images: 0 'one' 3×5×6" in message


KINDS = {
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "plain": {},
    "without metadata": {"metadata": None},
    "compressed": {"compression": "zlib"},
    "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
    "big endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
    "tiled": {"tile": (16, 16), "compression": "lzw"},
}


@files
@pytest.mark.parametrize("kind", KINDS)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_truncated_tiff_is_never_read_as_something_else(tmp_path, kind, part):
    path, array = tmp_path / "a.tif", random_array((6, 20, 21), "u2")
    tifffile.imwrite(path, array, **KINDS[kind])
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    try:
        image = read_image(path)
    except GvtzooError as error:
        assert "\n" not in str(error)
    else:
        np.testing.assert_array_equal(image, array)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiff_cut_in_the_middle_is_refused(tmp_path, kind, caplog):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random_array((6, 20, 21), "u2"), **KINDS[kind])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = one_line(path)
    assert "truncated" in message or "damaged" in message
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".npz"])
@pytest.mark.parametrize(
    "content", [b"no image at all", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"II*\x00"]
)
def test_what_is_no_image_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert "damaged" in one_line(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_truncated_numpy_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, stack(np.random.default_rng(0).random((20, 20)), "yx"))
    path.write_bytes(path.read_bytes()[:-50])
    assert "damaged" in one_line(path)


def test_python_objects_are_not_loaded(tmp_path):
    array = np.array([{}, []], dtype=object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", image=array)
    for name in ("a.npy", "a.npz"):
        assert "Python objects" in one_line(tmp_path / name)


def test_what_is_not_there_or_not_readable_is_refused(tmp_path):
    assert "there is no file" in one_line(tmp_path / "a.tif")
    assert "is a folder" in one_line(tmp_path)
    (tmp_path / "a.bmp").write_bytes(b"x")
    assert ".zarr, .ozx, .zarr.zip, .png, .jpg, .jpeg, .czi, .nd2, .lif are" in one_line(
        tmp_path / "a.bmp"
    )
    (tmp_path / "a.tif").touch()
    assert "is an empty file" in one_line(tmp_path / "a.tif")


def test_text_and_lines_are_no_images(tmp_path):
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    assert "not numbers" in one_line(tmp_path / "text.npy")
    np.save(tmp_path / "line.npy", np.arange(5))
    assert "at least two axes" in one_line(tmp_path / "line.npy")


def test_nothing_is_overwritten_without_being_asked(tmp_path):
    path = tmp_path / "a.tif"
    write_image(path, stack(np.zeros((2, 3), np.uint8), "yx"))
    with pytest.raises(GvtzooError, match="exists: choose another name or pass --overwrite"):
        write_image(path, stack(np.ones((2, 3), np.uint8), "yx"))
    assert not read_image(path).any()
    write_image(path, stack(np.ones((2, 3), np.uint8), "yx"), overwrite=True)
    assert read_image(path).all()
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folders_are_made_and_unknown_suffixes_refused(tmp_path):
    image = stack(np.zeros((2, 3), np.uint8), "yx")
    write_image(tmp_path / "new" / "folder" / "a.tif", image)
    assert (tmp_path / "new" / "folder" / "a.tif").is_file()
    with pytest.raises(GvtzooError, match=r"\.jpg is not a format that can be written"):
        write_image(tmp_path / "a.jpg", image)
    with pytest.raises(GvtzooError, match="cannot be written"):
        write_image(tmp_path / "new" / "folder" / "a.tif" / "b.tif", image)


def test_a_folders_images_are_sorted_by_name(tmp_path):
    for name in ("b.tif", "a.NPY", "c.txt", ".hidden.tif"):
        (tmp_path / name).touch()
    (tmp_path / "folder.tif").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["a.NPY", "b.tif"]
    assert find_images(tmp_path / "c.txt") == [tmp_path / "c.txt"]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(GvtzooError, match="holds no images"):
        find_images(tmp_path)
    with pytest.raises(GvtzooError, match="no file or folder"):
        find_images(tmp_path / "nowhere")
