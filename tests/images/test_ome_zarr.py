"""OME-Zarr of both versions: what is written is valid, and read as it was written."""

from __future__ import annotations

import json
import logging
import pickle

import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import find_images, open_image, read_image, write_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.ome_zarr import open_ome_zarr, written_version
from gvtzoo.images.ome_zarr_metadata import ORDER
from gvtzoo.images.ome_zarr_writer import (
    add_pyramid,
    chunk_along,
    create_ome_zarr,
    suited_chunks,
)

VERSIONS = ("0.4", "0.5")
VALIDATORS = {"0.4": ome_zarr_models.v04.Image, "0.5": ome_zarr_models.v05.Image}
CALIBRATION = {"z": 0.5, "y": 0.2, "x": 0.2}


def image_of(shape=(2, 12, 20, 18), dims="czyx", dtype="f4") -> LazyImage:
    array = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    names = ["nuclei", "actin"] if "c" in dims else []
    size = {axis: s for axis, s in CALIBRATION.items() if axis in dims}
    return LazyImage(array, tuple(dims), "a", size, "micrometer", names)


def write(path, image, version="0.5", chunk=8):
    chunks = [min(size, chunk) for size in image.array.shape]
    create_ome_zarr(path, image, chunks=chunks, version=version)[...] = image.array
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dims", ["czyx", "zyx", "yx", "tczyx", "tyx"])
def test_round_trip(tmp_path, version, dims):
    sizes = {"t": 2, "c": 2, "z": 5, "y": 20, "x": 18}
    image = image_of([sizes[axis] for axis in dims], dims)
    path = write(tmp_path / "a.zarr", image, version)
    found = open_ome_zarr(path)
    assert written_version(path) == version
    assert (found.dims, found.pixel_size, found.unit) == (image.dims, image.pixel_size, image.unit)
    assert found.channels == image.channels
    np.testing.assert_array_equal(found.load(), image.array)
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
    VALIDATORS[version].from_zarr(group)


@pytest.mark.parametrize("version", VERSIONS)
def test_pyramid(tmp_path, version):
    image = image_of((7, 600, 1030), "zyx")
    path = write(tmp_path / "a.zarr", image, version, chunk=256)
    add_pyramid(path, image)
    group = zarr.open_group(path, mode="r")
    validated = VALIDATORS[version].from_zarr(group)
    datasets = validated.ome_attributes.multiscales[0].datasets
    assert [group[dataset.path].shape for dataset in datasets] == [
        (7, 600, 1030),
        (7, 300, 515),
        (3, 150, 257),  # voxels are 0.5×0.4×0.4 by then
        (1, 75, 128),
    ]
    fine, coarse = image.array, group["1"][...]
    np.testing.assert_allclose(coarse[2, 3, 4], fine[2, 6:8, 8:10].mean())
    scale, shift = datasets[2].coordinateTransformations
    assert np.allclose(scale.scale, [1.0, 0.8, 0.8])
    assert np.allclose(shift.translation, [0.25, 0.3, 0.3])
    np.testing.assert_array_equal(read_image(path), fine)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4"])
def test_coarser_integers_are_rounded(tmp_path, dtype):
    """Truncated, every level would be darker by half a count than the finer one."""
    image = image_of((300, 258), "yx", dtype)
    path = write(tmp_path / "a.zarr", image, chunk=256)
    add_pyramid(path, image)
    means = image.array.astype(float).reshape(150, 2, 129, 2).mean((1, 3))
    expected = means if dtype == "f4" else np.rint(means)
    np.testing.assert_array_equal(zarr.open_group(path, mode="r")["1"][...], expected)


