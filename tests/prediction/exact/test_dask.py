"""Predictions on several workers equal those in one process, also when a worker dies."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import demo_images
from gvtzoo.hub.load import load
from gvtzoo.images.files import open_image, read_image, write_image
from gvtzoo.networks import NetworkConfig
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.dask import DaskExecutor, cluster, memory_of_workers
from gvtzoo.prediction.exact.execution import OnDisk, Runner
from gvtzoo.prediction.exact.journal import Journal
from gvtzoo.prediction.exact.out_of_core import Output, predict_large
from gvtzoo.prediction.exact.plan import make_plans
from gvtzoo.prediction.pytorch import run_network
from gvtzoo.prediction.settings import Settings

pytestmark = pytest.mark.slow  # each starts processes that import everything

MODEL = "gvtnet-denoising-nuclei"
HOW = Settings(device="cpu", tiling="exact", memory=15_000_000)
TOLERANCE = 1e-5  # of the output's range


@pytest.fixture(scope="module")
def client():
    with cluster(None, 2, 10**9) as client:
        client.wait_for_workers(2, timeout=100)
        yield client


def assert_close(found, expected):
    assert np.abs(found - expected).max() <= TOLERANCE * np.ptp(expected)


def test_a_worker_is_killed_midway(tmp_path, client):
    model = load(MODEL)
    noisy, _ = demo_images()
    stack = noisy[20:34, :60]
    write_image(tmp_path / "a.zarr", stack)
    image, killed = open_image(tmp_path / "a.zarr"), []

    def kill_once(done, total):
        if done > 0.4 * total and not killed:
            workers = client.run(os.getpid)
            killed.append(workers.popitem()[1])
            os.kill(killed[0], signal.SIGKILL)

    output = Output(tmp_path / "b.zarr", tmp_path / "sigma.zarr")
    predict_large(model, image, output, HOW, identity="", client=client, progress=kill_once)
    assert killed
    expected = model.predict(stack, tiling="whole", uncertainty=True, device="cpu")
    for path, wanted in zip(output.paths, expected, strict=True):
        assert_close(read_image(path).to_numpy(), wanted.to_numpy())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "sigma.zarr"]


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(
            features=4,
            depth=3,
            encoder_blocks=(1, 0, 0),
            downsampling=("gvto_v1", "gvto_v2"),
            upsampling=("gvto_v2", "gvto_v1"),
            decoder_blocks=(1, 0),
            attention={"same": {"softmax": True}},
            uncertainty=True,
        ),
        NetworkConfig(
            architecture="projection",
            features=4,
            bottom=("gvto",),
            depth=2,
            encoder_blocks=(1, 0),
            downsampling=("convolution",),
            upsampling=("gvto_v2",),
            decoder_blocks=(1,),
            skip="concatenate",
            add_input=True,
            uncertainty=True,
        ),
    ],
    ids=["operators with and without softmax", "projection"],
)
def test_every_kind_of_pass(tmp_path, client, config):
    import zarr

    network = config.build().eval()
    x = np.random.default_rng(0).normal(size=(1, 8, 32, 48)).astype(np.float32)
    dimensions = config.output_dimensions
    out = [
        zarr.create_array(
            tmp_path / f"{name}.zarr",
            shape=(1, *x.shape[-dimensions:]),
            chunks=(1, *config.multiple[-dimensions:]),
            dtype="f4",
        )
        for name in ("prediction", "sigma")
    ]
    plans = make_plans(network, x.shape[1:], 10**9, tuple(2 * m for m in config.multiple))
    runner = Runner(
        DaskExecutor(client, tmp_path, "cpu"), OnDisk(tmp_path), Journal(tmp_path), lambda *_: None
    )
    predict_exact(network, x, sigma=True, out=out, plans=plans, runner=runner)
    for found, wanted in zip(out, run_network(network, x, uncertainty=True), strict=True):
        assert_close(found[...], wanted)


def test_an_error_on_a_worker_is_that_of_the_image(tmp_path, client):
    noisy, _ = demo_images()
    write_image(tmp_path / "a.zarr", noisy[:8, :48, :48])
    image = open_image(tmp_path / "a.zarr")
    folder = tmp_path / ".b.zarr.partial" / "frame-0"

    def damage_once(done, total):
        for path in (tmp_path / "a.zarr" / "0" / "c").rglob("*"):
            if path.is_file():
                path.write_bytes(b"damaged")

    with pytest.raises(GvtzooError, match=r"a.zarr: the voxels .* cannot be read"):
        predict_large(
            load(MODEL),
            image,
            Output(tmp_path / "b.zarr"),
            HOW,
            identity="",
            client=client,
            progress=damage_once,
        )
    assert folder.is_dir() and not (tmp_path / "b.zarr").exists()


def test_the_command_starts_workers_of_its_own(tmp_path):
    noisy, _ = demo_images()
    stack = noisy[:8, :40, :40]
    write_image(tmp_path / "a.tif", stack)
    command = ["predict", MODEL, str(tmp_path / "a.tif"), "--device", "cpu", "--workers", "1"]
    refused = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "b.tif")])
    assert refused.exit_code == 1
    assert "several workers write into .zarr only" in refused.stderr
    result = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "b.zarr")])
    assert result.exit_code == 0, result.output
    expected = load(MODEL).predict(stack, tiling="whole", device="cpu")
    assert_close(read_image(tmp_path / "b.zarr").to_numpy(), expected.to_numpy())


def test_a_scheduler_elsewhere(tmp_path, client):
    noisy, _ = demo_images()
    stack = noisy[:8, :40, :40]
    write_image(tmp_path / "a.tif", stack)
    command = ["predict", MODEL, str(tmp_path / "a.tif"), "-o", str(tmp_path / "b.zarr")]
    address = client.scheduler.address
    result = CliRunner().invoke(app, [*command, "--device", "cpu", "--scheduler", address])
    assert result.exit_code == 0, result.output
    expected = load(MODEL).predict(stack, tiling="whole", device="cpu")
    assert_close(read_image(tmp_path / "b.zarr").to_numpy(), expected.to_numpy())
    assert memory_of_workers(client) == pytest.approx(0.6 * (10**9 + 2**30), rel=0.01)


def test_no_scheduler_is_told():
    with (
        pytest.raises(GvtzooError, match="no Dask scheduler at tcp"),
        cluster("tcp://127.0.0.1:1", None, None),
    ):
        pass
