"""Reader, writer and samples: axes, voxel size and unit go in and out."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from gvtzoo.images.files import read_image, write_image
from gvtzoo.napari import samples
from gvtzoo.napari.files import get_reader, write_layer


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_layer_that_is_saved_opens_as_it_was(suffix, tmp_path):
    values = np.random.default_rng(0).random((3, 4, 8, 9), np.float32)
    settings = {
        "name": "movie",
        "scale": [1.0, 2.0, 0.5, 0.5],
        "units": ["pixel", "micrometer", "micrometer", "micrometer"],
        "axis_labels": ("t", "z", "y", "x"),
    }
    path = str(tmp_path / f"movie{suffix}")
    assert write_layer(path, values, settings) == [path]
    reader = get_reader(path)
    ((data, found, kind),) = reader(path)
    np.testing.assert_array_equal(np.asarray(data), values)
    assert kind == "image"
    assert found["scale"] == pytest.approx(settings["scale"])
    assert [str(unit) for unit in found["units"]] == settings["units"]
    assert tuple(found["axis_labels"]) == settings["axis_labels"]


def test_a_layer_without_names_and_scale(tmp_path):
    write_layer(str(tmp_path / "a.tif"), np.zeros((4, 8, 8), np.uint16), {"scale": [1, 1, 1]})
    image = read_image(tmp_path / "a.tif")
    assert image.dims == ("z", "y", "x")
    assert image.attrs["pixel_size"] == {}


def test_what_is_no_image_is_left_to_others(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    assert get_reader(str(tmp_path / "notes.txt")) is None
    assert get_reader(str(tmp_path)) is None


def test_a_folder_opens_all_its_images(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.tif", xr.DataArray(np.ones((4, 5)), dims=("y", "x")))
    assert len(get_reader(str(tmp_path))(str(tmp_path))) == 2


@pytest.mark.parametrize("name", ["noisy_nuclei", "exposures", "phase", "notum"])
def test_samples_are_images(name):
    layers = getattr(samples, name)()
    for data, settings, kind in layers:
        assert kind == "image"
        assert np.asarray(data).std() > 0
        assert len(settings["scale"]) == np.asarray(data).ndim
