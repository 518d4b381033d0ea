"""Tiles with a halo: exact without attention, and not with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gvtzoo.networks import DENOISING, LABEL_FREE, PROJECTION
from gvtzoo.networks.baseline_config import BASELINES
from gvtzoo.prediction.engines import run_network
from gvtzoo.prediction.tiling import measure_tiling, predict_with_halo, receptive_radius

WITHOUT_ATTENTION = {
    "features": 4,
    "bottom": ("residual",),
    "upsampling": ("transposed_convolution",) * 2,
}


def build(config):
    torch.manual_seed(0)
    return config.build().eval()


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)


def response(network, image: np.ndarray, centre: tuple[int, ...]) -> list[int]:
    """How far a change of one voxel is seen, along each axis."""
    changed = image.copy()
    changed[(0, *centre)] += 10
    before, after = (run_network(network, x, uncertainty=False)[0] for x in (image, changed))
    seen = np.argwhere(np.abs(after - before)[0] > 0)
    return [int(np.abs(seen[:, axis] - centre[axis]).max()) for axis in range(seen.shape[1])]


def test_a_change_is_not_seen_beyond_the_reach():
    network = build(DENOISING.model_copy(update={**WITHOUT_ATTENTION, "dimensions": 2}))
    limit = receptive_radius(network)
    found = response(network, random_image(128, 128), (64, 64))
    assert all(f <= r for f, r in zip(found, limit, strict=True))
    assert max(found) > 0.6 * limit[0]


def test_tiles_are_exact_without_attention():
    network = build(DENOISING.model_copy(update=WITHOUT_ATTENTION))
    halo = tuple(-(-r // 4) * 4 for r in receptive_radius(network))
    image = random_image(8, 96, 80)

    def predict(part: np.ndarray) -> np.ndarray:
        return run_network(network, part, uncertainty=False)[0]

    tiled = predict_with_halo(predict, image, (8, 16, 32), halo)
    np.testing.assert_allclose(tiled, predict(image), atol=1e-5)


@pytest.mark.parametrize("preset", [DENOISING, LABEL_FREE])
def test_tiles_are_not_exact_with_attention(preset):
    network = build(preset.model_copy(update={"features": 4}))
    for module in network.modules():
        if hasattr(module, "attention"):
            module.output.convolution.weight.data *= 20
    hint = measure_tiling(network, random_image(8, 96, 96), (8, 16, 16))
    assert hint.max_difference > 0
    assert -1 <= hint.pearson_r < 1
    assert len(hint.halo) == 3


def test_a_projection_is_tiled_in_the_plane_only():
    network = build(PROJECTION.model_copy(update={"features": 4}))
    hint = measure_tiling(network, random_image(6, 64, 64), (2, 32, 32))
    assert hint.tile == (6, 32, 32)


@pytest.mark.parametrize("architecture", ["fnet", "care_unet", "ce_net", "rsgu_net"])
def test_a_change_is_not_seen_beyond_the_reach_of_a_baseline(architecture):
    network = build(BASELINES[architecture](dimensions=2, depth=3, features=4))
    if architecture == "rsgu_net":
        network.bottom = torch.nn.Identity()  # sees everything
    limit = receptive_radius(network)
    found = [0, 0]
    for offset in range(4):  # voxels see differently far, by where they lie in a coarser one
        seen = response(network, random_image(256, 256), (128 + offset, 128 + offset))
        found = np.maximum(found, seen)
    assert all(f <= r for f, r in zip(found, limit, strict=True))
    assert max(found) > 0.4 * limit[0]


@pytest.mark.parametrize("architecture", ["fnet", "care_unet"])
def test_tiles_of_local_networks_are_exact(architecture):
    network = build(BASELINES[architecture](depth=2, features=2))
    halo = tuple(-(-r // 2) * 2 for r in receptive_radius(network))
    image = random_image(8, 64, 80)
    hint = measure_tiling(network, image, (8, 16, 32))
    assert hint.halo == halo
    assert hint.max_difference < 1e-5


def test_tiles_of_a_network_with_global_pooling_are_not_exact():
    network = build(BASELINES["rsgu_net"](depth=2, features=8))
    hint = measure_tiling(network, random_image(8, 64, 80), (8, 16, 32))
    assert hint.max_difference > 1e-4


def test_care_s_projection_is_tiled_in_the_plane_only():
    network = build(BASELINES["care_projection"](depth=2, features=2))
    hint = measure_tiling(network, random_image(6, 128, 64), (2, 32, 32))
    assert hint.tile == (6, 32, 32)
