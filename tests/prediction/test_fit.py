"""Whether an image is like those that a model was trained on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from command_line import invoke as run

import gvtzoo
from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import open_image, read_image
from gvtzoo.prediction.fit import check_fit
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import Settings

NAME = "gvtnet-denoising-nuclei"


@pytest.fixture(scope="module")
def model():
    return gvtzoo.load(NAME)


@pytest.fixture(scope="module")
def stack(pytestconfig):
    return read_image(pytestconfig.rootpath / "zoo" / NAME / "test_stack.tif")


@pytest.fixture(scope="module")
def noisy(stack):
    from gvtzoo.training.data.camera import camera_noise

    noise = camera_noise(stack.to_numpy(), photons=8, generator=np.random.default_rng(0))
    return stack.copy(data=noise)


@pytest.fixture(scope="module")
def only_noise(noisy):
    return noisy.copy(data=np.random.default_rng(0).normal(100, 10, noisy.shape))


def test_held_out_stack_fits(model, noisy):
    fit = model.fit(noisy)
    assert fit.fits and fit.distance <= 1 and not fit.reasons
    assert str(fit) == "fits the training images"


def test_noise_is_unlike(model, only_noise):
    fit = model.fit(only_noise)
    assert not fit.fits and "nothing but noise" in str(fit)


def test_voxels_are_told_with_numbers(model, noisy):
    large = noisy.assign_attrs(pixel_size={"z": 0.29, "y": 1.04, "x": 1.04}, unit="micrometer")
    assert "voxel size: pixels of 1.04 µm, trained on 0.26 µm" in str(model.fit(large))
    assert "1.04" not in str(model.fit(large, pixel_size=0.26))


def test_a_plane_is_unlike_stacks(model, noisy):
    fit = model.fit(noisy.isel(z=10).to_numpy(), axes="YX")
    assert not fit.fits and "2D" in str(fit) and np.isinf(fit.distance)


def test_without_fingerprint_nothing_is_said(model, noisy, caplog):
    bare = Model(model.network, model.config.model_copy(update={"fingerprint": None}), "bare")
    assert bare.fit(noisy) is None
    part = noisy[:8, :32, :32]
    assert "fit" not in bare.predict(part).attrs and not caplog.records
    with pytest.raises(GvtzooError, match="bare has no fingerprint"):
        bare.predict(part, strict=True)


def test_fingerprint_of_another_version_is_not_compared(model, noisy):
    other = model.config.fingerprint.model_copy(update={"version": 2})
    config = model.config.model_copy(update={"fingerprint": other})
    assert Model(model.network, config).fit(noisy) is None


def test_small_and_constant_images_are_predicted_all_the_same(model):
    small = np.random.default_rng(0).normal(size=(4, 8, 8))
    assert model.fit(small, axes="ZYX") is None
    assert model.predict(small, axes="ZYX").shape == small.shape


def test_prediction_keeps_the_verdict_and_warns(model, only_noise, caplog):
    result = model.predict(only_noise[:8, :32, :32])
    assert result.attrs["fit"].startswith("unlike the training images in ")
    assert "unlike the training images" in caplog.text


def test_times_are_all_looked_at(model, noisy, only_noise):
    movie = xr.concat([noisy, only_noise, only_noise], "t").assign_attrs(noisy.attrs)
    opened = model.suit(gvtzoo.images.lazy.LazyImage.of(movie))
    assert check_fit(model, opened, Settings()) is not None


@pytest.fixture
def files(tmp_path, noisy, only_noise):
    box = (slice(0, 16), slice(0, 64), slice(0, 64))
    for name, image in (("good", noisy), ("noise", only_noise)):
        values = image.to_numpy()[box].astype(np.float32)
        metadata = {"axes": "ZYX", "spacing": 0.29, "unit": "um"}
        tifffile.imwrite(tmp_path / f"{name}.tif", values, imagej=True, metadata=metadata,
                         resolution=(1 / 0.26, 1 / 0.26))  # fmt: skip
    return tmp_path


def test_command_says_it_and_files_keep_it(files):
    done = run("predict", NAME, files / "noise.tif", "-o", files / "out.tif")
    assert done.exit_code == 0
    (line,) = [text for text in done.stderr.splitlines() if "training images" in text]
    assert line.startswith(f"noise.tif is unlike the training images of {NAME} in ")
    with tifffile.TiffFile(files / "out.tif") as tiff:
        assert tiff.imagej_metadata["gvtzoo_fit"].startswith("unlike the training images")
    assert run("predict", NAME, files / "noise.tif", "-o", files / "out.zarr").exit_code == 0
    kept = zarr.open_group(files / "out.zarr", mode="r").attrs["gvtzoo"]
    assert kept["fit"].startswith("unlike the training images")
    assert open_image(files / "out.zarr").sizes == {"z": 16, "y": 64, "x": 64}


def test_tiles_keep_it_too(files):
    out = files / "tiles.ome.tif"
    done = run("predict", NAME, files / "noise.tif", "-o", out, "--tiling", "exact")
    assert done.exit_code == 0, done.stderr
    with tifffile.TiffFile(out) as tiff:
        assert "unlike the training images" in tiff.ome_metadata


def test_strict_refuses_in_one_line_and_writes_nothing(files):
    done = run("predict", NAME, files / "noise.tif", "-o", files / "out.tif", "--strict")
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1 and "unlike the training images" in done.stderr
    assert sorted(path.name for path in files.iterdir()) == ["good.tif", "noise.tif"]


def test_recommend_ranks_and_says_what_next(files, monkeypatch):
    said = []
    monkeypatch.setattr("gvtzoo.cli.recommend.next_step", said.append)
    done = run("recommend", files / "noise.tif", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["name"]: row for row in found["models"]}
    assert not rows[NAME]["fit"]["fits"] and rows[NAME]["score"] is not None
    assert rows["gvtnet-label-free-phase-to-dapi"]["usable"] is False
    assert found["models"][-1]["usable"] is False
    assert not done.stderr
    assert said[0].startswith("no model here was trained on images like this one: fine-tune one")


def test_who_is_refused_is_not_told_what_would_have_been_done(files, caplog):
    plane = files / "plane.tif"
    tifffile.imwrite(plane, tifffile.imread(files / "noise.tif")[0])
    refused = run("predict", NAME, plane, "-o", files / "p.tif", "--strict")
    assert refused.exit_code == 1
    assert "unlike the training images" in refused.stderr
    assert "stack of one plane" not in caplog.text + refused.stderr
    assert run("predict", NAME, plane, "-o", files / "p.tif").exit_code == 0
    assert "stack of one plane" in caplog.text
