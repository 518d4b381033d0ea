"""Layers to images and back, without a window."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from napari_layers import PlainLayer

from gvtzoo.core.errors import GvtzooError
from gvtzoo.napari.layers import (
    guess_axes,
    image_of,
    is_lazy,
    layer_of,
    lazily,
    visible_region,
)


@pytest.mark.parametrize(("count", "axes"), [(2, "yx"), (3, "zyx"), (4, "tzyx"), (5, "tczyx")])
def test_axes_are_guessed_by_their_number(count, axes):
    assert guess_axes(PlainLayer(np.zeros((2,) * count))) == axes


def test_names_of_the_layer_come_first():
    layer = PlainLayer(np.zeros((2, 3, 4)), axis_labels=("t", "y", "x"))
    assert guess_axes(layer) == "tyx"
    assert guess_axes(PlainLayer(np.zeros((2, 3, 4)), axis_labels=("-3", "-2", "-1"))) == "zyx"


def test_scale_and_unit_become_the_voxel_size(stack):
    layer = PlainLayer(stack, scale=[2.0, 0.5, 0.5], units=("micrometer",) * 3)
    image = image_of(layer)
    assert image.pixel_size == {"z": 2.0, "y": 0.5, "x": 0.5}
    assert image.unit == "micrometer"


def test_a_layer_without_scale_has_no_voxel_size(stack):
    image = image_of(PlainLayer(stack, units=("pixel",) * 3))
    assert (image.pixel_size, image.unit) == ({}, "")


def test_a_scale_without_unit_is_micrometers(stack):
    image = image_of(PlainLayer(stack, scale=[2.0, 0.5, 0.5], units=("pixel",) * 3))
    assert image.unit == "micrometer"


def test_a_channel_is_taken_and_others_are_refused():
    layer = PlainLayer(np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5))
    assert (
        image_of(layer, "czyx", 1).load().equals(xr.DataArray(layer.data[1], dims=("z", "y", "x")))
    )
    with pytest.raises(GvtzooError, match="2 channels"):
        image_of(layer, "czyx", 2)


@pytest.mark.parametrize("axes", ["zy", "zzyx", "abc", "zyt"])
def test_axes_that_cannot_be_are_refused(stack, axes):
    with pytest.raises(GvtzooError):
        image_of(PlainLayer(stack), axes)


def test_colour_images_are_refused():
    with pytest.raises(GvtzooError, match="colour"):
        image_of(PlainLayer(np.zeros((4, 4, 3)), rgb=True))


class Counting:
    """An array on disk that counts the voxels that are read of it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.read = values, 0
        self.shape, self.dtype = values.shape, values.dtype
        self.ndim = values.ndim

    def __getitem__(self, box):
        found = self.values[box]
        self.read += found.size
        return found


def test_of_a_lazy_layer_only_the_part_is_read():
    counting = Counting(np.arange(4 * 8 * 64 * 64.0).reshape(4, 8, 64, 64))
    image = image_of(PlainLayer(counting))
    assert is_lazy(image)
    region = {"t": slice(2, 3), "z": slice(0, 8), "y": slice(8, 24), "x": slice(16, 32)}
    part = image.crop(region).load()
    assert counting.read == 8 * 16 * 16
    np.testing.assert_array_equal(part, counting.values[2:3, :, 8:24, 16:32])


@pytest.mark.parametrize("kind", ["dask", "zarr", "multiscale"])
def test_dask_zarr_and_pyramids_are_lazy(kind, stack, tmp_path):
    if kind == "zarr":
        data = zarr.create_array(tmp_path / "a.zarr", data=stack, chunks=(4, 8, 8))
    else:
        data = dask.array.from_array(stack, chunks=(4, 8, 8))
    multiscale = kind == "multiscale"
    layer = PlainLayer([data, data[:, ::2, ::2]] if multiscale else data, multiscale=multiscale)
    image = image_of(layer)
    assert is_lazy(image)
    assert is_lazy(image.add_axis("t", 0).take("t", 0))
    assert image.array.chunks == (4, 8, 8)
    np.testing.assert_array_equal(image.load(), stack)
    np.testing.assert_array_equal(lazily(image).compute(), stack)


@given(
    sizes=st.tuples(*(st.integers(1, 600),) * 4),
    corners=st.lists(st.integers(-50, 700), min_size=8, max_size=8),
    step=st.tuples(*(st.integers(-5, 700),) * 4),
)
def test_a_preview_is_inside_the_image_and_small(sizes, corners, step):
    layer = PlainLayer(np.broadcast_to(np.float32(0), sizes))
    region = visible_region(
        image_of(layer),
        np.reshape(corners, (2, 4)),
        step,
        (2, 3),
        spatial=("z", "y", "x"),
    )
    for (axis, part), size in zip(region.items(), sizes, strict=True):
        assert 0 <= part.start < part.stop <= size
        assert part.stop - part.start <= {"t": 1, "z": 16}.get(axis, 256)


def test_a_projection_needs_all_planes():
    image = image_of(PlainLayer(np.zeros((40, 32, 32))))
    corners = np.array([[0, 0, 0], [0, 31, 31]])
    region = visible_region(
        image, corners, (3, 0, 0), (1, 2), spatial=("z", "y", "x"), whole=("z",)
    )
    assert region["z"] == slice(0, 40)


def test_a_prediction_lies_where_its_source_lies():
    layer = PlainLayer(
        np.zeros((2, 8, 16, 16)),
        scale=[1, 2, 0.5, 0.5],
        translate=[0, 10, 0, 5],
        units=("second", "micrometer", "micrometer", "micrometer"),
    )
    surface = xr.DataArray(np.zeros((1, 4, 4), np.float32), dims=("t", "y", "x"))
    region = {"t": slice(1, 2), "z": slice(0, 8), "y": slice(4, 8), "x": slice(8, 12)}
    _, settings = layer_of(surface, "surface", layer, "tzyx", region)
    assert settings["scale"] == [1, 0.5, 0.5]
    assert settings["translate"] == [1, 2, 9]
    assert settings["units"] == ["second", "micrometer", "micrometer"]
    assert settings["axis_labels"] == ("t", "y", "x")
