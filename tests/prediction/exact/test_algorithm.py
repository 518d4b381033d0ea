"""Exact prediction equals the whole image's, for every network, size and tile."""

from __future__ import annotations

import gc
import re
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import configs, examples

from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import demo_images
from gvtzoo.hub.load import load
from gvtzoo.networks import DENOISING, GVTO, PRESETS, AttentionConfigs, NetworkConfig
from gvtzoo.prediction.exact import algorithm as exact
from gvtzoo.prediction.exact.algorithm import predict_exact, predict_planned
from gvtzoo.prediction.exact.execution import InMemory, LocalExecutor, Runner
from gvtzoo.prediction.exact.plan import (
    levels,
    make_plans,
    plan_keeping,
    receptive_radius_of_passes,
    stages,
)
from gvtzoo.prediction.pytorch import run_network

TOLERANCE = 1e-5  # of the output's range
PLENTY = 10**10  # bytes
NETWORKS = {name: config.build().eval() for name, config in PRESETS.items()}
FACTORS = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 5))


def build(config: NetworkConfig, seed: int = 0) -> torch.nn.Module:
    """A network whose attention and batch norm matter.

    Not more than that: each operator is cubic in its input, and with larger weights the whole
    image's own float32 prediction is no longer accurate to the tolerance.
    """
    torch.manual_seed(seed)
    network = config.build().eval()
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.3)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    for module in network.modules():
        if isinstance(module, GVTO):
            module.value.convolution.weight.data.mul_(3)
            module.output.convolution.weight.data.mul_(3)
    return network


