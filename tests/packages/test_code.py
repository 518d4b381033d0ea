"""Whose code a package brings along: what gvtzoo has written is known by its content."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks import ProjectionGVTNet
from gvtzoo.networks.baseline_config import BASELINES
from gvtzoo.packages.code import architecture_digest, code_of, is_own_architecture, strangers_code
from gvtzoo.packages.exports import architecture_source
from gvtzoo.packages.reader import open_files

ZOO = Path(__file__).parents[2] / "zoo"
NETWORKS = [None, ProjectionGVTNet, *(config().network_class() for config in BASELINES.values())]


def test_the_architectures_that_are_written_now_are_known():
    for network in NETWORKS:
        content = architecture_source(network).encode()
        name = "GVTNet" if network is None else network.__name__
        line = f"{architecture_digest(content)}  {name}"
        assert is_own_architecture(content), f"add to gvtzoo/packages/architectures.txt: {line}"


def test_the_bundled_packages_are_our_own():
    zips = sorted(ZOO.glob("*/model.zip"))
    assert zips
    for path in zips:
        assert strangers_code(open_files(path)) is None


def bundled() -> bytes:
    with zipfile.ZipFile(next(ZOO.glob("*/model.zip"))) as archive:
        return archive.read("architecture.py")


def test_another_version_in_the_header_changes_nothing():
    content = bundled()
    assert is_own_architecture(content.replace(b"gvtzoo 0.1.0 (", b"gvtzoo 12.3.4rc1 ("))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content + b"\nprint(1)\n",
        lambda content: b"print(1)\n" + content,
        lambda content: content.replace(b"import torch\n", b"import torch, os\n", 1),
        lambda content: b"# coding: unicode_escape \\nprint(1)\n" + content,
        lambda content: content.replace(b"# SPDX", b"# coding: utf-7\n# SPDX", 1),
        lambda content: content.replace(b"0.1.0", b"0.1.0\\nprint(1)", 1),
        lambda content: content.replace(b"# GVTNet,", b"# vim: set fileencoding=utf-7 :,", 1),
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: b"",
    ],
)
def test_anything_more_or_less_is_a_strangers(change):
    content = bundled()
    assert is_own_architecture(content)
    assert change(content) != content
    assert not is_own_architecture(change(content))


def test_code_is_found_wherever_descriptions_name_it():
    step = {"id": "custom", "source": "steps.py", "callable": "Steps"}
    architecture = {"source": "network.py", "callable": "Network"}
    rdf = {
        "inputs": [{"preprocessing": [{"id": "clip"}, step]}],
        "outputs": [{"postprocessing": [{"id": "binarize"}, {"source": "more.py"}]}],
        "weights": {"pytorch_state_dict": {"architecture": architecture}},
    }
    assert list(code_of(rdf)) == [
        ("its processing", "steps.py"),
        ("its processing", "more.py"),
        ("its network", "network.py"),
    ]
    old = {"weights": {"pytorch_state_dict": {"architecture": "network.py:Network"}}}
    assert list(code_of(old)) == [("its network", "network.py")]


@pytest.mark.parametrize(
    "architecture",
    ["os.system", {"import_from": "os", "callable": "system", "kwargs": {"command": "touch x"}}],
)
def test_functions_of_libraries_are_code_too(tmp_path, architecture):
    (tmp_path / "rdf.yaml").write_text("type: model\n")
    package = open_files(tmp_path)
    package.rdf["weights"] = {"pytorch_state_dict": {"architecture": architecture}}
    assert strangers_code(package) == "its network calls a function of an installed library"


def test_code_that_is_missing_is_said(tmp_path):
    (tmp_path / "rdf.yaml").write_text("type: model\n")
    package = open_files(tmp_path)
    package.rdf["weights"] = {"pytorch_state_dict": {"architecture": {"source": "network.py"}}}
    with pytest.raises(GvtzooError, match="no readable file network"):
        strangers_code(package)
