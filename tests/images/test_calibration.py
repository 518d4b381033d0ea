from __future__ import annotations

import pytest

from gvtzoo.images.calibration import in_one_unit, length_unit, seconds


@pytest.mark.parametrize("text", ["um", "µm", "μm", "\\u00B5m", "micron", " Micron ", "micrometer"])
def test_micrometers_have_one_name(text):
    assert length_unit(text) == "micrometer"


def test_other_units_stay_and_pixels_are_none():
    assert length_unit("nm") == "nm"
    assert length_unit("\\u00C5") == "Å"
    assert length_unit("pixel") == ""


def test_a_shared_unit_is_kept():
    assert in_one_unit({"y": (65, "nm"), "x": (65, "nm")}) == ({"y": 65, "x": 65}, "nm")


def test_different_units_become_micrometers():
    sizes, unit = in_one_unit({"z": (0.3, "micrometer"), "x": (65, "nm"), "y": (2, "furlong")})
    assert unit == "micrometer"
    assert sizes == pytest.approx({"z": 0.3, "x": 0.065})


def test_what_is_not_calibrated_is_left_out():
    assert in_one_unit({"z": (1.0, ""), "x": (0.0, "micrometer")}) == ({}, "")


def test_frame_intervals_are_in_seconds():
    assert seconds(500, "ms") == pytest.approx(0.5)
    assert seconds(2, "min") == 120
    assert seconds(3, "") == 3
    assert seconds(0, "s") is None
    assert seconds(1, "fortnight") is None
