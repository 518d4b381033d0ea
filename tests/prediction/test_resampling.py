"""Images in other pixel sizes than the model's: resampled, predicted, and resampled back."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
from scipy.ndimage import zoom

from gvtzoo.api.predict import predict
from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import open_image, read_image, write_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.normalization import (
    NormalizationConfig,
    PercentileNormalization,
    ZScoreNormalization,
)
from gvtzoo.networks.config import LABEL_FREE
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.exact.out_of_core import Output, predict_large
from gvtzoo.prediction.large import is_large
from gvtzoo.prediction.memory import whole_image_memory
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import Settings
from gvtzoo.recipes.metadata import default_metadata

NETWORK = LABEL_FREE.model_copy(update={"features": 4, "depth": 2, "encoder_blocks": (1, 0)})
NETWORK = NETWORK.model_copy(
    update={
        "downsampling": ("residual",),
        "upsampling": ("transposed_convolution",),
        "decoder_blocks": (1,),
    }
)


def model(before: bool = True, uncertainty: bool = False, **config) -> Model:
    """A stand-in for the published label-free ones: resampled to 0.29 µm in plane, z-scored."""
    torch.manual_seed(0)
    network = NETWORK.model_copy(update={"uncertainty": uncertainty})
    built = network.build()
    return Model(
        built,
        PackageConfig(
            task="label_free",
            network=network,
            normalization=NormalizationConfig(
                source=ZScoreNormalization(),
                target=ZScoreNormalization(),
                undo=False,
                before_resampling=before,
            ),
            metadata=default_metadata("stand-in", "label_free"),
            **{"resampled_to": 0.29, **config},
        ),
        "stand-in",
    )


def image(shape=(4, 96, 80), size: float | None = 0.1, unit: str = "micrometer") -> xr.DataArray:
    generator = np.random.default_rng(1)
    values = zoom(generator.random((shape[0], shape[1] // 8, shape[2] // 8)), (1, 8, 8), order=3)
    values = (1000 * values + 20 * generator.standard_normal(shape)).astype(np.float32)
    known = {} if size is None else {"pixel_size": {"z": 0.3, "y": size, "x": size}, "unit": unit}
    return xr.DataArray(values, dims=("z", "y", "x"), name="cells", attrs=known)


def by_hand(own: Model, pixels: xr.DataArray, before: bool) -> np.ndarray:
    """z-score, resampling, the network, and resampling back, in the reference's order or not."""
    size = [round(n * 0.1 / 0.29) for n in pixels.shape[1:]]
    factors = (1, *(new / old for new, old in zip(size, pixels.shape[1:], strict=True)))
    values = pixels.to_numpy().astype(np.float64)
    if before:
        values = (values - values.mean()) / values.std()
    values = zoom(values, factors, order=3, mode="nearest")
    if not before:
        values = (values - values.mean()) / values.std()
    plain = own.config.model_copy(
        update={
            "resampled_to": None,
            "normalization": NormalizationConfig.model_validate(
                {"source": {"kind": "none"}, "target": {"kind": "none"}, "undo": False}
            ),
        }
    )
    seen = Model(own.network, plain).predict(values.astype(np.float32), axes="ZYX").to_numpy()
    back = (1, *(old / new for new, old in zip(size, pixels.shape[1:], strict=True)))
    return zoom(seen, back, order=3, mode="nearest")


@pytest.mark.parametrize("before", [True, False])
def test_the_order_is_the_one_that_the_package_names(before):
    own, pixels = model(before), image()
    found = own.predict(pixels)
    assert found.shape == pixels.shape
    expected, other = (by_hand(own, pixels, order) for order in (before, not before))
    assert np.abs(found.to_numpy() - expected).max() < 1e-4 * np.ptp(expected)
    assert np.abs(other - expected).max() > 1e-3 * np.ptp(expected)


