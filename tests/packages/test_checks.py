from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from gvtzoo.networks.baseline_config import BASELINES
from gvtzoo.packages.checks import (
    CheckResult,
    _check_code,
    _check_description,
    _check_flat,
    _check_processing,
    _check_sizes,
    check_files,
    check_package,
    predict_normalized,
    run_check,
)
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.writer import sha256

CHECKS = 15


@pytest.mark.parametrize(
    "case", ["denoise", "projection", pytest.param("label_free", marks=pytest.mark.slow)]
)
def test_imported_packages_pass_every_check(imported, case):
    results = check_package(imported[case])
    assert [result for result in results if not result.passed] == []
    assert len(results) == CHECKS


@pytest.mark.slow
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
    assert run_check("check", lambda: check(package)).passed
    change(package.rdf)
    result = run_check("check", lambda: check(package))
    assert not result.passed
    assert words in result.detail


def test_folders_inside_are_named(tiny, tmp_path):
    import zipfile

    path = tmp_path / "model.zip"
    path.write_bytes(tiny.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("inner/file.txt", "x")
    package = replace(open_package(tiny), path=path)
    assert "inner/file.txt" in run_check("flat", lambda: _check_flat(package)).detail


def test_a_check_that_breaks_off_has_failed():
    def broken() -> str:
        raise RuntimeError("two\nlines")

    assert run_check("broken", broken) == CheckResult("broken", False, "RuntimeError: two lines")


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


def unpacked(package, folder, changes):
    """The package in a folder, with files changed and their checksums in the description mended."""
    opened = open_package(package)
    for name in opened.names():
        (folder / name).write_bytes(opened.read(name))
    text = (folder / "rdf.yaml").read_text()
    for name, content in changes.items():
        old = sha256((folder / name).read_bytes())
        assert old in text
        text = text.replace(old, sha256(content))
        (folder / name).write_bytes(content)
    (folder / "rdf.yaml").write_text(text)
    return folder


def test_code_in_what_claims_to_be_ours_runs_with_trust_only(tiny, tmp_path):
    """Patched code with its checksum mended, in a package that says that gvtzoo made it."""
    effect = tmp_path / "ran"
    source = open_package(tiny).read("architecture.py").decode()
    patched = f"{source}\nimport pathlib\npathlib.Path({str(effect)!r}).touch()\n"
    folder = tmp_path / "package"
    folder.mkdir()
    package = unpacked(tiny, folder, {"architecture.py": patched.encode()})
    results = {result.name: result for result in check_package(package)}
    assert not effect.exists()
    assert not results["code"].passed
    for words in ("architecture.py", "not gvtzoo's own", "--trust"):
        assert words in results["code"].detail
    for name, result in results.items():
        assert result.passed == (name != "code" and not name.startswith("bioimageio"))
    results = check_package(package, trust=True)
    assert effect.exists()
    assert [result for result in results if not result.passed] == []


def test_torchscript_in_what_claims_to_be_ours_is_looked_at(tiny, tmp_path):
    effect = tmp_path / "ran"

    class Writes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.target = str(effect)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.save(x, self.target)
            return x

    torch.jit.script(Writes()).save(str(tmp_path / "hostile.pt"))
    folder = tmp_path / "package"
    folder.mkdir()
    content = (tmp_path / "hostile.pt").read_bytes()
    results = check_package(unpacked(tiny, folder, {"torchscript.pt": content}))
    failed = {result.name: result.detail for result in results if not result.passed}
    assert "torchscript.pt is not run unasked: it uses 'save'" in failed["torchscript operators"]
    assert not effect.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda rdf: rdf["inputs"][0]["preprocessing"].append(
            {"id": "custom", "source": "README.md", "callable": "f", "sha256": None}
        ),
        lambda rdf: rdf["weights"]["pytorch_state_dict"].update(
            architecture={"import_from": "os", "callable": "system", "kwargs": {"command": "x"}}
        ),
        lambda rdf: rdf["weights"]["pytorch_state_dict"]["architecture"].update(callable="eval"),
    ],
)
def test_other_ways_to_have_code_run_are_refused(tiny, change):
    package = open_package(tiny)
    assert run_check("code", lambda: _check_code(package, False)).passed
    change(package.rdf)
    assert not run_check("code", lambda: _check_code(package, False)).passed


@pytest.mark.parametrize("name", ["weights.pt", "test_input.npy", "cover.png", "architecture.py"])
@pytest.mark.parametrize("fault", ["damaged", "swapped", "missing"])
def test_every_file_that_is_named_is_looked_at(tiny, tmp_path, name, fault):
    package = open_package(tiny)
    for member in package.names():
        (tmp_path / member).write_bytes(package.read(member))
    content = (tmp_path / name).read_bytes()
    if fault == "missing":
        (tmp_path / name).unlink()
    elif fault == "swapped":
        (tmp_path / name).write_bytes((tmp_path / "README.md").read_bytes())
    else:
        (tmp_path / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = run_check("checksums", lambda: check_files(replace(package, path=tmp_path)))
    # The format states no checksum of the cover.
    assert result.passed == (name == "cover.png" and fault != "missing")
    assert result.passed or name in result.detail
