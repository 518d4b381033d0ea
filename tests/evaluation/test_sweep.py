"""Larger tiles are closer to the whole image, and the hint says which are close enough."""

from __future__ import annotations

import numpy as np
import pytest
import small_package
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import demo_images
from gvtzoo.evaluation.sweep import (
    METHODS,
    SweepRow,
    mean_rows,
    sweep_tiles,
    tile_sizes,
    tiling_hint,
)
from gvtzoo.hub.load import load
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.networks import PROJECTION
from gvtzoo.networks.baseline_config import CAREProjectionConfig
from gvtzoo.prediction.model import Model


@pytest.fixture(scope="module")
def sweep():
    model = load("gvtnet-denoising-nuclei")
    noisy, clean = demo_images()
    noisy, clean = noisy[:12, :62, 40:136], clean[:12, :62, 40:136]
    tiles = [(12, 16, 16), (12, 30, 30), (500, 500, 500), (12, 32, 64)]
    return model, noisy, clean, sweep_tiles(model, noisy, tiles, np.asarray(clean), device="cpu")


def test_sizes_suit_the_network_and_end_with_the_whole_image(sweep):
    *_, rows = sweep
    assert [row.tile for row in rows] == [(12, 16, 16), (12, 32, 32), (12, 32, 64), None]
    assert {row.halo for row in rows[:-1]} == {(32, 32, 32)}


def test_the_whole_image_is_the_models_own_prediction(sweep):
    model, noisy, clean, rows = sweep
    whole = model.predict(noisy, tiling="whole", device="cpu").to_numpy()
    assert rows[-1].pearson_r == pytest.approx(1)
    assert rows[-1].max_difference == 0
    assert rows[-1].metrics == pytest.approx(evaluate_pair(np.asarray(clean), whole))


def test_smaller_tiles_are_farther_off(sweep):
    *_, rows = sweep
    differences = [row.max_difference for row in rows]
    assert differences[0] > differences[2] > differences[3]
    assert rows[0].pearson_r < rows[2].pearson_r < 1


def test_every_method_has_its_tiles(sweep):
    model, noisy, clean, tiled = sweep
    tiles = [(12, 16, 16), (12, 32, 32)]
    rows = sweep_tiles(model, noisy, tiles, np.asarray(clean), methods=METHODS, device="cpu")
    assert [(row.method, row.tile) for row in rows] == [
        *((method, tile) for method in METHODS for tile in tiles),
        ("whole", None),
    ]
    assert rows[0] == tiled[0]
    blocks, exact = rows[2], rows[4]
    own = model.predict(noisy, tiling="blocks", block=(12, 16, 16), overlap=(3, 4, 4), device="cpu")
    assert blocks.metrics == pytest.approx(evaluate_pair(np.asarray(clean), own.to_numpy()))
    assert exact.max_difference < 1e-4 < blocks.max_difference


def test_sizes_go_from_the_training_patch_to_the_whole_image(sweep):
    model, *_ = sweep
    assert model.config.recipe["training"]["patch"] == [16, 64, 64]
    sizes = tile_sizes(model, (60, 100, 400))
    assert sizes == [(16, 64, 64), (32, 128, 128), (64, 256, 256)]


def test_the_mean_is_over_sizes_that_all_images_have():
    def row(tile, r, difference):
        return SweepRow(tile, (4, 4), r, difference, {"ssim": r})

    (mean,) = mean_rows([[row((8, 8), 0.8, 0.3), row((16, 16), 0.9, 0.2)], [row((8, 8), 0.6, 0.4)]])
    assert mean == SweepRow(
        (8, 8), (4, 4), pytest.approx(0.7), 0.4, {"ssim": pytest.approx(0.7)}, images=2
    )


def test_the_hint_is_the_smallest_tile_that_is_close():
    def row(tile, r):
        return SweepRow(tile, (4, 4), r, 1 - r, {})

    rows = [row((8, 8), 0.8), row((16, 16), 0.995), row((32, 32), 0.999), row(None, 1.0)]
    assert tiling_hint(rows).tile == (16, 16)
    assert tiling_hint(rows, least_r=0.998).tile == (32, 32)
    assert tiling_hint(rows[:1], least_r=0.998).pearson_r == 0.8


def test_what_makes_no_sense_is_refused(sweep):
    model, noisy, *_ = sweep
    with pytest.raises(GvtzooError, match="no tile is smaller"):
        sweep_tiles(model, noisy, [(64, 64, 96)], device="cpu")
    with pytest.raises(GvtzooError, match="3 sizes are needed"):
        sweep_tiles(model, noisy, [(64, 64)], device="cpu")
    with pytest.raises(GvtzooError, match="2 times and positions"):
        sweep_tiles(model, xr.concat([noisy, noisy], "t"), [(8, 8, 8)], device="cpu")


@pytest.mark.parametrize(
    "network",
    [
        PROJECTION.model_copy(update={"features": 4}),
        CAREProjectionConfig(depth=2, features=2),
    ],
    ids=["gvtnet", "care"],
)
def test_a_projection_is_tiled_in_the_plane_only(network):
    """The surface may be anywhere in the stack: only tiles with all of z make sense."""
    changes = {"network": network, "task": "projection", "uncertainty": False}
    model = Model(network.build(), small_package.CONFIG.model_copy(update=changes))
    image = xr.DataArray(np.random.default_rng(0).normal(size=(6, 128, 64)), dims=("z", "y", "x"))
    tiled, _ = sweep_tiles(model, image, [(2, 32, 32)], device="cpu")
    assert tiled.tile == (6, 32, 32)