def test_it_is_said_in_a_line(caplog):
    model().predict(image(size=100.0, unit="nm"))
    (message,) = caplog.messages
    assert message == "cells: resampled in plane from 0.1 to 0.29 µm, and the prediction back"


@pytest.mark.parametrize("size", [0.29, 0.29001])
def test_the_right_pixel_size_is_left_alone(caplog, size):
    own, pixels = model(), image(size=size)
    expected = own.predict(pixels.to_numpy(), axes="ZYX", resample=False).to_numpy()
    np.testing.assert_array_equal(own.predict(pixels).to_numpy(), expected)
    assert caplog.messages == []


def test_without_resampling_it_is_taken_as_it_is(caplog):
    own, pixels = model(), image()
    expected = own.predict(image(size=0.29)).to_numpy()
    np.testing.assert_array_equal(own.predict(pixels, resample=False).to_numpy(), expected)
    assert caplog.messages == []


def test_an_image_that_states_nothing_is_named(caplog):
    model().predict(image(size=None))
    (message,) = caplog.messages
    assert "cells states no pixel size" in message
    assert "--pixel-size" in message


def test_a_given_pixel_size_holds_and_goes_into_the_output():
    own = model()
    found = own.predict(image(size=None), pixel_size=0.1)
    np.testing.assert_array_equal(found.to_numpy(), own.predict(image()).to_numpy())
    assert found.attrs["pixel_size"] == {"y": 0.1, "x": 0.1}
    assert found.attrs["unit"] == "micrometer"
    wrong = own.predict(image(size=0.29), pixel_size=0.1)
    np.testing.assert_array_equal(found.to_numpy(), wrong.to_numpy())


def test_pixel_sizes_differ_along_y_and_x():
    pixels = image()
    pixels.attrs["pixel_size"] = {"y": 0.1, "x": 0.29}
    found = model().predict(pixels)
    assert found.shape == pixels.shape
    assert found.attrs["pixel_size"] == {"y": 0.1, "x": 0.29}


def test_impossible_sizes_are_refused():
    with pytest.raises(GvtzooError, match=r"352.8 µm.*--pixel-size.*--no-resample"):
        model().predict(image(size=352.8))
    with pytest.raises(GvtzooError, match="cannot be"):
        model().predict(image(), pixel_size=-1)


def test_time_points_and_sigma():
    own, pixels = model(uncertainty=True), image((4, 48, 40))
    movie = xr.concat([pixels, 2 * pixels], "t").assign_attrs(pixels.attrs)
    found, sigma = own.predict(movie, uncertainty=True)
    assert found.dims == sigma.dims == ("t", "z", "y", "x")
    one = own.predict(pixels).to_numpy()
    for number in range(2):  # the second has the same z-scores
        assert np.abs(found.to_numpy()[number] - one).max() < 1e-4 * np.ptp(one)
    assert sigma.min() > 0


def test_denoising_is_not_resampled_and_a_mismatch_is_said(caplog):
    trained = {"resampled_to": None, "pixel_size": {"z": 0.3, "y": 0.2, "x": 0.2}}
    own = model(unit="micrometer", **trained)
    expected = own.predict(image(size=None)).to_numpy()
    np.testing.assert_array_equal(own.predict(image()).to_numpy(), expected)
    (message,) = caplog.messages
    assert "pixels of 0.1 µm" in message
    assert "trained at 0.2 µm" in message
    caplog.clear()
    own.predict(image(size=0.21))
    assert caplog.messages == []


def test_the_recipe_tells_where_the_package_does_not():
    settings = model().config.model_dump(mode="json", exclude={"resampled_to"})
    settings["recipe"] = {"data": {"pixel_size": 0.29}}
    assert PackageConfig.model_validate(settings).resampled_to == 0.29
    del settings["normalization"]["before_resampling"]
    assert not PackageConfig.model_validate(settings).normalization.before_resampling


