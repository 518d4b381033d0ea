"""Predictions from file to file equal those in memory, also when they are killed midway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr
import zarr
from filelock import FileLock
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import demo_images
from gvtzoo.hub.load import load
from gvtzoo.images.files import open_image, read_image, write_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.ome_zarr import written_version
from gvtzoo.images.ome_zarr_writer import ZarrOptions
from gvtzoo.networks import PRESETS
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.importing import reference_normalization
from gvtzoo.prediction.exact import out_of_core as large
from gvtzoo.prediction.exact.journal import Journal
from gvtzoo.prediction.exact.out_of_core import Output, identity_of, predict_large
from gvtzoo.prediction.large import is_large
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import Settings
from gvtzoo.recipes.metadata import default_metadata

MODEL = "gvtnet-denoising-nuclei"
HOW = Settings(device="cpu", engine="torch", tiling="exact", memory=15_000_000)
TOLERANCE = 1e-5  # of the output's range
# OpenVINO's softplus is log(1 + eˣ) as it stands, whose rounding is 1e-7 of 1, not of σ: compared
# over images whose σ differs by 0.3 between voxels, 1.5e-5 of that.
SIGMA_TOLERANCE = 3e-5


@pytest.fixture(scope="module")
def model() -> Model:
    return load(MODEL)


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """A real stack whose sizes the network cannot halve, some of it twice as a second channel."""
    noisy, _ = demo_images()
    return noisy[:13, :62, :90]


@pytest.fixture(scope="module")
def expected(model, stack) -> tuple[xr.DataArray, xr.DataArray]:
    return model.predict(stack, tiling="whole", uncertainty=True, device="cpu", engine="torch")


def predict(model, source, output, settings=HOW, **options):
    predict_large(
        model, open_image(source), output, settings, identity=identity_of(source), **options
    )


def assert_close(found, expected, tolerance=TOLERANCE):
    assert found.dims == expected.dims
    difference = np.abs(found.to_numpy() - expected.to_numpy()).max()
    resolution = 4 * np.spacing(np.abs(expected.to_numpy()).max())  # of float32
    assert difference <= tolerance * np.ptp(expected.to_numpy()) + resolution


@pytest.mark.parametrize(
    ("source", "target"),
    [("a.tif", "b.zarr"), ("a.zarr", "b.tif"), ("a.zarr", "b.zarr"), ("a.npy", "b.npy")],
)
def test_every_format_from_disk_to_disk(tmp_path, model, stack, expected, source, target):
    write_image(tmp_path / source, stack)
    output = Output(tmp_path / target, tmp_path / f"sigma_{target}")
    predict(model, tmp_path / source, output)
    for path, wanted in zip(output.paths, expected, strict=True):
        found = read_image(path)
        assert_close(found, wanted)
        if "npy" not in source + target:
            assert found.attrs == stack.attrs
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [source, target, f"sigma_{target}"]
    )


def test_openvino_from_disk_to_disk(tmp_path, model, stack, expected):
    write_image(tmp_path / "a.tif", stack)
    output = Output(tmp_path / "b.npy", tmp_path / "b_sigma.npy")
    predict(model, tmp_path / "a.tif", output, Settings(**{**vars(HOW), "engine": "openvino"}))
    prediction, sigma = (read_image(path) for path in output.paths)
    assert_close(prediction, expected[0])
    assert_close(sigma, expected[1], SIGMA_TOLERANCE)


@pytest.mark.parametrize("task", ["label_free", "projection"])
def test_other_tasks(tmp_path, stack, task):
    config = PackageConfig(
        task=task,
        network=PRESETS[task].model_copy(update={"features": 4}),
        normalization=reference_normalization("denoising"),
        metadata=default_metadata("a", task),
    )
    model = Model(config.network.build(), config)
    write_image(tmp_path / "a.zarr", stack)
    predict(model, tmp_path / "a.zarr", Output(tmp_path / "b.zarr"))
    wanted = model.predict(stack, tiling="whole", device="cpu")
    assert_close(read_image(tmp_path / "b.zarr"), wanted)


def test_time_and_another_order_of_axes(tmp_path, model, stack):
    pair = xr.concat([stack, 2 * stack], "t").transpose("x", "t", "z", "y")
    write_image(tmp_path / "a.npy", pair)
    image = open_image(tmp_path / "a.npy", axes="XTZY")
    output = Output(tmp_path / "b.zarr")
    predict_large(model, image, output, HOW, identity="")
    wanted = model.predict(pair, tiling="whole", device="cpu").transpose("t", "z", "y", "x")
    assert_close(read_image(output.path), wanted)
    assert zarr.open_group(output.path)["0"].chunks[0] == 1


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_versions_and_pyramids(tmp_path, model, stack, expected, version):
    wide = xr.concat([stack] * 3, "x")
    write_image(tmp_path / "a.zarr", wide)
    options = ZarrOptions(version, pyramid=True)
    predict(model, tmp_path / "a.zarr", Output(tmp_path / "b.zarr", zarr=options))
    assert written_version(tmp_path / "b.zarr") == version
    assert ZarrOptions().suited_to(tmp_path / "b.zarr").version == version
    group = zarr.open_group(tmp_path / "b.zarr", mode="r")
    assert group["1"].shape[1:] == (31, 135)


def test_the_plan_follows_the_memory(model, stack, tmp_path):
    write_image(tmp_path / "a.tif", stack)
    image = open_image(tmp_path / "a.tif")
    assert is_large(model, image, Settings(device="cpu", memory=10**6))
    assert not is_large(model, image, Settings(device="cpu", memory=10**10))
    assert is_large(model, image, HOW)


class StoppedError(Exception):
    """In place of a signal."""


@pytest.mark.parametrize(
    ("target", "at"), [("b.zarr", 0.1), ("b.tif", 0.5), ("b.zarr", 0.9), ("b.tif", 0.99)]
)
def test_what_was_stopped_continues(tmp_path, model, stack, expected, monkeypatch, target, at):
    monkeypatch.setattr("gvtzoo.prediction.exact.journal.INTERVAL", 0)
    write_image(tmp_path / "a.tif", stack)
    output = Output(tmp_path / target)

    def stop(done, total):
        if done >= at * total:
            raise StoppedError

    with pytest.raises(StoppedError):
        predict(model, tmp_path / "a.tif", output, progress=stop)
    assert not output.path.exists()
    seen = []
    # Other settings of speed do not change what is predicted; the tiles stay as they were.
    how = Settings(device="cpu", tiling="exact", memory=60_000_000)
    predict(
        model,
        tmp_path / "a.tif",
        output,
        how,
        progress=lambda done, total: seen.append(done / total),
    )
    assert_close(read_image(output.path), expected[0])
    tiles = {share for share in seen if share > 0}
    assert len([share for share in tiles if share < at - 0.2]) <= 8 * at  # ends of passes only


def test_another_image_is_not_continued(tmp_path, model, stack, expected, caplog):
    output = Output(tmp_path / "b.tif")
    write_image(tmp_path / "a.tif", stack + 100)

    def stop(done, total):
        if done > total / 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        predict(model, tmp_path / "a.tif", output, progress=stop)
    write_image(tmp_path / "a.tif", stack, overwrite=True)
    predict(model, tmp_path / "a.tif", output)
    assert "is of another prediction" in caplog.text
    assert_close(read_image(output.path), expected[0])


def test_killed_and_continued(tmp_path, stack, expected):
    write_image(tmp_path / "a.zarr", xr.concat([stack] * 2, "x"))
    command = [sys.executable, "-m", "gvtzoo", "predict", MODEL, tmp_path / "a.zarr"]
    command += ["-o", tmp_path / "b.zarr", "--tiling", "exact", "--memory", "20MB"]
    command = [*map(str, command), "--device", "cpu"]
    process = subprocess.Popen(command, start_new_session=True)
    partial = tmp_path / ".b.zarr.partial"
    deadline = time.monotonic() + 100
    while not list(partial.glob("frame-0/pass-1.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert partial.is_dir() and not (tmp_path / "b.zarr").exists()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "b.zarr: continuing what was interrupted" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]
    whole = load(MODEL).predict(read_image(tmp_path / "a.zarr"), tiling="whole", device="cpu")
    assert_close(read_image(tmp_path / "b.zarr"), whole)


def test_a_damaged_chunk_is_told_and_nothing_passes_for_a_result(tmp_path, model, stack):
    write_image(tmp_path / "a.zarr", stack)
    chunk = max((tmp_path / "a.zarr" / "0" / "c").rglob("0"), key=lambda path: path.is_file())
    chunk.write_bytes(b"damaged")
    with pytest.raises(GvtzooError, match=r"a.zarr: the voxels .* cannot be read"):
        predict(model, tmp_path / "a.zarr", Output(tmp_path / "b.zarr"))
    assert not (tmp_path / "b.zarr").exists()


def test_a_full_disk_is_told_and_what_is_done_stays(tmp_path, model, stack, expected, monkeypatch):
    write_image(tmp_path / "a.tif", stack)
    output = Output(tmp_path / "b.zarr")
    original, count = large.Journal.finish, [0]

    def full(self, *arguments):
        count[0] += 1
        if count[0] == 3:
            raise OSError(28, "No space left on device")
        original(self, *arguments)

    monkeypatch.setattr(Journal, "finish", full)
    with pytest.raises(GvtzooError, match=r"b.zarr cannot be written: No space left .* continues"):
        predict(model, tmp_path / "a.tif", output)
    assert not output.path.exists()
    predict(model, tmp_path / "a.tif", output)
    assert_close(read_image(output.path), expected[0])


def test_running_out_of_memory_is_tried_again_once(
    tmp_path, model, stack, expected, monkeypatch, caplog
):
    write_image(tmp_path / "a.tif", stack)
    output = Output(tmp_path / "b.zarr")
    tiles, original = [], large.predict_exact

    def fail_first(*arguments, plans, **others):
        tiles.append(plans[0].tile)
        if len(tiles) == 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return original(*arguments, plans=plans, **others)

    monkeypatch.setattr(large, "predict_exact", fail_first)
    predict(model, tmp_path / "a.tif", output)
    assert "b.zarr: out of memory, trying smaller tiles" in caplog.text
    assert np.prod(tiles[1]) < np.prod(tiles[0])
    assert_close(read_image(output.path), expected[0])


def test_two_at_once_are_refused(tmp_path, model, stack):
    write_image(tmp_path / "a.tif", stack)
    with (
        FileLock(tmp_path / ".b.tif.lock"),
        pytest.raises(GvtzooError, match="another process is predicting into this output"),
    ):
        predict(model, tmp_path / "a.tif", Output(tmp_path / "b.tif"))


def test_what_exists_is_replaced_only_when_asked_and_last(tmp_path, model, stack):
    write_image(tmp_path / "a.tif", stack)
    write_image(tmp_path / "b.zarr", stack)
    with pytest.raises(GvtzooError, match="exists"):
        predict(model, tmp_path / "a.tif", Output(tmp_path / "b.zarr"))
    predict(model, tmp_path / "a.tif", Output(tmp_path / "b.zarr", overwrite=True))
    assert read_image(tmp_path / "b.zarr").dtype == np.float32


def test_what_does_not_suit_is_refused_before_any_work(tmp_path, model, stack):
    write_image(tmp_path / "a.tif", stack)
    with pytest.raises(GvtzooError, match=r"written as .zarr, .tif or .npy"):
        predict(model, tmp_path / "a.tif", Output(tmp_path / "b.npz"))
    write_image(tmp_path / "p.npy", xr.concat([stack, stack], "p"))
    image = open_image(tmp_path / "p.npy", axes="PZYX")
    with pytest.raises(GvtzooError, match="no axis P"):
        predict_large(model, image, Output(tmp_path / "b.zarr"), HOW, identity="")
    channels = LazyImage(np.stack([stack, stack]), ("c", "z", "y", "x"))
    with pytest.raises(GvtzooError, match="choose a channel"):
        predict_large(model, channels, Output(tmp_path / "b.zarr"), HOW, identity="")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "p.npy"]


def test_the_command_reads_and_writes_zarr(tmp_path, stack, expected):
    write_image(tmp_path / "a.zarr", stack, zarr=ZarrOptions("0.4"))
    for name, more in (
        ("whole", ["--memory", "9GB"]),
        ("exact", ["--tiling", "exact"]),
    ):
        target = tmp_path / f"{name}.zarr"
        command = ["predict", MODEL, str(tmp_path / "a.zarr"), "-o", str(target), "--uncertainty"]
        result = CliRunner().invoke(app, [*command, "--device", "cpu", "--engine", "torch", *more])
        assert result.exit_code == 0, result.output
        assert written_version(target) == "0.4"
        assert_close(read_image(target), expected[0])
        assert_close(read_image(tmp_path / f"{name}_sigma.zarr"), expected[1])


@pytest.mark.parametrize("kind", ["changed", "new", "gone"])
def test_an_image_whose_chunks_change_is_another_one(tmp_path, stack, kind):
    """Its folder stays as it is."""
    path = tmp_path / "a.zarr"
    write_image(path, stack)
    before = identity_of(path)
    assert identity_of(path) == before
    chunk = next(file for file in sorted((path / "0" / "c").rglob("*")) if file.is_file())
    if kind == "changed":
        os.utime(chunk, ns=(1, 1))
    elif kind == "new":
        chunk.with_name("another").write_bytes(b"")
    else:
        chunk.unlink()
    assert identity_of(path) != before
