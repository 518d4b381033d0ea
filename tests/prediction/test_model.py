"""`Model.predict`: axes, frames, sizes, types, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import SMALL as WITH_NORM

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import NormalizationConfig, PercentileNormalization
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.memory import parse_memory, whole_image_memory
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import Settings, choose_device
from gvtzoo.recipes.metadata import default_metadata

SMALL = {**WITH_NORM, "batch_norm": False}


def make_model(undo: bool = True, **network) -> Model:
    torch.manual_seed(0)
    config = PackageConfig(
        task="denoising",
        network=NetworkConfig(**{**SMALL, **network}),
        normalization=NormalizationConfig(source=PercentileNormalization(), undo=undo),
        metadata=default_metadata("small", "denoising"),
    )
    return Model(config.network.build(), config)


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model(uncertainty=True)


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(100, 4000, shape).astype(np.uint16)


@given(shape=st.tuples(*[st.integers(1, 9)] * 3))
@settings(max_examples=20, deadline=None)
def test_any_size_is_predicted(model, shape):
    image = random_image(*shape)
    if np.ptp(image) == 0:
        return
    prediction, sigma = model.predict(image, uncertainty=True)
    assert prediction.shape == sigma.shape == shape
    assert prediction.dtype == np.float32
    assert np.isfinite(prediction).all()
    assert (sigma > 0).all()


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX", "ZYXT", "PTZYX"])
def test_time_and_position_are_looped_over(model, axes):
    sizes = {"T": 2, "P": 3, "Z": 4, "Y": 6, "X": 8}
    image = xr.DataArray(random_image(*(sizes[axis] for axis in axes)), dims=tuple(axes.lower()))
    prediction = model.predict(image)
    assert prediction.dims == image.dims
    frame = image.isel(t=1, **({"p": 2} if "P" in axes else {}))
    alone = model.predict(frame.transpose("z", "y", "x"))
    found = prediction.isel(t=1, **({"p": 2} if "P" in axes else {})).transpose("z", "y", "x")
    np.testing.assert_array_equal(found, alone)


def test_axes_may_come_in_any_order(model):
    image = xr.DataArray(random_image(4, 6, 8), dims=("z", "y", "x"))
    turned = model.predict(image.transpose("x", "z", "y"))
    assert turned.dims == ("x", "z", "y")
    np.testing.assert_allclose(turned.transpose("z", "y", "x"), model.predict(image), rtol=1e-6)


def test_pixel_size_is_carried_over(model):
    attributes = {"pixel_size": {"z": 1.0, "y": 0.2, "x": 0.2}, "unit": "micrometer"}
    image = xr.DataArray(random_image(4, 6, 8), dims=("z", "y", "x"), attrs=attributes)
    assert model.predict(image).attrs == attributes


def test_a_2d_network_loops_over_z():
    flat = make_model(dimensions=2)
    image = random_image(3, 8, 10)
    prediction = flat.predict(image, axes="ZYX")
    np.testing.assert_array_equal(prediction[1], flat.predict(image[1], axes="YX"))


def test_a_single_slice_is_a_stack_of_one(model):
    image = random_image(8, 10)
    expected = model.predict(image[np.newaxis], axes="ZYX")
    np.testing.assert_array_equal(model.predict(image, axes="YX"), expected)


def test_undone_normalization_follows_the_units_of_the_image(model):
    image = random_image(4, 8, 8).astype(np.float64)
    prediction, sigma = model.predict(image, uncertainty=True)
    scaled, scaled_sigma = model.predict(10 * image + 500, uncertainty=True)
    np.testing.assert_allclose(scaled, 10 * prediction + 500, rtol=1e-3)
    np.testing.assert_allclose(scaled_sigma, 10 * sigma, rtol=1e-3)


def test_normalization_that_is_not_undone_stays():
    image = random_image(4, 8, 8)
    normalized, raw = make_model(undo=False).predict(image), make_model().predict(image)
    fitted = PercentileNormalization().fit(image)
    np.testing.assert_allclose(fitted.denormalize(normalized), raw, rtol=1e-4)


def test_blocks_as_large_as_the_image_are_the_whole_image(model):
    image = random_image(4, 8, 8)
    whole = model.predict(image, tiling="whole")
    blocks = model.predict(image, tiling="blocks", block=(4, 8, 8), overlap=(0, 0, 0))
    np.testing.assert_array_equal(blocks, whole)


def test_progress_reaches_the_end(model):
    seen = []
    model.predict(
        random_image(2, 4, 8, 16),
        axes="TZYX",
        tiling="blocks",
        block=(4, 8, 8),
        overlap=(0, 0, 2),
        progress=lambda done, total: seen.append(done / total),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_several_channels_in_and_out():
    colourful = make_model(dimensions=2, input_channels=2, output_channels=3)
    image = random_image(2, 8, 10)
    assert colourful.predict(image, axes="CYX").sizes == {"c": 3, "y": 8, "x": 10}
    with pytest.raises(GvtzooError, match="has 4 channels, model takes 2"):
        colourful.predict(random_image(4, 8, 10), axes="CYX")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_close(model, dtype):
    image = random_image(4, 8, 8)
    exact = model.predict(image).to_numpy()
    close = model.predict(image, dtype=dtype, device="cpu").to_numpy()
    assert np.abs(close - exact).max() < 0.05 * np.ptp(exact)
    assert next(model.network.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("image", "axes", "message"),
    [
        (np.full((4, 8, 8), 7), "ZYX", r"constant \(value 7\)"),
        (np.full((4, 8, 8), np.nan), "ZYX", "all of the image's 256 voxels are NaN"),
        (np.zeros((0, 8, 8)), "ZYX", "empty"),
        (np.zeros((4, 8, 8), complex), "ZYX", "complex"),
        (np.zeros((8, 8)), None, r"2 axes of sizes \(8, 8\).* ZYX"),
        (np.zeros((3, 4, 8, 8)), "CZYX", "choose a channel"),
        (np.zeros((4, 8, 8)), "ZY", r"3 axes .* the axes are ZY: name each"),
        (np.zeros((4, 8)), "ZX", "has axes ZX"),
    ],
)
def test_images_that_make_no_sense_are_refused_in_one_line(model, image, axes, message):
    with pytest.raises(GvtzooError, match=message) as caught:
        model.predict(image, axes=axes)
    assert "\n" not in str(caught.value)


def test_blocks_that_cannot_be_halved_are_refused(model):
    with pytest.raises(GvtzooError, match=r"multiples of \(2, 2, 2\)"):
        model.predict(random_image(8, 8, 8), tiling="blocks", block=(3, 8, 8))


def test_sigma_is_refused_without_its_head():
    with pytest.raises(GvtzooError, match="no uncertainty head"):
        make_model().predict(random_image(4, 8, 8), uncertainty=True)


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "meta"])
def test_devices_that_are_not_there_are_refused(name):
    with pytest.raises(GvtzooError, match="device"):
        choose_device(name)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("500 MB", 5 * 10**8), ("2GiB", 2**31), ("1.5k", 1500), ("10", 10)],
)
def test_amounts_of_memory(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["much", "4 apples", "-1GB", "0", "GB"])
def test_other_amounts_are_refused(text):
    with pytest.raises(ValueError, match="write it like 4GB"):
        parse_memory(text)


def test_memory_of_the_whole_image_grows_with_its_voxels():
    config = NetworkConfig(**SMALL)
    assert whole_image_memory(config, (8, 64, 64)) == 2 * whole_image_memory(config, (4, 64, 64))


def test_planes_of_a_stack_are_the_channels_of_a_network_that_has_as_many():
    model = make_model(undo=False, dimensions=2, input_channels=5)
    image = random_image(5, 8, 12)
    stack = xr.DataArray(image, dims=("z", "y", "x"))
    prediction = model.predict(stack)
    assert prediction.dims == ("y", "x")
    np.testing.assert_array_equal(prediction, model.predict(image, axes="CYX"))
    np.testing.assert_array_equal(prediction, model.predict(image, axes="ZYX"))
    with pytest.raises(GvtzooError, match=r"takes 5 planes .* has 4 planes"):
        model.predict(stack[:4])


def test_an_export_leaves_the_network_in_evaluation():
    """Exports switch a module's mode and back: in training, dropout would change what follows."""
    own = make_model(uncertainty=True)
    image = random_image(8, 16, 16)
    settings = Settings(device="cpu")
    engine = own.engines.of(own.network, settings)
    own.predict(image, uncertainty=True, tiling="whole", device="cpu")
    assert own.engines.of(own.network, settings) is engine
    assert not any(part.training for part in engine.network.modules())