def random_image(config: NetworkConfig, factors: tuple[int, ...]) -> np.ndarray:
    sizes = (m * f for m, f in zip(config.multiple, factors, strict=False))
    shape = (config.input_channels, *sizes)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def assert_equal(found: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        # Where values vary little, as σ may, 1e-5 of their range is below what float32 resolves.
        resolution = 4 * np.spacing(np.abs(other).max())
        assert np.abs(one - other).max() <= TOLERANCE * np.ptp(other) + resolution


def predict_keeping(
    network: torch.nn.Module,
    x: np.ndarray,
    finest_kept: int,
    tile: tuple[int, ...],
    sigma: bool,
    runner: Runner | None = None,
) -> tuple[np.ndarray, ...]:
    """Predict with the maps from a level on kept, whatever they take."""
    plans = []
    for part in stages(network):
        axes = len(part.multiple)
        finest = min(finest_kept, len(levels(part)))
        plans.append(plan_keeping(part, x.shape[-axes:], PLENTY, finest, tile[-axes:]))
    # Not zeros: a voxel that is never written has to be found.
    shape = (channels_of(network), *x.shape[-len(stages(network)[-1].multiple) :])
    out = tuple(np.full(shape, np.nan, np.float32) for _ in range(2 if sigma else 1))
    predict_planned(network, x, plans, out, runner)
    return out


def channels_of(network: torch.nn.Module) -> int:
    return stages(network)[-1].output_convolution.convolution.out_channels


@st.composite
def more_configs(draw) -> NetworkConfig:
    """Those that tests of networks share, with key ratios, wide outputs and added inputs."""
    config = draw(configs())
    attention = config.attention
    for place, names in (
        ("same", ()),
        ("down", config.downsampling),
        ("up", config.upsampling),
    ):
        if not any(name.startswith("gvto_v2") for name in names):
            ratio = {"key_ratio": draw(st.sampled_from([1, 2]))}
            changed = getattr(attention, place).model_copy(update=ratio)
            attention = attention.model_copy(update={place: changed})
    return NetworkConfig.model_validate(
        {
            **config.model_dump(),
            "attention": attention.model_dump(),
            "add_input": config.add_input
            or (config.output_channels == config.input_channels and draw(st.booleans())),
            "output_kernel_size": draw(st.sampled_from([1, 3, 5])),
        }
    )


@given(config=more_configs(), image=FACTORS, tile=FACTORS, finest_kept=st.integers(0, 3))
@examples(20)
def test_every_network_size_tile_and_kept_level(config, image, tile, finest_kept):
    network = build(config)
    x = random_image(config, image)
    tile = tuple(m * t for m, t in zip(config.multiple, tile, strict=False))
    found = predict_keeping(network, x, finest_kept, tile, sigma=True)
    assert_equal(found, run_network(network, x, uncertainty=True))


@given(
    bottom=st.lists(st.sampled_from(["gvto", "residual"]), max_size=2),
    depth=st.integers(2, 3),
    softmax=st.booleans(),
    batch_norm=st.booleans(),
    image=st.tuples(st.integers(1, 9), st.integers(1, 2), st.integers(1, 3)),
    tile=st.tuples(st.integers(1, 9), st.integers(1, 2), st.integers(1, 3)),
    finest_kept=st.integers(0, 3),
)
@examples(12)
def test_every_projection(bottom, depth, softmax, batch_norm, image, tile, finest_kept):
    attention = {"heads": 2, "softmax": softmax}
    config = NetworkConfig(
        architecture="projection",
        features=4,
        bottom=tuple(bottom),
        depth=depth,
        encoder_blocks=(1,) * (depth - 1) + (0,),
        downsampling=("convolution",) * (depth - 1),
        upsampling=("gvto_v2",) * (depth - 1),
        decoder_blocks=(1,) * (depth - 1),
        skip="concatenate",
        batch_norm=batch_norm,
        attention={"same": attention, "down": attention, "up": attention},
        add_input=True,
        uncertainty=True,
    )
    network = build(config)
    x = random_image(config, image)
    tile = tuple(m * t for m, t in zip(config.multiple, tile, strict=True))
    found = predict_keeping(network, x, finest_kept, tile, sigma=True)
    assert_equal(found, run_network(network, x, uncertainty=True))


def test_attention_matters_in_these_tests():
    """Else equality would say nothing about the operators' sums."""
    config = NetworkConfig(
        features=4,
        depth=3,
        encoder_blocks=(1, 0, 0),
        downsampling=("gvto_v1", "gvto_v2"),
        upsampling=("gvto_v1", "gvto_v2"),
        decoder_blocks=(1, 1),
    )
    network, x = build(config), random_image(config, (2, 4, 4))
    (expected,) = run_network(network, x, uncertainty=False)
    for module in network.modules():
        if isinstance(module, GVTO):
            module.value.convolution.weight.data.zero_()
    (without,) = run_network(network, x, uncertainty=False)
    assert np.abs(without - expected).max() > 100 * TOLERANCE * np.ptp(expected)


@pytest.mark.parametrize(
    "case",
    [
        "denoise",
        "label_free",
        "projection",
        "variant_2d_down_v1_up_v1_softmax",
        "variant_2d_down_v2_up_v2_linear_heads2",
        "variant_3d_down_v1_up_v1_key_ratio2",
    ],
)
@pytest.mark.parametrize("finest_kept", [0, 1, 3])
def test_networks_of_the_reference_implementation(golden_case, case, finest_kept):
    """Whose attention is not small."""
    golden = golden_case(case)
    network = golden.network()
    x = golden.golden["input"][None]
    sigma = stages(network)[-1].sigma_convolution is not None
    finest = min(finest_kept, *(len(levels(part)) for part in stages(network)))
    tile = tuple(2 * m for m in network.multiple)
    found = predict_keeping(network, x, finest, tile, sigma)
    assert_equal(found, run_network(network, x, uncertainty=sigma))


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


@pytest.mark.parametrize("finest_kept", [0, 1, 2, 3])
def test_what_is_read_for_a_tile_is_bounded_by_the_halo(finest_kept):
    config = DENOISING.model_copy(update={"features": 1, "attention": AttentionConfigs()})
    network, x = build(config), random_image(config, (1, 2, 40))
    halo = receptive_radius_of_passes(network, finest_kept)

    class Lazy:
        shape = x.shape
        widest = 0

        def __getitem__(self, box):
            part = x[box]
            self.widest = max(self.widest, part.shape[-1])
            return part

    lazy = Lazy()
    found = predict_keeping(network, lazy, finest_kept, (4, 8, 8), sigma=False)
    assert_equal(found, run_network(network, x, uncertainty=False))
    # Boxes are widened to whole voxels of the coarser levels, less than `multiple` in all.
    most = 8 + 2 * halo[-1]
    assert most - 2 * network.multiple[-1] <= lazy.widest < most + 2 * network.multiple[-1]


def test_the_halo_grows_with_what_is_not_kept():
    network = build(DENOISING)
    halos = [receptive_radius_of_passes(network, finest) for finest in (0, 1, 2, 3)]
    assert halos == sorted(halos)
    assert receptive_radius_of_passes(network) == halos[-1]


@given(
    preset=st.sampled_from(["denoising", "label_free"]),
    size=st.tuples(*[st.sampled_from([16, 32, 64, 256, 1024])] * 3),
    memory=st.integers(1, 10**10),
)
@examples(30)
def test_plans_fit_the_memory_wherever_it_can_be(preset, size, memory):
    network = NETWORKS[preset]
    (plan,) = make_plans(network, size, memory)
    assert all(t % m == 0 for t, m in zip(plan.tile, network.multiple, strict=True))
    count = len(levels(network))
    smallest = [
        plan_keeping(network, size, memory, finest, network.multiple) for finest in range(count + 1)
    ]
    least = min(one.kept + one.working for one in smallest)
    assert plan.kept + plan.working <= max(memory, 2 * least)


def test_more_memory_gives_larger_tiles_and_more_kept_maps():
    network, size = NETWORKS["denoising"], (64, 1024, 1024)
    plans = [make_plans(network, size, gigabytes * 10**9)[0] for gigabytes in (1, 4, 16)]
    assert [plan.finest_kept for plan in plans] == [3, 2, 1]
    assert make_plans(network, (16, 32, 32), 10**12)[0].tile == (16, 32, 32)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_kept_maps_take_what_was_planned(preset):
    config = PRESETS[preset].model_copy(update={"features": 4})
    network, x = build(config), random_image(config, (2, 4, 4))
    alive, peaks = weakref.WeakSet(), [0]

    class Watched(InMemory):
        def new_map(self, *arguments):
            kept = super().new_map(*arguments)
            alive.add(kept)
            peaks.append(sum(one.array.nbytes for one in alive))
            return kept

    gc.disable()  # what is not needed any more has to go by itself
    try:
        predict_exact(network, x, memory=PLENTY, runner=Runner(workspace=Watched()))
    finally:
        gc.enable()
    plans = make_plans(network, x.shape[1:], PLENTY)
    assert 0 < max(peaks) <= max(plan.kept for plan in plans)


def test_maps_without_room_in_memory_go_to_disk_and_are_computed_once():
    config = DENOISING.model_copy(update={"features": 4})
    network, x = build(config), random_image(config, (4, 8, 8))
    memory = 500_000  # bytes: a finest map has 262144, and a tile needs more than one
    (in_memory,) = make_plans(network, x.shape[1:], memory)
    (on_disk,) = make_plans(network, x.shape[1:], memory, disk=10**9)
    assert (in_memory.on_disk, in_memory.finest_kept > 0) == (False, True)
    assert (on_disk.on_disk, on_disk.finest_kept) == (True, 0)
    assert on_disk.memory <= memory
    found = predict_exact(network, x, memory=memory)
    assert_equal(found, run_network(network, x, uncertainty=False))


def test_no_more_disk_is_taken_than_there_is():
    network, size = NETWORKS["denoising"], (32, 256, 256)
    (plan,) = make_plans(network, size, 400_000_000, disk=10**9)
    assert plan.on_disk
    (other,) = make_plans(network, size, 400_000_000, disk=plan.kept)
    assert not other.on_disk or other.kept <= plan.kept / 2
    (without,) = make_plans(network, size, 400_000_000)
    assert not without.on_disk


def test_results_are_written_where_they_are_wanted(tmp_path):
    config = DENOISING.model_copy(update={"features": 4, "uncertainty": True})
    network, x = build(config), random_image(config, (2, 4, 4))
    files = [tmp_path / "prediction.npy", tmp_path / "sigma.npy"]
    out = [np.lib.format.open_memmap(file, "w+", np.float32, (1, *x.shape[1:])) for file in files]
    predict_exact(network, x, tile=(8, 8, 8), memory=PLENTY, sigma=True, out=out)
    for array in out:
        array.flush()
    written = tuple(np.load(file) for file in files)
    assert_equal(written, run_network(network, x, uncertainty=True))


def test_several_tiles_at_once():
    config = DENOISING.model_copy(update={"features": 4, "uncertainty": True})
    network, x = build(config), random_image(config, (3, 4, 4))
    found = predict_exact(
        network,
        x,
        tile=(4, 8, 8),
        memory=PLENTY,
        sigma=True,
        runner=Runner(LocalExecutor(at_once=3)),
    )
    assert_equal(found, run_network(network, x, uncertainty=True))


@pytest.mark.parametrize(
    ("shape", "wanted", "message"),
    [
        ((1, 8, 10, 8), {}, "image's sizes (8, 10, 8)"),
        ((1, 8, 8), {}, "image's sizes (8, 8)"),
        ((1, 8, 8, 8), {"tile": (8, 8, 6)}, "tile's sizes (8, 8, 6)"),
        ((1, 8, 8, 8), {"tile": (8, 8, 0)}, "tile's sizes (8, 8, 0)"),
        ((1, 8, 8, 8), {"sigma": True}, "no uncertainty head"),
        ((1, 8, 8, 8), {"out": [np.empty((1, 8, 8, 4))]}, "out has shapes"),
    ],
)
def test_what_does_not_suit_the_network_is_refused_before_any_work(shape, wanted, message):
    network = build(DENOISING.model_copy(update={"features": 4}))
    with pytest.raises(GvtzooError, match=re.escape(message)):
        predict_exact(network, np.zeros(shape, np.float32), memory=PLENTY, **wanted)


@pytest.mark.parametrize("tile", [None, (8, 16, 16)])
def test_running_out_of_memory_is_tried_again_once_with_smaller_tiles(monkeypatch, tile):
    config = DENOISING.model_copy(update={"features": 4})
    network, x = build(config), random_image(config, (2, 4, 8))
    expected = run_network(network, x, uncertainty=False)
    tiles, original = [], exact.predict_planned

    def fail_first(network, image, plans, *others):
        tiles.append(plans[0].tile)
        if len(tiles) == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        original(network, image, plans, *others)

    monkeypatch.setattr(exact, "predict_planned", fail_first)
    assert_equal(predict_exact(network, x, memory=PLENTY, tile=tile), expected)
    assert np.prod(tiles[1]) < np.prod(tiles[0])


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch):
    config = DENOISING.model_copy(update={"features": 4})

    def fail(*arguments):
        raise RuntimeError("something else")

    monkeypatch.setattr(exact, "predict_planned", fail)
    with pytest.raises(RuntimeError, match="something else"):
        predict_exact(build(config), random_image(config, (1, 2, 2)), memory=PLENTY)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("finest_kept", [0, 1, 2])
def test_progress_rises_to_the_end(preset, finest_kept):
    config = PRESETS[preset].model_copy(update={"features": 4})
    network, seen = build(config), []
    predict_keeping(
        network,
        random_image(config, (2, 2, 2)),
        finest_kept,
        network.multiple,
        sigma=False,
        runner=Runner(progress=lambda done, total: seen.append((done, total))),
    )
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert {total for _, total in seen} == {seen[-1][0]}
