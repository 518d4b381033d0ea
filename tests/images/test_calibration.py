from __future__ import annotations

import pytest

from gvtzoo.images.calibration import (
    LENGTHS,
    in_one_unit,
    length_unit,
    micrometers,
    seconds,
    symbol,
)

SPELLINGS = {
    "micrometer": [
        *("um", "µm", "μm", "\\u00B5m", "\\u03BCm", "µ", "u", "micron", "microns", " Micron "),
        *("micrometer", "micrometers", "micrometre", "micrometres", "MICROMETER", "Âµm"),
    ],
    "nanometer": ["nm", "NM", "nanometer", "nanometers", "nanometre", "nanometres"],
    "millimeter": ["mm", "millimeter", "millimetre", "millimetres"],
    "centimeter": ["cm", "centimeter", "centimetres"],
    "meter": ["m", "meter", "metres"],
    "angstrom": ["Å", "å", "\\u00C5", "angstrom", "Angstroms", "ångström"],
    "inch": ["inch", "inches", "in", '"'],
    "picometer": ["pm", "picometre"],
    "": ["", "pixel", "Pixels", "px", "voxel", "reference frame"],
}


@pytest.mark.parametrize(("name", "text"), [(n, t) for n in SPELLINGS for t in SPELLINGS[n]])
def test_every_spelling_of_a_unit_is_the_same_unit(name, text):
    assert length_unit(text) == name


@pytest.mark.parametrize("name", LENGTHS)
def test_names_and_symbols_lead_back_to_the_unit(name):
    assert length_unit(name) == length_unit(symbol(name)) == name
    assert micrometers(symbol(name)) == LENGTHS[name].micrometers


def test_unknown_units_stay_as_they_are():
    assert length_unit("furlong") == symbol("furlong") == "furlong"
    assert micrometers("furlong") is None
    assert micrometers(None) is None
    assert micrometers("pixel") is None


def test_figures_show_symbols():
    assert symbol("micrometer") == symbol("micron") == "µm"
    assert symbol("nanometer") == "nm"
    assert micrometers("nm") == pytest.approx(1e-3)


def test_a_shared_unit_is_kept():
    found = in_one_unit({"y": (65, "nm"), "x": (65, "nanometer")})
    assert found == ({"y": 65, "x": 65}, "nanometer")


def test_different_units_become_micrometers():
    sizes, unit = in_one_unit({"z": (0.3, "micrometer"), "x": (65, "nm"), "y": (2, "furlong")})
    assert unit == "micrometer"
    assert sizes == pytest.approx({"z": 0.3, "x": 0.065})


def test_what_is_not_calibrated_is_left_out():
    assert in_one_unit({"z": (1.0, ""), "x": (0.0, "micrometer")}) == ({}, "")
    assert in_one_unit({"z": (1.0, "pixel"), "x": (2.0, "um")}) == ({"x": 2.0}, "micrometer")


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *(("", 1), ("s", 1), ("sec", 1), ("second", 1), ("seconds", 1)),
        *(("ms", 1e-3), ("msec", 1e-3), ("millisecond", 1e-3), ("µs", 1e-6), ("usec", 1e-6)),
        *(
            ("min", 60),
            ("minutes", 60),
            ("h", 3600),
            ("hours", 3600),
            ("d", 86400),
            ("days", 86400),
        ),
    ],
)
def test_frame_intervals_are_in_seconds(unit, factor):
    assert seconds(3, unit) == pytest.approx(3 * factor)


def test_what_is_no_interval_is_none():
    assert seconds(0, "s") is None
    assert seconds(float("nan"), "s") is None
    assert seconds(1, "fortnight") is None
