"""``gvtzoo package --attention-from`` and ``gvtzoo test --image``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import invoke

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.checks import check_package
from gvtzoo.packages.reader import open_package

OLD = Path(__file__).parent.parent / "packages" / "files" / "made_by_0_1.zip"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clients")
    for name in ("a", "b"):
        image = np.random.default_rng(ord(name)).gamma(2, 50, (90, 83)).astype(np.float32)
        tifffile.imwrite(folder / f"{name}.tif", image)
    return folder


@pytest.fixture(scope="module")
def client(folder) -> Path:
    path = folder / "client.zip"
    images = ("--attention-from", folder / "a.tif", folder / "b.tif")
    result = invoke("package", OLD, *images, "--tile", "64,64", "-o", path)
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    return path


def test_client_packages_pass_every_check(client):
    assert [result for result in check_package(client) if not result.passed] == []


def test_what_a_client_package_says_of_itself(client):
    package = open_package(client)
    fixed = package.config.fixed
    assert fixed.images == ("a.tif", "b.tif")
    assert fixed.model == package.rdf["parent"]["id"] == "tiny-model"
    assert package.rdf["id"] == "tiny-model-client"
    operations = [entry["id"] for entry in package.rdf["inputs"][0]["preprocessing"]]
    assert operations == ["ensure_dtype", "scale_linear", "ensure_dtype"]
    axes = [axis for axis in package.rdf["outputs"][0]["axes"] if axis["type"] == "space"]
    assert [axis["halo"] for axis in axes] == list(fixed.halo)
    card = package.read("README.md").decode()
    assert "`gvtzoo package tiny-model --attention-from image.tif" in card
    assert "in the background and of about" in card


def test_losses_are_printed_and_go_into_package_and_card(client, folder):
    result = invoke("test", client, "--image", folder / "a.tif")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("Fiji (JDLL)\ttorchscript\t")
    package = open_package(client)
    rows = {(row.client, row.weights): row for row in package.config.clients}
    # The same network in every program: what is lost is not lost by cutting.
    for key in (("ilastik", "torchscript"), ("bioimageio.core, whole image", "onnx")):
        assert rows[key].max_difference < 1e-4
    assert rows["ilastik", "torchscript"].tiles > 1
    assert "ilastik" in package.rdf["tags"]
    card = package.read("README.md").decode()
    assert "| ilastik | torchscript | a.tif |" in card


def test_nothing_is_written_unasked(folder):
    before = OLD.read_bytes()
    result = invoke("test", OLD, "--image", folder / "b.tif", "--no-write")
    assert result.exit_code == 0
    assert OLD.read_bytes() == before


def test_tiles_and_more_images_need_attention(folder):
    result = invoke("package", OLD, "--tile", "64,64", "-o", folder / "no.zip")
    assert result.exit_code == 2
    existing = invoke("package", OLD, "--attention-from", folder / "a.tif", "-o", OLD)
    assert isinstance(existing.exception, GvtzooError)
