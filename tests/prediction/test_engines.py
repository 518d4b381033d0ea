"""Every engine predicts what the network computes in PyTorch."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import configs, examples

import gvtzoo
from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import demo_images
from gvtzoo.networks import GVTO, PRESETS
from gvtzoo.networks.operators import SoftmaxAttention
from gvtzoo.prediction import engines, openvino
from gvtzoo.prediction.engines import Engines, make_engine
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.execution import Runner
from gvtzoo.prediction.exact.graphs import Graphs
from gvtzoo.prediction.pytorch import TorchEngine, run_network
from gvtzoo.prediction.settings import Settings

TOLERANCE = 2e-6  # of the output's range
PLENTY = 10**10  # bytes
IMAGE = torch.zeros(1, 1, 16, 16)
ON_CPU = {"device": "cpu"}


def build(config, seed=0):
    """A network whose attention matters."""
    torch.manual_seed(seed)
    network = config.build().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, GVTO):
            module.value.convolution.weight.mul_(3)
            module.output.convolution.weight.mul_(3)
    return network


def random_image(network, factor, channels=1):
    shape = (channels, *(factor * m for m in network.multiple))
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        resolution = 4 * np.spacing(np.abs(other).max())
        assert np.abs(one - other).max() <= TOLERANCE * np.ptp(other) + resolution


@given(config=configs(), factor=st.integers(1, 3))
@examples(6)
def test_whole_images_of_every_network(config, factor):
    network = build(config)
    image = random_image(network, factor, config.input_channels)
    engine = engines.OpenVINOEngine(network, "float32")
    for uncertainty in {False, config.uncertainty}:
        close(engine.run(image, uncertainty), run_network(network, image, uncertainty))


WHERE_THREADS_RUN = """
import os, pathlib, threading, time
from contextlib import suppress
import numpy as np
from gvtzoo.networks import PRESETS
from gvtzoo.prediction.engines import OpenVINOEngine

free = os.sched_getaffinity(0)
config = PRESETS["denoising"].model_copy(update={"features": 8})
engine = OpenVINOEngine(config.build().eval().requires_grad_(False), "float32")
image = np.zeros((1, 16, 64, 64), np.float32)
engine.run(image, False)
done, seen = threading.Event(), []

def look():
    while not done.is_set():
        time.sleep(0.001)
        for path in pathlib.Path("/proc/self/task").iterdir():
            with suppress(OSError):  # a thread that has ended
                seen.append(os.sched_getaffinity(int(path.name)))

watch = threading.Thread(target=look)
watch.start()
for _ in range(3):
    engine.run(image, False)
done.set()
watch.join()
assert len(seen) > 10
assert all(processors == free for processors in seen)
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="there is one processor, or nobody says on which a thread may run",
)
def test_processes_beside_each_other_do_not_share_a_processor():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WHERE_THREADS_RUN],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@given(config=configs(), factor=st.integers(1, 3), memory=st.sampled_from([PLENTY, 200_000]))
@examples(6)
def test_exact_tiles_of_every_network(config, factor, memory):
    network = build(config)
    if any(isinstance(module, SoftmaxAttention) for module in network.modules()):
        return  # computed by PyTorch
    image = random_image(network, factor + 1, config.input_channels)
    runner = Runner(compiled=Graphs("float32"))
    tile = tuple(factor * m for m in network.multiple)
    found = predict_exact(network, image, memory=memory, tile=tile, runner=runner)
    close(found, run_network(network, image, uncertainty=False))


@pytest.mark.parametrize("name", PRESETS)
def test_the_papers_networks_in_tiles(name):
    network = build(PRESETS[name])
    image = random_image(network, 3)
    runner = Runner(compiled=Graphs("float32"))
    tile = network.multiple
    found = predict_exact(network, image, memory=3 * 10**6, tile=tile, runner=runner)
    close(found, run_network(network, image, uncertainty=False))


def test_bfloat16_is_coarser_and_not_more():
    model = gvtzoo.load("gvtnet-denoising-nuclei")
    stack = demo_images()[0].to_numpy()[10:26, :48, :64]
    exact = model.predict(stack, axes="ZYX", engine="torch", **ON_CPU).to_numpy()
    for tiling in ("whole", "exact"):
        coarse = model.predict(
            stack, axes="ZYX", engine="openvino", dtype="bfloat16", tiling=tiling, **ON_CPU
        ).to_numpy()
        assert np.abs(coarse - exact).max() < 0.05 * np.ptp(exact)
        assert np.corrcoef(coarse.ravel(), exact.ravel())[0, 1] > 0.995


