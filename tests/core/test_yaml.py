"""YAML of strangers: aliases are written out, within bounds."""

from __future__ import annotations

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.yaml import read_yaml


def test_aliases_and_merges_are_written_out():
    text = "a: &a [1, {b: 2}]\nc: *a\nd: &d {x: 1, y: 1}\ne: {<<: *d, y: 2}\n"
    assert read_yaml(text) == {
        "a": [1, {"b": 2}], "c": [1, {"b": 2}], "d": {"x": 1, "y": 1}, "e": {"y": 2, "x": 1},
    }  # fmt: skip


def test_what_an_alias_stands_for_is_a_copy():
    content = read_yaml("a: &a [{x: 1}]\nb: *a\n")
    content["b"][0]["x"] = 2
    assert content["a"] == [{"x": 1}]


def bomb(levels: int, width: int, kind: str = "list") -> str:
    """Text that is `width` to the power of `levels` as large, once it is written out."""
    lines = ["v0: &v0 [0123456789]"]
    for level in range(1, levels + 1):
        parts = ", ".join([f"*v{level - 1}"] * width)
        value = f"[{parts}]" if kind == "list" else f"{{<<: [{parts}]}}"
        lines.append(f"v{level}: &v{level} {value}")
    return "\n".join(lines)


def test_what_stays_small_is_read():
    assert len(read_yaml(bomb(3, 4))["v3"]) == 4


@pytest.mark.parametrize(("levels", "width"), [(6, 20), (20, 3), (200, 2), (45, 1000), (60, 1)])
def test_what_grows_without_bound_is_refused_before_it_grows(levels, width):
    with pytest.raises(GvtzooError, match="aliases make it too large"):
        read_yaml(bomb(levels, width))


def test_merges_grow_no_further():
    text = bomb(20, 9, "merge").replace("[0123456789]", "{x: 1}")
    with pytest.raises(GvtzooError, match="aliases make it too large"):
        read_yaml(text)


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}", "&a {? *a : 1}", "&a [[[*a]]]"])
def test_what_holds_itself_is_refused(text):
    with pytest.raises(GvtzooError, match="holds itself"):
        read_yaml(text)


def test_an_alias_of_nothing_is_refused():
    with pytest.raises(GvtzooError, match="undefined alias"):
        read_yaml("a: *b")
