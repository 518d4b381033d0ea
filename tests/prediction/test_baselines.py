"""Networks of other papers predict whole and in blocks; what is for GVTNets only is refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.networks.baseline_config import BASELINES
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.out_of_core import Output, predict_large
from gvtzoo.prediction.large import is_large
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import Settings, as_data_array
from gvtzoo.recipes.metadata import default_metadata


def make_model(architecture: str, **settings) -> Model:
    torch.manual_seed(0)
    config = PackageConfig(
        task="denoising",
        network=BASELINES[architecture](depth=2, features=2, uncertainty=True, **settings),
        normalization=NormalizationConfig(),
        metadata=default_metadata("small", "denoising", architecture),
    )
    return Model(config.network.build(), config)


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(100, 4000, shape).astype(np.uint16)


@pytest.mark.parametrize("architecture", BASELINES)
@pytest.mark.parametrize("tiling", ["auto", "whole", "blocks"])
def test_any_size_is_predicted(architecture, tiling):
    model, image = make_model(architecture), random_image(5, 33, 18)
    prediction, sigma = model.predict(image, uncertainty=True, tiling=tiling, device="cpu")
    expected = image.shape[-model.config.network.output_dimensions :]
    assert prediction.shape == sigma.shape == expected
    with torch.inference_mode():
        again = model.predict(image, tiling=tiling, device="cpu")
    np.testing.assert_array_equal(prediction, again)


def test_blocks_of_a_local_network_agree_with_the_whole_where_they_overlap_enough():
    model, image = make_model("care_unet", dimensions=2), random_image(64, 64)
    whole = model.predict(image, tiling="whole", device="cpu").to_numpy()
    # All that the block in the lower right corner has for itself is far from its borders.
    blocks = model.predict(
        image, tiling="blocks", block=(48, 48), overlap=(32, 32), device="cpu"
    ).to_numpy()
    corner = (slice(48, None), slice(48, None))
    np.testing.assert_allclose(blocks[corner], whole[corner], rtol=0, atol=1e-4 * np.ptp(whole))
    assert np.abs(blocks - whole).max() > 1e-3 * np.ptp(whole)


def test_an_image_that_does_not_fit_goes_through_blocks(caplog):
    model, image = make_model("fnet", dimensions=2), random_image(700, 520)
    with caplog.at_level(logging.WARNING):
        found = model.predict(image, memory=100_000, device="cpu")
    assert "predicting with model in overlapping blocks" in caplog.text
    blocks = model.predict(image, tiling="blocks", device="cpu")
    np.testing.assert_array_equal(found, blocks)


def test_blocks_of_a_projection_have_all_planes():
    model, image = make_model("care_projection"), random_image(40, 20, 20)
    whole = model.predict(image, tiling="whole", device="cpu")
    blocks = model.predict(image, tiling="blocks", device="cpu")
    np.testing.assert_array_equal(blocks, whole)


def test_exact_prediction_is_for_gvtnets(tmp_path):
    model, image = make_model("ce_net", dimensions=2), random_image(32, 32)
    message = "exact prediction is for GVTNets, not for a CENet: predict in blocks"
    with pytest.raises(GvtzooError, match=message):
        model.predict(image, tiling="exact")
    with pytest.raises(GvtzooError, match=message):
        predict_exact(model.network, np.zeros((1, 32, 32), np.float32))
    lazy = LazyImage.of(as_data_array(image, None, model.axes))
    assert not is_large(model, lazy, Settings(memory=1000))
    with pytest.raises(GvtzooError, match=message):
        predict_large(model, lazy, Output(tmp_path / "out.zarr"), Settings(), identity="image")
    assert list(tmp_path.iterdir()) == []
