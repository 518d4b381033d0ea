"""An evaluation's folder: only it writes there, and nothing is overwritten unasked."""

from __future__ import annotations

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.folder import RESULT, claim, read_result

SETTINGS = {"models": {"a": "1"}, "data": "d"}


def test_a_new_folder_is_claimed_and_taken_again(tmp_path):
    claim(tmp_path / "report", SETTINGS)
    claim(tmp_path / "report", SETTINGS)


def test_a_failed_evaluation_makes_place_for_the_corrected_one(tmp_path):
    claim(tmp_path, SETTINGS)
    (tmp_path / "predictions").mkdir()
    claim(tmp_path, {**SETTINGS, "data": "e"})


def test_another_evaluation_needs_overwrite(tmp_path):
    claim(tmp_path, SETTINGS)
    (tmp_path / RESULT).write_text("{}")
    claim(tmp_path, SETTINGS)
    other = {**SETTINGS, "data": "e"}
    with pytest.raises(GvtzooError, match="holds an evaluation of other models, data or settings"):
        claim(tmp_path, other)
    claim(tmp_path, other, overwrite=True)
    assert not (tmp_path / RESULT).exists(), "it was of other settings"
    claim(tmp_path, other)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(GvtzooError, match="holds other files"):
        claim(tmp_path, SETTINGS, overwrite=True)
    with pytest.raises(GvtzooError, match="is a file"):
        claim(tmp_path / "thesis.txt", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_no_result(tmp_path):
    with pytest.raises(GvtzooError, match="holds no evaluation that can be read"):
        read_result(tmp_path)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(GvtzooError, match="holds no evaluation that can be read"):
        read_result(tmp_path)
