"""Tiles with a halo: exact without attention, and not with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gvtzoo.metrics.pair import pearson_r
from gvtzoo.networks import DENOISING, LABEL_FREE, PROJECTION
from gvtzoo.networks.baseline_config import BASELINES
from gvtzoo.networks.fixed_attention import measured_radius
from gvtzoo.prediction.pytorch import run_network
from gvtzoo.prediction.tiling import predict_with_halo, receptive_radius

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


def measured(network, image: np.ndarray, tile: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The prediction of the whole image, and that of tiles with a halo as wide as the reach."""

    def predict(part: np.ndarray) -> np.ndarray:
        return run_network(network, part, uncertainty=False)[0]

    multiple = network.multiple
    halo = tuple(-(-r // m) * m for r, m in zip(receptive_radius(network), multiple, strict=True))
    return predict(image), predict_with_halo(predict, image, tile, halo)


def test_a_change_is_not_seen_beyond_the_reach():
    network = build(DENOISING.model_copy(update={**WITHOUT_ATTENTION, "dimensions": 2}))
    limit = receptive_radius(network)
    found = response(network, random_image(128, 128), (64, 64))
    assert all(f <= r for f, r in zip(found, limit, strict=True))
    assert max(found) > 0.6 * limit[0]


def test_tiles_are_exact_without_attention():
    network = build(DENOISING.model_copy(update=WITHOUT_ATTENTION))
    whole, tiled = measured(network, random_image(8, 96, 80), (8, 16, 32))
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize("preset", [DENOISING, LABEL_FREE])
def test_tiles_are_not_exact_with_attention(preset):
    network = build(preset.model_copy(update={"features": 4}))
    for module in network.modules():
        if hasattr(module, "attention"):
            module.output.convolution.weight.data *= 20
    whole, tiled = measured(network, random_image(8, 96, 96), (8, 24, 24))
    assert np.abs(tiled - whole).max() > 0
    assert -1 <= pearson_r(whole, tiled) < 1


@pytest.mark.parametrize("preset", [DENOISING, LABEL_FREE, PROJECTION])
def test_the_reach_is_as_far_as_is_measured(preset):
    """A projection pools, and repeats what it has pooled: both see all of a coarse voxel."""
    found = measured_radius(preset.model_copy(update={"fixed_attention": True, "features": 4}))
    limit = receptive_radius(build(preset))
    assert all(f <= r for f, r in zip(found, limit, strict=True))
    assert max(found) > 0.6 * max(limit)


def test_the_network_behind_a_projection_does_not_reach_along_z():
    assert (
        receptive_radius(build(PROJECTION))[0] == receptive_radius(build(PROJECTION).projection)[0]
    )


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
    whole, tiled = measured(network, random_image(8, 64, 80), (8, 16, 32))
    assert np.abs(tiled - whole).max() < 1e-5 * np.ptp(whole)


def test_tiles_of_a_network_with_global_pooling_are_not_exact():
    network = build(BASELINES["rsgu_net"](depth=2, features=8))
    whole, tiled = measured(network, random_image(8, 64, 80), (8, 16, 32))
    assert np.abs(tiled - whole).max() > 1e-4 * np.ptp(whole)
