"""YAML files that extend others."""

from __future__ import annotations

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.layered_yaml import line_of, merge, read_layered


def elsewhere(tmp_path):
    return lambda name: tmp_path / "elsewhere" / f"{name}.yaml"


def test_merging_replaces_lists_and_joins_mappings():
    assert merge({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}}


def test_a_file_beside_comes_before_one_elsewhere(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for folder, value in ((tmp_path, "beside"), (tmp_path / "elsewhere", "elsewhere")):
        (folder / "base.yaml").write_text(f"a: {value}\nb: {{c: 1}}\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base\nb: {d: 2}\n")
    assert read_layered(child, elsewhere(tmp_path)) == {"a": "beside", "b": {"c": 1, "d": 2}}
    (tmp_path / "base.yaml").unlink()
    assert read_layered(child, elsewhere(tmp_path))["a"] == "elsewhere"


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "settings.yaml"
    for value in (1, 2):
        path.write_text(f"a: {{b: {value}}}\n")
        assert read_layered(path, elsewhere(tmp_path)) == {"a": {"b": value}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: child\n", "extends itself"),
        ("extends: none\n", "extends 'none', but there is no"),
        ("extends: [a]\n", "is not a name"),
        ("just text\n", "has no settings"),
    ],
)
def test_what_cannot_be_extended_is_told(tmp_path, text, message):
    child = tmp_path / "child.yaml"
    child.write_text(text)
    with pytest.raises(GvtzooError, match=message) as caught:
        read_layered(child, elsewhere(tmp_path))
    assert str(child) in str(caught.value)


def test_lines_of_keys(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("a: 1\nb:\n  c: 2\n")
    assert line_of(path, ["b", "c"]) == 3
    assert line_of(path, ["b", "unknown"]) == 2
    assert line_of(path, ["unknown"]) is None
