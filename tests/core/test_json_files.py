"""JSON from strangers."""

from __future__ import annotations

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.json_files import LARGEST, read_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 10**6, "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
        (b" " * (LARGEST + 1), "too large"),
    ],
)
def test_what_is_refused_is_told_in_a_line(tmp_path, content, message):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(GvtzooError, match=message):
        read_json(tmp_path / "a.json")


def test_values_are_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": [1, null]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}
