"""Packages of others: any size predicts, what is stated holds, and no code runs unasked."""

from __future__ import annotations

import copy
import hashlib
import json
import zipfile

import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
import yaml
from command_line import invoke
from foreign_packages import blur, make_package
from scipy.ndimage import uniform_filter

import gvtzoo
from gvtzoo.bioimageio.model import BioimageioModel
from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import read_image


def image_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


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
        # Whose code, and in which file.
        for text in ("A. Stranger", "network.py", str(package), "--trust"):
            assert text in str(done.exception)
    done = invoke("info", package)
    assert done.exit_code == 0
    assert "network.py" in done.stdout
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
    assert model.weights == "onnx"
    assert not effect.exists()


def test_processing_of_its_own_runs_with_trust_only(tmp_path):
    effect = tmp_path / "ran"
    package = make_package(tmp_path / "package.zip", formats=["torchscript"], custom=effect)
    with pytest.raises(
        GvtzooError, match=r"its processing is Python code \(steps.py\) of A. Stranger.*--trust"
    ):
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
    with pytest.raises(GvtzooError, match="is not TorchScript"):
        gvtzoo.load(package)
    model = gvtzoo.load(package, trust=True)
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
    assert (done.exit_code, done.stdout.count("passed")) == (0, 3), done.stdout
    done = invoke("test", package, "--trust")
    assert (done.exit_code, done.stdout.count("passed")) == (0, 4), done.stdout


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
    files, test = done.stdout.splitlines()
    assert files.startswith("passed  files")
    assert test.startswith("FAILED  bioimageio test, torchscript: ")


class TwoOutputs(torch.nn.Module):
    def forward(self, x):
        return x + 1, torch.nn.functional.avg_pool2d(x, 2)


def with_second_output(package, halo=0):
    """Describe a second output, at half the scale."""

    def describe(text):
        rdf = yaml.safe_load(text)
        second = copy.deepcopy(rdf["outputs"][0])
        second["id"] = "small"
        for axis in second["axes"]:
            if axis["type"] == "space":
                axis["scale"] = 2.0
                if halo:
                    axis["halo"] = halo
        rdf["outputs"].append(second)
        return yaml.safe_dump(rdf, sort_keys=False).encode()

    rewrite(package, describe)


@pytest.fixture
def two_outputs(tmp_path):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    module = torch.jit.trace(TwoOutputs(), torch.zeros(1, 1, 16, 16))
    module.save(str(tmp_path / "two.pt"))
    rewrite(package, lambda _: (tmp_path / "two.pt").read_bytes(), "torchscript.pt")
    rewrite(package, lambda text: b"\n".join(
        line for line in text.split(b"\n") if b"sha256" not in line
    ))  # fmt: skip
    with_second_output(package)
    return package


@pytest.mark.parametrize(
    "settings", [{}, {"tiling": "blocks", "block": (12, 12), "overlap": (4, 4)}]
)
def test_all_outputs_of_a_model_are_given(two_outputs, settings):
    image = image_of(18, 22)
    predicted = gvtzoo.load(two_outputs).predict(image, device="cpu", **settings)
    assert list(predicted) == ["blurred", "small"]
    np.testing.assert_allclose(predicted["blurred"].to_numpy(), image + 1, atol=1e-6)
    means = image.reshape(9, 2, 11, 2).mean((1, 3))
    np.testing.assert_allclose(predicted["small"].to_numpy(), means, atol=1e-6)


def test_further_outputs_are_written_beside_the_first(two_outputs, tmp_path):
    source, target = tmp_path / "image.tif", tmp_path / "out.tif"
    tifffile.imwrite(source, image_of(18, 22))
    done = invoke("predict", two_outputs, source, "-o", target, "--axes", "YX", "--device", "cpu")
    second = tmp_path / "out_small.tif"
    assert (done.exit_code, done.stdout.split()) == (0, [str(target), str(second)])
    assert read_image(second).shape == (9, 11)
    done = invoke("predict", two_outputs, source, "-o", tmp_path / "out.tif", "--axes", "YX")
    assert done.exit_code == 1  # neither is overwritten


class Global(torch.nn.Module):
    """Feels its border: a mean over everything."""

    def forward(self, x):
        return x - x.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("size", [24, (12, 4)])
def test_an_image_of_a_size_that_is_taken_is_predicted_without_margin(tmp_path, size):
    package = make_package(
        tmp_path / "package.zip", network=Global(), halo=4, size=size,
        formats=["torchscript"],
    )  # fmt: skip
    image = image_of(24, 24)
    prediction = gvtzoo.load(package).predict(image, device="cpu").to_numpy()
    np.testing.assert_allclose(prediction, image - image.mean(), atol=1e-6)


def test_fixed_sizes_with_a_halo_of_format_04(tmp_path):
    """Of format 0.5 halos go with sizes that follow from the input's."""
    package = make_package(tmp_path / "package.zip", formats=["torchscript"], old=True)

    def fix(text):
        rdf = yaml.safe_load(text)
        rdf["inputs"][0]["shape"] = [1, 1, 32, 32]
        rdf["outputs"][0] |= {"shape": [1, 1, 32, 32], "halo": [0, 0, 8, 8]}
        return yaml.safe_dump(rdf).encode()

    rewrite(package, fix)
    for shape in ((32, 32), (50, 41)):
        image = image_of(*shape)
        prediction = gvtzoo.load(package).predict(image, device="cpu").to_numpy()
        expected = uniform_filter(image, 3, mode="mirror")
        np.testing.assert_allclose(inside(prediction), inside(expected), atol=1e-5)


