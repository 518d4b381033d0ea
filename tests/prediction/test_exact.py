"""Exact prediction equals the whole image's, for every network, size and tile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import configs

from gvtzoo.demo import demo_images
from gvtzoo.networks import DENOISING, PROJECTION, NetworkConfig
from gvtzoo.prediction import exact
from gvtzoo.prediction.exact import finest_halo, predict_exact, tile_for_memory
from gvtzoo.prediction.predictor import load, run_network

TOLERANCE = 1e-5  # of the output's range
PLENTY, NOTHING = 10**10, 1  # bytes: every map is kept, or none


def build(config: NetworkConfig, seed: int = 0) -> torch.nn.Module:
    """A network whose attention and batch norm matter."""
    torch.manual_seed(seed)
    network = config.build().eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.3)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif tensor.ndim > 1:
            tensor.mul_(1.5)
    return network


def random_image(config: NetworkConfig, factors: tuple[int, ...]) -> np.ndarray:
    sizes = (m * f for m, f in zip(config.multiple, factors, strict=False))
    shape = (config.input_channels, *sizes)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def assert_equal(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= TOLERANCE * max(np.ptp(other), 1e-3)


@given(
    config=configs(),
    image=st.tuples(*[st.integers(1, 5)] * 3),
    tile=st.tuples(*[st.integers(1, 4)] * 3),
    memory=st.sampled_from([PLENTY, NOTHING]),
)
@settings(max_examples=60, deadline=None)
def test_every_network_size_and_tile(config, image, tile, memory):
    network = build(config)
    x = random_image(config, image)
    tile = tuple(m * t for m, t in zip(config.multiple, tile, strict=False))
    found = predict_exact(network, x, tile=tile, memory=memory, sigma=True)
    assert_equal(found, run_network(network, x, uncertainty=True))


@given(
    bottom=st.lists(st.sampled_from(["gvto", "residual"]), max_size=2),
    depth=st.integers(2, 3),
    image=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
    memory=st.sampled_from([PLENTY, NOTHING]),
)
@settings(max_examples=20, deadline=None)
def test_every_projection(bottom, depth, image, tile, memory):
    changes = {
        "features": 4,
        "bottom": tuple(bottom),
        "depth": depth,
        "encoder_blocks": (1,) * (depth - 1) + (0,),
        "downsampling": ("convolution",) * (depth - 1),
        "upsampling": ("gvto_v2",) * (depth - 1),
        "decoder_blocks": (1,) * (depth - 1),
    }
    config = PROJECTION.model_copy(update=changes)
    network = build(config)
    x = random_image(config, image)
    tile = tuple(m * t for m, t in zip(config.multiple, tile, strict=True))
    found = predict_exact(network, x, tile=tile, memory=memory)
    assert_equal(found, run_network(network, x, uncertainty=False))


def test_the_bundled_model_on_a_real_stack():
    model = load("gvtnet-denoising-nuclei")
    noisy, _ = demo_images()
    whole = model.predict(noisy, tiling="whole", uncertainty=True, device="cpu")
    tiled = model.predict(noisy, tiling="exact", memory=60_000_000, uncertainty=True, device="cpu")
    assert_equal(tuple(map(np.asarray, tiled)), tuple(map(np.asarray, whole)))


def test_bfloat16_is_close():
    config = DENOISING.model_copy(update={"features": 8})
    network, x = build(config), random_image(config, (4, 8, 8))
    expected = run_network(network, x, uncertainty=False)[0]
    half = network.to(torch.bfloat16)
    found = predict_exact(half, x, tile=(8, 16, 16), memory=PLENTY)[0]
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)


def test_only_slices_of_the_image_are_read():
    config = DENOISING.model_copy(update={"features": 4})
    network, x = build(config), random_image(config, (2, 12, 12))
    halo = finest_halo(network)

    class Lazy:
        shape = x.shape
        largest = 0

        def __getitem__(self, box):
            part = x[box]
            self.largest = max(self.largest, *part.shape[2:])
            return part

    lazy = Lazy()
    found = predict_exact(network, lazy, tile=(8, 8, 8), memory=PLENTY)
    assert_equal(found, run_network(network, x, uncertainty=False))
    assert lazy.largest <= 8 + 2 * (max(halo) + 4)


def test_tiles_follow_the_memory():
    network = build(DENOISING)
    size = (64, 1024, 1024)
    voxels = [np.prod(tile_for_memory(network, size, gb * 10**9)) for gb in (1, 2, 3)]
    assert voxels == sorted(voxels)
    assert voxels[0] < voxels[-1] < np.prod(size)
    assert tile_for_memory(network, (16, 32, 32), 10**12) == (16, 32, 32)
    assert tile_for_memory(network, size, 1) == network.multiple


def test_running_out_of_memory_is_tried_again_once_with_smaller_tiles(monkeypatch):
    config = DENOISING.model_copy(update={"features": 4})
    network, x = build(config), random_image(config, (4, 16, 16))
    expected = run_network(network, x, uncertainty=False)
    tiles, original = [], exact._predict

    def fail_first(network, image, passes, sigma):
        tiles.append(passes.tile)
        if len(tiles) == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return original(network, image, passes, sigma)

    monkeypatch.setattr(exact, "_predict", fail_first)
    assert_equal(predict_exact(network, x, memory=PLENTY), expected)
    assert np.prod(tiles[1]) < np.prod(tiles[0])


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    config = DENOISING.model_copy(update={"features": 4})

    def fail(*arguments):
        raise RuntimeError("something else")

    monkeypatch.setattr(exact, "_predict", fail)
    with pytest.raises(RuntimeError, match="something else"):
        predict_exact(build(config), random_image(config, (1, 2, 2)), memory=PLENTY)


def test_progress_rises_to_the_end():
    config = DENOISING.model_copy(update={"features": 4})
    seen = []
    predict_exact(
        build(config),
        random_image(config, (2, 4, 4)),
        tile=(8, 8, 8),
        memory=PLENTY,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