@pytest.fixture
def demo_stack():
    return np.random.default_rng(0).poisson(20, size=(8, 20, 28)).astype(np.uint16)


@pytest.mark.parametrize("tiling", ["whole", "exact", "blocks"])
def test_a_model_predicts_the_same_by_every_engine(demo_stack, tiling):
    model = gvtzoo.load("gvtnet-denoising-nuclei")
    options = {"axes": "ZYX", "uncertainty": True, "tiling": tiling, "block": (8, 16, 16)}
    expected, found = (
        model.predict(demo_stack, engine=engine, **options, **ON_CPU)
        for engine in ("torch", "openvino")
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5 * float(np.ptp(other.to_numpy())))


def test_openvino_is_taken_on_the_cpu_where_it_can_compute():
    network = build(PRESETS["denoising"])
    assert isinstance(make_engine(network, Settings(**ON_CPU)), engines.OpenVINOEngine)
    half = make_engine(network, Settings(dtype="float16", **ON_CPU))
    assert isinstance(half, TorchEngine)


def test_without_openvino_torch_predicts(monkeypatch):
    monkeypatch.setattr(openvino, "find_spec", lambda name: None)
    network = build(PRESETS["denoising"])
    assert isinstance(make_engine(network, Settings(**ON_CPU)), TorchEngine)
    with pytest.raises(GvtzooError, match=r"pip install openvino.*--engine torch"):
        make_engine(network, Settings(engine="openvino", **ON_CPU))


def test_what_openvino_cannot_is_said():
    network = build(PRESETS["denoising"])
    with pytest.raises(GvtzooError, match=r"float16.*--engine torch"):
        make_engine(network, Settings(engine="openvino", dtype="float16", **ON_CPU))


def test_changed_weights_are_seen():
    network = build(PRESETS["denoising"])
    kept = Engines()
    first = kept.of(network, Settings(**ON_CPU))
    assert kept.of(network, Settings(**ON_CPU)) is first
    network.output_convolution.convolution.weight.data.mul_(2)
    assert kept.of(network, Settings(**ON_CPU)) is not first


def test_graphs_are_pickled_uncompiled():
    network = build(PRESETS["denoising"])
    example = torch.zeros(1, 1, *(2 * m for m in network.multiple))
    graph = openvino.Graph(openvino.export(network, [example]))
    image = random_image(network, 2)[None]
    (expected,) = graph(image)
    (found,) = pickle.loads(pickle.dumps(graph))(image)
    np.testing.assert_array_equal(found, expected)


def test_the_graph_of_a_package_predicts_until_its_weights_change(demo_stack):
    """Torch's network is not built for it, and is what predicts once it is other than packaged."""
    model = gvtzoo.load("gvtnet-denoising-nuclei")
    options = {"axes": "ZYX", "engine": "openvino", **ON_CPU}
    packaged = model.predict(demo_stack, **options)
    assert "network" not in vars(model._network)
    engine = model.engine(Settings(engine="openvino", **ON_CPU))
    assert model.network and model.engine(Settings(engine="openvino", **ON_CPU)) is engine
    model.network.output_convolution.convolution.weight.data.mul_(2)
    changed = model.predict(demo_stack, **options)
    expected = model.predict(demo_stack, **{**options, "engine": "torch"})
    np.testing.assert_allclose(changed, expected, atol=2e-5 * float(np.ptp(expected.to_numpy())))
    assert not np.allclose(changed, packaged, atol=1e-3 * float(np.ptp(packaged.to_numpy())))


def test_a_graph_gives_its_memory_back():
    """Each pass over tiles has one, and each image: none may stay when it is not needed."""
    convolution = torch.nn.Conv2d(1, 32, 3, padding=1)
    onnx = openvino.export(torch.nn.Sequential(convolution, torch.nn.Conv2d(32, 1, 1)), [IMAGE])
    process = psutil.Process()
    taken = []
    for _ in range(6):
        openvino.Graph(onnx)(np.zeros((1, 1, 512, 512), np.float32))
        taken.append(process.memory_info().rss)
    assert max(taken[2:]) - taken[1] < 32 * 4 * 512**2


def test_a_graph_takes_images_of_any_size():
    network = build(PRESETS["denoising"])
    onnx = openvino.export(network, [torch.zeros(1, 1, *(2 * m for m in network.multiple))])
    graph = openvino.Graph(onnx)
    for factor in (2, 3, 2):
        image = random_image(network, factor)
        close(graph(image[None])[0], run_network(network, image, uncertainty=False))
