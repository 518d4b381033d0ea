"""Packages of others: any size predicts, what is stated holds, and no code runs unasked."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
from foreign_packages import blur, make_package
from scipy.ndimage import uniform_filter
from typer.testing import CliRunner

import gvtzoo
from gvtzoo.bioimageio.model import BioimageioModel
from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import read_image


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def inside(array: np.ndarray, margin: int = 1) -> np.ndarray:
    return array[(..., *(slice(margin, -margin),) * 2)]


@pytest.mark.parametrize("weights", ["torchscript", "onnx"])
@pytest.mark.parametrize("old", [False, True])
def test_predicts_by_each_format_at_sizes_off_the_grid(tmp_path, weights, old):
    package = make_package(tmp_path / "package.zip", formats=[weights], old=old)
    image = image_of(13, 21)
    prediction = gvtzoo.load(package).predict(image, device="cpu")
    assert prediction.dims == ("y", "x")
    expected = uniform_filter(image, 3)
    np.testing.assert_allclose(inside(prediction.to_numpy()), inside(expected), atol=1e-5)


def test_3d_with_several_channels_and_time(tmp_path):
    package = make_package(
        tmp_path / "package.zip", dimensions=3, channels=2, outputs=3, formats=["torchscript"]
    )
    image = xr.DataArray(
        image_of(2, 5, 2, 9, 11),
        dims=("t", "z", "c", "y", "x"),
        attrs={"pixel_size": {"z": 0.5, "y": 0.2, "x": 0.2}, "unit": "micrometer"},
    )
    model = gvtzoo.load(package)
    assert (model.axes, model.output_axes) == (("c", "z", "y", "x"),) * 2
    seen = []
    prediction = model.predict(image, device="cpu", progress=lambda *done: seen.append(done))
    assert prediction.dims == ("t", "z", "c", "y", "x")
    assert prediction.shape == (2, 5, 3, 9, 11)
    assert prediction.attrs == image.attrs
    assert seen == [(1, 2), (2, 2)]
    second = image.isel(t=1).mean("c").to_numpy()
    expected = uniform_filter(second, 3)[1:-1, 1:-1, 1:-1] + 2
    found = prediction.isel(t=1, c=2).to_numpy()[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("old", [False, True])
def test_blocks_with_the_stated_halo_give_the_whole_result(tmp_path, old):
    package = make_package(
        tmp_path / "package.zip", halo=2, size=(16, 4), formats=["torchscript"], old=old,
        percentiles=True,
    )  # fmt: skip
    image = image_of(37, 50)
    model = gvtzoo.load(package)
    whole = model.predict(image, device="cpu", tiling="whole").to_numpy()
    seen = []
    blocks = model.predict(
        image, device="cpu", block=(16, 20), progress=lambda *done: seen.append(done)
    )
    assert len(seen) == 4 * 4  # of 16 - 2·2 rows and 20 - 2·2 columns
    np.testing.assert_allclose(blocks.to_numpy(), whole, atol=1e-5)
    low, high = np.percentile(image, (1, 99))
    expected = uniform_filter((image - low) / (high - low), 3, mode="mirror")
    np.testing.assert_allclose(whole, expected, atol=1e-4)


def test_networks_of_one_size_take_any_image(tmp_path):
    package = make_package(tmp_path / "package.zip", halo=4, size=24, formats=["torchscript"])
    model = gvtzoo.load(package)
    for shape in ((10, 24), (40, 61)):
        image = image_of(*shape)
        prediction = model.predict(image, device="cpu").to_numpy()
        expected = uniform_filter(image, 3, mode="mirror")
        np.testing.assert_allclose(prediction, expected, atol=1e-5)


class Enlarge(torch.nn.Module):
    def forward(self, x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


class Shrink(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)


@pytest.mark.parametrize("tiling", ["whole", "blocks"])
@pytest.mark.parametrize(("network", "scale"), [(Enlarge(), 2.0), (Shrink(), 0.5)])
def test_outputs_of_another_scale(tmp_path, network, scale, tiling):
    package = make_package(
        tmp_path / "package.zip", network=network, scale=scale, formats=["torchscript"]
    )
    image = xr.DataArray(
        image_of(18, 22),
        dims=("y", "x"),
        attrs={"pixel_size": {"y": 0.2, "x": 0.2}, "unit": "micrometer"},
    )
    settings = {} if tiling == "whole" else {"block": (12, 12), "overlap": (4, 4)}
    prediction = gvtzoo.load(package).predict(image, device="cpu", tiling=tiling, **settings)
    with torch.no_grad():
        expected = network(torch.from_numpy(image.to_numpy())[None, None])[0, 0].numpy()
    np.testing.assert_allclose(prediction.to_numpy(), expected, atol=1e-6)
    assert prediction.attrs["pixel_size"] == {"y": 0.2 / scale, "x": 0.2 / scale}


class Project(torch.nn.Module):
    def forward(self, x):
        return x.amax(2)


def test_outputs_without_z(tmp_path):
    package = make_package(
        tmp_path / "package.zip", dimensions=3, network=Project(), flat=True,
        formats=["torchscript"],
    )  # fmt: skip
    image = image_of(6, 17, 20)
    prediction = gvtzoo.load(package).predict(image, device="cpu", tiling="blocks", block=(8, 16, 16), overlap=(0, 4, 4))  # fmt: skip  # noqa: E501
    assert prediction.dims == ("y", "x")
    np.testing.assert_array_equal(prediction.to_numpy(), image.max(0))


@pytest.mark.parametrize("old", [False, True])
def test_code_of_a_network_runs_with_trust_only(tmp_path, old):
    effect = tmp_path / "ran"
    package = make_package(
        tmp_path / "package.zip", formats=["pytorch_state_dict"], effect=effect, old=old
    )
    image = image_of(13, 21)
    with pytest.raises(GvtzooError, match="--trust"):
        gvtzoo.load(package)
    for command in (("predict", package, package, "-o", tmp_path / "o.tif"), ("test", package)):
        done = invoke(*command)
        assert done.exit_code == 1
        assert "trust" in str(done.exception)
    assert invoke("info", package).exit_code == 0
    assert not effect.exists()
    prediction = gvtzoo.load(package, trust=True).predict(image, device="cpu")
    assert effect.exists()
    expected = uniform_filter(image, 3)
    np.testing.assert_allclose(inside(prediction.to_numpy()), inside(expected), atol=1e-5)


def test_formats_without_code_are_preferred(tmp_path):
    effect = tmp_path / "ran"
    package = make_package(tmp_path / "package.zip", effect=effect)
    model = gvtzoo.load(package, trust=True)
    model.predict(image_of(9, 9), device="cpu")
    assert model.weights == "torchscript"
    assert not effect.exists()


def test_processing_of_its_own_runs_with_trust_only(tmp_path):
    effect = tmp_path / "ran"
    package = make_package(tmp_path / "package.zip", formats=["torchscript"], custom=effect)
    with pytest.raises(GvtzooError, match=r"code of its own.*--trust"):
        gvtzoo.load(package)
    assert invoke("test", package).exit_code == 1
    assert not effect.exists()
    gvtzoo.load(package, trust=True).predict(image_of(9, 9), device="cpu")
    assert effect.exists()


def test_a_second_description_in_the_zip_is_not_believed(tmp_path):
    effect = tmp_path / "ran"
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    other = make_package(tmp_path / "other.zip", formats=["torchscript"], custom=effect)
    with zipfile.ZipFile(package, "a") as archive, zipfile.ZipFile(other) as hidden:
        archive.writestr("bioimageio.yaml", hidden.read("rdf.yaml"))
        archive.writestr("steps.py", hidden.read("steps.py"))
    gvtzoo.load(package).predict(image_of(9, 9), device="cpu")
    assert invoke("test", package).exit_code == 0
    assert not effect.exists()


def swap(old: bytes, new: bytes):
    return lambda text: text.replace(old, new)


def rewrite(package, change, name="rdf.yaml"):
    with zipfile.ZipFile(package) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    files[name] = change(files[name])
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(member, content)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("torchscript.pt", lambda content: content[:-9] + b"123456789", "SHA-256"),
        ("rdf.yaml", swap(b"source: torch", b"source: ../torch"), "valid|file"),
        ("rdf.yaml", swap(b"torchscript:", b"keras_hdf5:"), "keras|valid"),
        ("rdf.yaml", swap(b"type: model", b"type: dataset"), "valid|not a model"),
        ("rdf.yaml", swap(b"step: 4", b"step: none"), "not valid"),
        ("rdf.yaml", swap(b"source: test_input", b"source: https://a.org/b"), "not in the package"),
        ("rdf.yaml", swap(b"- id: raw", b"- output_of: a\n  id: raw"), "another model's output"),
        ("rdf.yaml", swap(b"weights:", b"run_mode: {name: x}\nweights:"), "way of its own"),
        ("../outside.py", None, "outside its folder"),
        ("/outside.py", None, "outside its folder"),
        ("large.bin", lambda _: bytes(2**25), "unpacks to"),
    ],
)  # fmt: skip
def test_packages_that_are_refused(tmp_path, name, change, message):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    if name in ("torchscript.pt", "rdf.yaml"):
        rewrite(package, change, name)
    else:
        with zipfile.ZipFile(package, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, change(b"") if change else b"")
    with pytest.raises(GvtzooError, match=message):
        gvtzoo.load(package)


@pytest.mark.parametrize(
    "change",
    [
        (b"min:\n    - 1\n    - 1\n", b"min:\n    - 1\n    - 2000000000\n"),
        (b"offset:\n    - 0\n    - 0\n", b"offset:\n    - 0\n    - .inf\n"),
        (b"scale:\n    - 1\n    - 1.0\n", b"scale:\n    - 1\n    - 1.0e+30\n"),
    ],
)
def test_channels_without_end_are_refused(tmp_path, change):
    """Each of them would get a name, and no memory would be left."""
    package = make_package(tmp_path / "package.zip", formats=["torchscript"], old=True)
    with zipfile.ZipFile(package) as archive:
        assert change[0] in archive.read("rdf.yaml")
    rewrite(package, swap(*change))
    with pytest.raises(GvtzooError, match="channels, more than 10000"):
        gvtzoo.load(package)


def test_weights_that_are_none(tmp_path):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    rewrite(package, lambda _: b"nothing", "torchscript.pt")
    rewrite(package, lambda text: b"\n".join(
        line for line in text.split(b"\n") if b"sha256" not in line
    ))  # fmt: skip
    model = gvtzoo.load(package)
    with pytest.raises(GvtzooError, match="torchscript weights cannot be loaded"):
        model.predict(image_of(9, 9), device="cpu")


def test_settings_and_images_that_do_not_suit(tmp_path):
    package = make_package(tmp_path / "package.zip", channels=2, formats=["torchscript"], halo=3)
    model = gvtzoo.load(package)
    assert isinstance(model, BioimageioModel)
    image = image_of(2, 20, 20)
    for settings, message in (
        ({"uncertainty": True}, "uncertainty"),
        ({"tiling": "exact"}, "exact"),
        ({"memory": 10**9}, "memory"),
        ({"dtype": "float16"}, "float16"),
        ({"block": (4, 8, 8)}, "has 3 sizes"),
        ({"block": (8, 8)}, "nothing but margin"),
    ):
        with pytest.raises(GvtzooError, match=message):
            model.predict(image, **settings)
    for array, message in (
        (image_of(3, 20, 20), "3 channels"),
        (np.full((2, 20, 20), np.nan, np.float32), "NaN"),
        (image_of(20, 20), "2 axes"),
    ):
        with pytest.raises(GvtzooError, match=message):
            model.predict(array, axes=None)


def test_the_network_may_not_give_another_size_than_stated(tmp_path):
    package = make_package(
        tmp_path / "package.zip", network=Shrink(), scale=1.0, formats=["torchscript"]
    )
    with pytest.raises(GvtzooError, match="not the size that its description states"):
        gvtzoo.load(package).predict(image_of(16, 16), device="cpu")


def test_command_line(tmp_path):
    package = make_package(tmp_path / "package.zip", formats=["torchscript", "onnx"], halo=2)
    source, target = tmp_path / "image.tif", tmp_path / "out.tif"
    tifffile.imwrite(
        source, image_of(3, 18, 21), imagej=True, resolution=(5, 5),
        metadata={"axes": "TYX", "unit": "um"},
    )  # fmt: skip
    done = invoke("predict", package, source, "-o", target, "--device", "cpu")
    assert (done.exit_code, done.stderr) == (0, "")
    written = read_image(target)
    assert written.dims == ("t", "y", "x")
    assert written.attrs["pixel_size"] == pytest.approx({"y": 0.2, "x": 0.2})
    expected = uniform_filter(image_of(3, 18, 21)[1], 3, mode="mirror")
    np.testing.assert_allclose(written.to_numpy()[1], expected, atol=1e-5)
    for options in (("--uncertainty",), ("--tiling", "exact"), ("--workers", "2")):
        done = invoke("predict", package, source, "-o", tmp_path / "no.tif", *options)
        assert done.exit_code == 1
        assert isinstance(done.exception, GvtzooError)
        assert "not made by gvtzoo" in str(done.exception)
    assert not (tmp_path / "no.tif").exists()


@pytest.mark.parametrize("old", [False, True])
def test_info_and_test(tmp_path, old):
    package = make_package(tmp_path / "package.zip", old=old, halo=2)
    done = invoke("info", package)
    assert done.exit_code == 0
    for text in ("Tiny foreign model", "Blurs.", "MIT", "A. Stranger", "8+n·4", "torchscript, "):
        assert text in done.stdout or text.rstrip(", ") in done.stdout
    assert json.loads(invoke("info", package, "--json").stdout)["name"] == "Tiny foreign model"
    done = invoke("test", package)
    assert (done.exit_code, done.stdout.count("passed")) == (0, 2), done.stdout
    done = invoke("test", package, "--trust")
    assert (done.exit_code, done.stdout.count("passed")) == (0, 3), done.stdout


def test_a_test_that_fails(tmp_path):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    with torch.no_grad():
        other = blur(2, 1, 1)
        other.layer.bias += 1
    torch.jit.trace(other, torch.zeros(1, 1, 16, 16)).save(str(tmp_path / "other.pt"))
    rewrite(package, lambda _: (tmp_path / "other.pt").read_bytes(), "torchscript.pt")
    rewrite(package, lambda text: b"\n".join(
        line for line in text.split(b"\n") if b"sha256" not in line
    ))  # fmt: skip
    done = invoke("test", package)
    assert done.exit_code == 1
    assert done.stdout.startswith("FAILED  bioimageio test, torchscript: ")
    assert len(done.stdout.splitlines()) == 1