def test_time_and_units(tmp_path):
    path = write(tmp_path / "a.zarr", image_of((2, 8, 8), "tyx"), "0.4")
    attributes = json.loads((path / ".zattrs").read_text())
    multiscale = attributes["multiscales"][0]
    multiscale["axes"][0]["unit"] = "millisecond"
    multiscale["axes"][1]["unit"] = multiscale["axes"][2]["unit"] = "nanometer"
    multiscale["datasets"][0]["coordinateTransformations"][0]["scale"] = [500, 100, 100]
    # What holds for all resolutions multiplies.
    multiscale["coordinateTransformations"] = [{"type": "scale", "scale": [1, 2, 2]}]
    (path / ".zattrs").write_text(json.dumps(attributes))
    found = open_ome_zarr(path)
    assert found.pixel_size == {"t": 0.5, "y": 200, "x": 200}
    assert found.unit == "nanometer"


def test_only_the_parts_that_are_asked_for_are_read(tmp_path):
    path = write(tmp_path / "a.zarr", image_of((16, 16, 16), "zyx"))
    (path / "0" / "c" / "1" / "1" / "1").write_bytes(b"damaged")
    image = pickle.loads(pickle.dumps(open_image(path)))
    assert image.array[(slice(0, 8), slice(0, 16), slice(0, 8))].shape == (8, 16, 8)
    with pytest.raises(GvtzooError, match=r"a.zarr: the voxels \[8:9, 8:9, 8:9\] cannot be read"):
        image.array[(slice(8, 9),) * 3]


def test_missing_chunks_are_told(tmp_path, caplog):
    path = write(tmp_path / "a.zarr", image_of((16, 16, 16), "zyx"))
    (path / "0" / "c" / "1" / "1" / "1").unlink()
    with caplog.at_level(logging.WARNING):
        assert (read_image(path)[8:, 8:, 8:] == 0).all()
    assert "a.zarr: 1 of its 8 chunks are missing, and read as 0" in caplog.text


def test_a_channel_is_chosen_by_name(tmp_path):
    image = image_of()
    path = write(tmp_path / "a.zarr", image)
    np.testing.assert_array_equal(read_image(path, channel="actin"), image.array[1])
    with pytest.raises(GvtzooError, match=r"2 channels \(nuclei, actin\)"):
        open_image(path)


def test_images_in_a_folder(tmp_path):
    image = image_of()
    nested = tmp_path / "many.zarr"
    zarr.create_group(nested)
    write(nested / "0", image)
    with pytest.raises(GvtzooError, match="name one of the images in it, such as 0"):
        read_image(nested)
    assert read_image(nested / "0", channel=0).shape == image.array.shape[1:]
    write(tmp_path / "single.zarr", image)
    assert [path.name for path in find_images(tmp_path)] == ["many.zarr", "single.zarr"]


def test_write_image(tmp_path):
    array = np.arange(60, dtype="u2").reshape(3, 4, 5)
    attributes = {"pixel_size": CALIBRATION, "unit": "micrometer"}
    image = xr.DataArray(array, dims=("x", "z", "y"), attrs=attributes)
    path = tmp_path / "a.zarr"
    write_image(path, image)
    found = read_image(path)
    assert found.dims == ("z", "y", "x")
    assert found.attrs == attributes
    np.testing.assert_array_equal(found, image.transpose("z", "y", "x"))
    with pytest.raises(GvtzooError, match="exists"):
        write_image(path, image)
    write_image(path, image + 1, overwrite=True)
    np.testing.assert_array_equal(read_image(path), image.transpose("z", "y", "x") + 1)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr"]


DAMAGES = {
    "no folder": (lambda path: None, "no file or folder"),
    "no image": (lambda path: zarr.create_group(path), "no OME-Zarr image"),
    "a plate": (
        lambda path: zarr.create_group(path, attributes={"ome": {"plate": {}, "version": "0.5"}}),
        "its plate or well cannot be read",
    ),
    "bare array": (lambda path: zarr.create_array(path, shape=(4, 4), dtype="f4"), "bare Zarr"),
    "old": (
        lambda path: zarr.create_group(
            path, attributes={"multiscales": [{"version": "0.1", "datasets": [{"path": "0"}]}]}
        ),
        "version 0.1; 0.4, 0.5 and 0.6 can be",
    ),
    "no array": (
        lambda path: zarr.create_group(path, attributes=multiscales("0", "yx")),
        "lacks its array 0",
    ),
    "outside": (
        lambda path: zarr.create_group(path, attributes=multiscales("../b", "yx")),
        "outside of it, ../b",
    ),
    "axes": (lambda path: of_shape(path, (4, 4), "zyx"), "axes ZYX and an array of shape"),
    "other axes": (lambda path: of_shape(path, (4, 4), "qx"), "one out of TCZYX"),
    "no plane": (lambda path: of_shape(path, (4,), "x"), "at least Y and X"),
    "text": (lambda path: of_shape(path, (4, 4), "yx", "U4"), "not numbers"),
    "huge chunks": (lambda path: of_shape(path, (10**6, 10**6), "yx"), "larger than can be read"),
    "json": (lambda path: (path.mkdir(), (path / "zarr.json").write_text("{")), "a damaged one"),
}


