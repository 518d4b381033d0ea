"""Packages that others made: descriptions, archives and TorchScript of any kind."""

from __future__ import annotations

import io
import zipfile

import pytest
import small_package
import torch
import yaml
from foreign_packages import make_package
from hostile import changed, fuzz, mutations, outcome
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.bioimageio.package import open_foreign
from gvtzoo.packages.torchscript import vetted_torchscript


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """Files of a package of format 0.5, and of 0.4."""
    folder, found = tmp_path_factory.mktemp("foreign"), {}
    for old in (False, True):
        path = make_package(folder / f"{old}.zip", formats=["torchscript", "onnx"], old=old, halo=2)
        with zipfile.ZipFile(path) as archive:
            found[old] = {name: archive.read(name) for name in archive.namelist()}
    return found


def weights_of(path):
    return open_foreign(path).choose_weights(trust=False)


def opened(folder, members):
    """Refused in one line, or by weights that run without trust."""
    result = outcome(weights_of, small_package.write_folder(folder, members))
    assert result in (None, "onnx", "torchscript")


@fuzz(12)
@given(data=st.data(), old=st.booleans())
def test_changed_descriptions(foreign, tmp_path, data, old):
    members = foreign[old]
    content = data.draw(changed(yaml.safe_load(members["rdf.yaml"])))
    opened(tmp_path / "p", {**members, "rdf.yaml": small_package.to_yaml(content)})


@fuzz(8)
@given(mutate=mutations(), old=st.booleans())
def test_damaged_descriptions(foreign, tmp_path, mutate, old):
    members = foreign[old]
    opened(tmp_path / "p", {**members, "rdf.yaml": mutate(members["rdf.yaml"])})


@fuzz(20)
@given(mutate=mutations())
def test_damaged_torchscript_is_refused_or_unchanged(foreign, mutate):
    content = foreign[False]["torchscript.pt"]
    outcome(vetted_torchscript, mutate(content))


class Plain(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.add(image, 1)


def code_with(lines):
    source, result = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(Plain()), source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".py"):
                text = data.decode()
                place = text.index("    return torch.add")
                data = (text[:place] + lines + text[place:]).encode("utf-8", "surrogatepass")
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(entry.filename, data)
    return result.getvalue()


WORDS = [
    *["torch", "save", "from_file", "image", "add", "getattr", "ops", "aten", "prim", "fork", "x"],
    *["self", "CONSTANTS", "classes", "__torch__", "annotate", "def ", "return ", "for ", "if "],
    *["(", ")", "[", "]", ".", ",", " = ", ":", "\n    ", "\n  ", " ", "\\\n", ";", "#", "0", "1"],
    *[
        '"',
        "'",
        '"""',
        '"W"',
        "'W'",
        "\\",
        "\\x73",
        "\\163",
        '"sa" "ve"',
        "->",
        "@",
        "-",
        "é",
        "\0",
    ],
    *['torch.save(image, "W")', "x = torch.save", 'getattr(torch, "save")', 'x(image, "W")'],
    *['torch.from_file("W", True, 4)', "ops.aten.save", "x = torch.mul(image, 2)", "torch.jit"],
]


def run(content):
    """As prediction does with what has been let through."""
    vetted = vetted_torchscript(content)
    try:
        torch.jit.load(io.BytesIO(vetted))(torch.zeros(1))
    except (RuntimeError, IndexError, ValueError, TypeError):
        return  # no program, or one that fails


@fuzz(60)
@given(words=st.lists(st.sampled_from(WORDS), max_size=14))
def test_no_code_that_passes_writes_a_file(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    outcome(run, code_with("    " + "".join(words) + "\n"))
    assert list(tmp_path.iterdir()) == []
