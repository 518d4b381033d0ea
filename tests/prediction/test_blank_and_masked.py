"""Blank frames, masks around images, planes as channels, and names of axes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tifffile
import torch
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import open_image, read_image
from gvtzoo.images.normalization import NormalizationConfig, PercentileNormalization
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.exact.out_of_core import Output, identity_of, predict_large
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import Settings
from gvtzoo.recipes.metadata import default_metadata


def make_model(**network) -> Model:
    torch.manual_seed(0)
    small = {"dimensions": 2, "depth": 2, "features": 4, "encoder_blocks": (1, 0)}
    steps = {"downsampling": ("convolution",), "upsampling": ("gvto_v2",), "decoder_blocks": (1,)}
    config = PackageConfig(
        task="denoising",
        network=NetworkConfig(**{**small, **steps, "batch_norm": False, **network}),
        normalization=NormalizationConfig(source=PercentileNormalization(), undo=True),
        metadata=default_metadata("small", "denoising"),
    )
    return Model(config.network.build(), config)


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model(uncertainty=True)


@pytest.fixture
def movie() -> np.ndarray:
    image = np.random.default_rng(0).integers(100, 4000, (4, 16, 24)).astype(np.uint16)
    image[2] = 7
    return image


def test_a_blank_frame_stays_blank_and_is_named(model, movie, caplog):
    caplog.set_level(logging.WARNING)
    prediction, sigma = model.predict(movie, "TYX", uncertainty=True)
    assert (prediction[2] == 7).all()
    assert (sigma[2] == 0).all()
    for number in (0, 1, 3):
        np.testing.assert_array_equal(prediction[number], model.predict(movie[number], "YX"))
    assert caplog.messages == ["1 of 4 frames are blank, and left blank: t=2"]


def test_blank_frames_of_several_axes_are_named(model, movie, caplog):
    caplog.set_level(logging.WARNING)
    model.predict(np.stack([movie, movie]), "TZYX")
    assert caplog.messages == ["2 of 8 frames are blank, and left blank: t=0 z=2, t=1 z=2"]


@pytest.mark.parametrize("shape", [(16, 16), (3, 16, 16)])
def test_an_image_that_is_constant_altogether_is_refused(model, shape):
    with pytest.raises(GvtzooError, match=r"constant.*there is nothing to see in it"):
        model.predict(np.full(shape, 7), "TYX"[-len(shape) :])


def test_it_is_the_same_from_file_to_file(model, movie, tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", movie, imagej=True, metadata={"axes": "TYX"})
    image, output = open_image(tmp_path / "a.tif"), Output(tmp_path / "b.tif")
    with caplog.at_level(logging.WARNING):
        predict_large(model, image, output, Settings(), identity=identity_of(tmp_path / "a.tif"))
    assert "1 of 4 frames are blank, and left blank: t=2" in caplog.messages
    expected = model.predict(movie, "TYX")
    np.testing.assert_allclose(read_image(tmp_path / "b.tif"), expected, atol=1e-2)


def test_a_blank_file_leaves_nothing_behind(model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 16, 16), "u1"), metadata={"axes": "TYX"})
    image, output = open_image(tmp_path / "a.tif"), Output(tmp_path / "b.tif")
    with pytest.raises(GvtzooError, match="the image is constant"):
        predict_large(model, image, output, Settings(), identity="a")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["a.tif"]


def test_where_an_image_is_nan_so_is_its_prediction(model, movie, caplog):
    caplog.set_level(logging.WARNING)
    image = movie[0].astype(np.float32)
    image[:, 20:] = np.nan
    prediction = model.predict(image, "YX")
    assert np.array_equal(np.isnan(prediction), np.isnan(image))
    assert caplog.messages == [
        "17 % of the image are a mask around it (0 or NaN): left out of its statistics"
    ]
    masked = np.ma.masked_array(movie[0], np.isnan(image))
    np.testing.assert_array_equal(model.predict(masked, "YX"), prediction)


def test_infinite_values_are_refused(model, movie):
    image = movie[0].astype(np.float32)
    image[0, 0] = np.inf
    with pytest.raises(GvtzooError, match="1 of the image's 384 voxels are infinite"):
        model.predict(image, "YX")


def test_axes_are_the_same_in_upper_case(model, movie):
    expected = model.predict(movie, "TYX")
    large = xr.DataArray(movie, dims=("T", "Y", "X"), coords={"T": [0, 1, 2, 3]})
    found = model.predict(large)
    assert found.dims == ("t", "y", "x")
    np.testing.assert_array_equal(found, expected)
    other = xr.DataArray(movie, dims=("frame", "row", "column"))
    np.testing.assert_array_equal(model.predict(other, axes="TYX"), expected)
    with pytest.raises(GvtzooError, match=r"has 3 axes of sizes .*, but the axes are YX"):
        model.predict(other, axes="YX")


@pytest.fixture(scope="module")
def planes_model() -> Model:
    return make_model(input_channels=5)


def test_planes_are_channels_of_one_channel(planes_model):
    image = np.random.default_rng(0).integers(0, 4000, (5, 16, 24))
    expected = planes_model.predict(image, "ZYX")
    np.testing.assert_array_equal(planes_model.predict(image, "CYX"), expected)
    np.testing.assert_array_equal(planes_model.predict(image[:, None], "ZCYX"), expected)
    in_time = planes_model.predict(np.stack([image, image]), "TZYX")
    np.testing.assert_array_equal(in_time[1], expected)


@pytest.mark.parametrize(
    ("axes", "shape", "message"),
    [
        ("ZYX", (4, 16, 24), "takes 5 planes as its channels, the image has 4 planes"),
        ("TYX", (5, 16, 24), r"takes 5 planes .* has axes TYX \(5×16×24\): .*--axes ZYX"),
        ("ZCYX", (5, 2, 16, 24), "has 2 channels of these: choose one with --channel"),
        ("CYX", (2, 16, 24), "the image has 2 channels, small takes 5"),
    ],
)
def test_other_numbers_of_planes_are_refused_with_both_numbers(planes_model, axes, shape, message):
    planes_model.name = "small"
    with pytest.raises(GvtzooError, match=message):
        planes_model.predict(np.random.default_rng(0).random(shape), axes)