def test_aliases_are_read_as_the_values_that_they_stand_for(tmp_path):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    rewrite(package, lambda text: text.replace(b"tags:\n- tiny", b"tags: &t\n- tiny\nlinks: *t"))
    with zipfile.ZipFile(package) as archive:
        assert b"*t" in archive.read("rdf.yaml")
    assert gvtzoo.load(package).package.rdf["links"] == ["tiny"]


@pytest.mark.parametrize("version", ["0.1.0", "0.6.0", "1.0", "none"])
def test_versions_that_are_not_known_are_named(tmp_path, version):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    rewrite(package, swap(b"format_version: 0.5.4", f"format_version: '{version}'".encode()))
    with pytest.raises(GvtzooError, match=f"format_version is {version}"):
        gvtzoo.load(package)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (swap(b"type: model\n", b""), "type is missing"),
        (swap(b"license: MIT", b"license: [1]"), "not valid: license"),
        (swap(b"halo: 2", b"halo: 200"), "not valid: (the whole of it|outputs)"),
    ],
)
def test_what_is_not_valid_has_a_place(tmp_path, change, place):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"], halo=2)
    rewrite(package, change)
    with pytest.raises(GvtzooError, match=place):
        gvtzoo.load(package)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("unpacked", [False, True])
def test_descriptions_of_any_name_that_ends_as_one(tmp_path, named, unpacked):
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    description = (folder / "rdf.yaml").rename(folder / "tiny.bioimageio.yaml")
    if not unpacked:
        folder = tmp_path / "other.zip"
        with zipfile.ZipFile(folder, "w") as archive:
            for path in description.parent.iterdir():
                archive.write(path, path.name)
    chosen = description if named else folder
    assert gvtzoo.load(chosen).predict(image_of(16, 16), device="cpu").shape == (16, 16)


def hostile_torchscript(path, effect):
    """TorchScript that writes a file, once it is run."""

    class Writes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.target = str(effect)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.save(x, self.target)
            return x

    torch.jit.script(Writes()).save(str(path))
    return path.read_bytes()


def replace_file(package, name, content):
    """A file with other content, and its checksum in the description mended."""
    with zipfile.ZipFile(package) as archive:
        old = hashlib.sha256(archive.read(name)).hexdigest().encode()
    rewrite(package, lambda _: content, name)
    rewrite(package, swap(old, hashlib.sha256(content).hexdigest().encode()))


def test_torchscript_that_writes_files_runs_with_trust_only(tmp_path):
    effect = tmp_path / "ran"
    package = make_package(tmp_path / "package.zip", formats=["torchscript"])
    replace_file(package, "torchscript.pt", hostile_torchscript(tmp_path / "hostile.pt", effect))
    image = tmp_path / "image.tif"
    tifffile.imwrite(image, image_of(16, 16))
    commands = [
        ("predict", package, image, "-o", tmp_path / "o.tif"),
        ("test", package),
        ("finetune", package, "--data", tmp_path, "-o", tmp_path / "run"),
        ("publish", package, "me/model", "--dry-run"),
        ("sweep", package, "--data", tmp_path, "-o", tmp_path / "sweep"),
    ]
    for command in commands:
        assert invoke(*command).exit_code == 1, command
    invoke("info", package)
    with pytest.raises(GvtzooError, match=r"torchscript.pt, TorchScript of A. Stranger.*'save'"):
        gvtzoo.load(package)
    assert not effect.exists()
    gvtzoo.load(package, trust=True).predict(image_of(16, 16), device="cpu")
    assert effect.exists()


def test_torchscript_that_is_refused_leaves_onnx(tmp_path):
    effect = tmp_path / "ran"
    package = make_package(tmp_path / "package.zip", formats=["torchscript", "onnx"])
    replace_file(package, "torchscript.pt", hostile_torchscript(tmp_path / "hostile.pt", effect))
    done = invoke("test", package)
    assert (done.exit_code, done.stdout.count("passed")) == (0, 2), done.stdout
    gvtzoo.load(package).predict(image_of(16, 16), device="cpu")
    assert not effect.exists()


def test_onnx_that_names_files_of_this_computer_is_refused(tmp_path):
    import onnx
    from onnx.external_data_helper import set_external_data

    secret = tmp_path / "secret"
    secret.write_bytes(bytes(100))
    package = make_package(tmp_path / "package.zip", formats=["onnx"])
    with zipfile.ZipFile(package) as archive:
        model = onnx.load_model_from_string(archive.read("weights.onnx"))
    tensor = model.graph.initializer[0]
    set_external_data(tensor, location=str(secret))
    tensor.ClearField("raw_data")
    replace_file(package, "weights.onnx", model.SerializeToString())
    with pytest.raises(GvtzooError, match="names other files"):
        gvtzoo.load(package).predict(image_of(16, 16), device="cpu")


NAMED = ["torchscript.pt", "weights.onnx", "test_input.npy", "test_output.npy", "network.py"]


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("fault", ["damaged", "swapped", "missing"])
def test_files_that_are_not_those_of_the_description(tmp_path, name, fault, old):
    """Of every file that is named; format 0.4 states no checksum of test tensors."""
    package = make_package(tmp_path / "package.zip", old=old)
    with zipfile.ZipFile(package) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    if fault == "missing":
        del files[name]
    else:
        other = bytes(reversed(files[name])) if fault == "damaged" else files["README.md"]
        files[name] = other
    with zipfile.ZipFile(package, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)
    done = invoke("test", package)
    assert done.exit_code == 1
    said = f"{done.stdout}{done.exception}"
    if not (old and name.startswith("test_") and fault != "missing"):
        assert name in said
        assert "SHA-256" in said or "no readable file" in said