def multiscales(array, axes):
    named = [{"name": axis, "type": "space"} for axis in axes]
    return {
        "ome": {"version": "0.5", "multiscales": [{"axes": named, "datasets": [{"path": array}]}]}
    }


def of_shape(path, shape, axes, dtype="f4"):
    group = zarr.create_group(path, attributes=multiscales("0", axes))
    group.create_array("0", shape=shape, chunks=shape, dtype=dtype)


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_what_is_no_image_is_refused_in_one_line(tmp_path, kind):
    make, message = DAMAGES[kind]
    path = tmp_path / "a.zarr"
    make(path)
    with pytest.raises(GvtzooError) as caught:
        read_image(path)
    assert message in str(caught.value)
    assert "a.zarr" in str(caught.value)


@given(
    dims=st.sampled_from(["zyx", "tczyx", "yx", "cyx"]),
    shape=st.tuples(*[st.integers(1, 3000)] * 5),
    tile=st.tuples(*[st.integers(1, 90)] * 3),
)
@settings(max_examples=50)
def test_tiles_share_no_chunk(dims, shape, tile):
    sizes = [size for axis, size in zip(ORDER, shape, strict=True) if axis in dims]
    spatial = [4 * t for t in tile[-2 - ("z" in dims) :]]
    chunks = suited_chunks(dims, sizes, spatial)
    tiles = dict(zip("zyx"[-len(spatial) :], spatial, strict=True))
    for axis, chunk, size in zip(dims, chunks, sizes, strict=True):
        assert 1 <= chunk <= size
        if axis in tiles:
            assert tiles[axis] >= size or tiles[axis] % chunk == 0


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([16, 32, 128, 512]))
def test_chunks_are_no_slivers(size, tile, wanted):
    chunk = chunk_along(size, tile, wanted)
    assert chunk >= min(size, tile, wanted / 4), "a file for each voxel"
    assert tile >= size or tile % chunk == 0, "tiles share none"


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return self.mark.touch, ()


PICKLE, SHUFFLE = {"id": "pickle"}, {"id": "shuffle", "elementsize": 2}


@pytest.mark.parametrize(
    ("dtype", "filters", "compressor"),
    [
        ("<u2", [PICKLE], None),
        ("<u2", [PICKLE, SHUFFLE], None),
        ("<u2", [SHUFFLE, PICKLE], None),
        ("<u2", [SHUFFLE], PICKLE),
        ("<u2", None, PICKLE),
        ("|O", [PICKLE], None),
        ("|O", [{"id": "vlen-utf8"}, PICKLE], None),
    ],
)
def test_no_code_runs_that_chunks_hold(tmp_path, dtype, filters, compressor):
    """Zarr's second format knows pickles as a filter."""
    mark = tmp_path / "ran"
    path = write(tmp_path / "a.zarr", image_of((8, 8), "yx"), "0.4")
    header = path / "0" / ".zarray"
    changed = {"dtype": dtype, "filters": filters, "compressor": compressor, "chunks": [8, 8]}
    header.write_text(json.dumps(json.loads(header.read_text()) | changed))
    for chunk in (path / "0").rglob("*"):
        if chunk.is_file() and chunk != header:
            chunk.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(GvtzooError):
        read_image(path)
    assert not mark.exists()