@pytest.mark.parametrize("source", [ZScoreNormalization(), PercentileNormalization()])
def test_exact_in_memory_and_from_file_to_file(tmp_path, source, caplog):
    own = model()
    normalization = own.config.normalization.model_copy(update={"source": source})
    own.config = own.config.model_copy(update={"normalization": normalization})
    pixels = image((4, 96, 80))
    expected = own.predict(pixels, tiling="whole").to_numpy()
    exact = own.predict(pixels, tiling="exact").to_numpy()
    assert np.abs(exact - expected).max() < 1e-4 * np.ptp(expected)

    write_image(tmp_path / "cells.tif", pixels)
    settings = Settings(tiling="exact", memory=2**20)
    lazy = open_image(tmp_path / "cells.tif")
    assert is_large(own, lazy, settings)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        predict_large(own, lazy, Output(tmp_path / "out.tif"), settings, identity="cells")
    assert "cells: resampled in plane from 0.1 to 0.29 µm, and the prediction back" in caplog.text
    found = read_image(tmp_path / "out.tif")
    assert np.abs(found.to_numpy() - expected).max() < 1e-4 * np.ptp(expected)
    assert found.attrs["pixel_size"] == pytest.approx({"z": 0.3, "y": 0.1, "x": 0.1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.tif", "out.tif"]


def test_an_interrupted_prediction_from_file_to_file_goes_on(tmp_path, monkeypatch):
    own, pixels = model(), image()
    write_image(tmp_path / "cells.tif", pixels)
    settings, lazy = Settings(tiling="exact", memory=2**20), open_image(tmp_path / "cells.tif")

    def broken(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        # The last of a frame's steps: the prediction goes back to the image's pixels.
        patch.setattr("gvtzoo.prediction.frames.Target.__setitem__", broken)
        with pytest.raises(GvtzooError, match="the same command continues"):
            predict_large(own, lazy, Output(tmp_path / "out.tif"), settings, identity="cells")
    assert (tmp_path / ".out.tif.partial" / "frame-0" / "resampled.npy").is_file()
    predict_large(own, lazy, Output(tmp_path / "out.tif"), settings, identity="cells")
    expected = own.predict(pixels, tiling="whole").to_numpy()
    found = read_image(tmp_path / "out.tif").to_numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


def test_memory_is_judged_by_the_size_that_the_network_sees():
    own = model()
    pixels = LazyImage.of(image((4, 240, 240)))
    budget = whole_image_memory(own.config.network, (4, 84, 84))
    assert not is_large(own, pixels, Settings(memory=budget))
    assert is_large(own, pixels, Settings(memory=budget, resample=False))


def test_the_given_size_is_written(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", image().to_numpy())
    predict(model(), tmp_path / "plain.tif", tmp_path / "out.tif", axes="ZYX", pixel_size=0.1)
    found = read_image(tmp_path / "out.tif")
    assert found.attrs["pixel_size"] == pytest.approx({"y": 0.1, "x": 0.1})
    expected = model().predict(image()).to_numpy()
    assert np.abs(found.to_numpy() - expected).max() < 1e-4 * np.ptp(expected)


@pytest.mark.parametrize("region", [":,20:61,8:40", "1:3,0:30,50:80"])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_region_is_the_part_of_the_whole(tmp_path, region, tiled):
    own, pixels = model(), image()
    box = dict(zip("zyx", (slice(*(int(n) if n else None for n in part.split(":")))
                           for part in region.split(",")), strict=True))  # fmt: skip
    expected = own.predict(pixels).isel(box)
    if tiled:
        settings = Settings(device="cpu", tiling="exact", memory=10**7)
        output = Output(tmp_path / "b.zarr")
        predict_large(own, LazyImage.of(pixels), output, settings, identity="", region=region)
        found = read_image(tmp_path / "b.zarr")
    else:
        found = own.predict(pixels, region=region)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.ptp(expected.to_numpy()))
    assert found.attrs["origin"]["y" if "20" in region else "x"] == pytest.approx(
        2.0 if "20" in region else 5.0
    )
