import socket
from dataclasses import replace

import numpy as np
import pytest
import yaml

from gvtzoo.networks.baseline_config import BASELINES
from gvtzoo.packages.checks import (
    CheckResult,
    _check_description,
    _check_flat,
    _check_processing,
    _check_sizes,
    _run,
    check_package,
    predict_normalized,
)
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.writer import sha256

CHECKS = 14


@pytest.mark.parametrize("case", ["denoise", "label_free", "projection"])
def test_imported_packages_pass_every_check(imported, case):
    results = check_package(imported[case])
    assert [result for result in results if not result.passed] == []
    assert len(results) == CHECKS


@pytest.mark.parametrize("architecture", BASELINES)
def test_packages_of_baselines_pass_every_check(tiny_config, write_tiny, tmp_path, architecture):
    dimensions = 2 if architecture in ("fnet", "rsgu_net") else 3
    network = BASELINES[architecture](dimensions=dimensions, depth=2, features=2, uncertainty=True)
    path = write_tiny(tmp_path / "model.zip", tiny_config(network=network))
    assert [result for result in check_package(path) if not result.passed] == []
    architecture_entry = open_package(path).rdf["weights"]["pytorch_state_dict"]["architecture"]
    assert architecture_entry["callable"] == f"any_size_{network.network_name.lower()}"
    tags = open_package(path).rdf["tags"]
    assert "gvtnet" not in tags


def test_nothing_is_looked_up_on_the_network(tiny, monkeypatch):
    looked_up = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: looked_up.append(args))
    results = check_package(tiny)
    assert [result for result in results if not result.passed] == []
    assert looked_up == []


def test_a_wrong_test_output_fails_where_it_is_compared(tiny, tmp_path):
    package = open_package(tiny)
    for name in package.names():
        (tmp_path / name).write_bytes(package.read(name))
    np.save(tmp_path / "test_output.npy", package.test_output() + 1)
    rdf = package.rdf
    digest = sha256((tmp_path / "test_output.npy").read_bytes())
    rdf["outputs"][0]["test_tensor"]["sha256"] = digest
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump(rdf))
    failed = [result.name for result in check_package(tmp_path) if not result.passed]
    assert failed == [
        "gvtzoo prediction",
        "bioimageio test, pytorch_state_dict",
        "bioimageio test, torchscript",
        "bioimageio test, onnx",
    ]


@pytest.mark.parametrize(
    ("check", "change", "words"),
    [
        (_check_description, lambda rdf: rdf.update(format_version="0.5.12"), "0.5.12"),
        (_check_description, lambda rdf: rdf.pop("id"), "no id"),
        (_check_description, lambda rdf: rdf.update(covers=[{"source": "cover.png"}]), "plain"),
        (
            _check_sizes,
            lambda rdf: rdf["outputs"][0]["axes"][2].update(halo=8),
            "axis y: min 16",
        ),
        (
            _check_processing,
            lambda rdf: rdf["inputs"][0]["preprocessing"].append({"id": "custom"}),
            "custom",
        ),
    ],
)
def test_what_consumers_refuse_is_named(tiny, check, change, words):
    package = open_package(tiny)
    assert _run("check", lambda: check(package)).passed
    change(package.rdf)
    result = _run("check", lambda: check(package))
    assert not result.passed
    assert words in result.detail


def test_folders_inside_are_named(tiny, tmp_path):
    import zipfile

    path = tmp_path / "model.zip"
    path.write_bytes(tiny.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("inner/file.txt", "x")
    package = replace(open_package(tiny), path=path)
    assert "inner/file.txt" in _run("flat", lambda: _check_flat(package)).detail


def test_a_check_that_breaks_off_has_failed():
    def broken() -> str:
        raise RuntimeError("two\nlines")

    assert _run("broken", broken) == CheckResult("broken", False, "RuntimeError: two lines")


@pytest.mark.parametrize("sizes", [(5, 33, 41), (16, 64, 64)])
def test_own_prediction_takes_any_size(imported, sizes):
    package = open_package(imported["denoise"])
    image = np.random.default_rng(0).integers(0, 1000, (1, 1, *sizes), dtype=np.uint16)
    assert predict_normalized(package, image, package.build_network()).shape == image.shape


def test_own_prediction_of_a_projection(imported):
    package = open_package(imported["projection"])
    image = np.random.default_rng(0).integers(0, 1000, (1, 1, 5, 33, 41), dtype=np.uint16)
    prediction = predict_normalized(package, image, package.build_network())
    assert prediction.shape == (1, 1, 33, 41)
