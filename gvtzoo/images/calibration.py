"""Voxel sizes and frame intervals: the units of the whole package, and every spelling of them.

A unit is called as OME-Zarr calls it, such as ``"micrometer"``: in ``image.attrs["unit"]``, in
packages and in results. Each file format writes its own symbol.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

SMALLEST, LARGEST = 1e-9, 1e9  # of a voxel, in any unit
MICROMETER = "micrometer"


@dataclass(frozen=True)
class Unit:
    """A unit of length.

    Attributes
    ----------
    symbol : str
        As OME-XML and figures write it.
    micrometers : float
        How many it has.
    spellings : tuple of str
        Others than the name, its plural, its British spelling and the symbol; in lower case.
    """

    symbol: str
    micrometers: float
    spellings: tuple[str, ...] = ()


# The micro sign, the Greek letter, and the micro sign in UTF-8 that was read as Latin-1.
MICRO = ("µ", "μ", "âµ")
LENGTHS = {
    "picometer": Unit("pm", 1e-6),
    "angstrom": Unit("Å", 1e-4, ("å", "ångström", "ångstrom", "ã\x85")),
    "nanometer": Unit("nm", 1e-3),
    MICROMETER: Unit(
        "µm",
        1.0,
        (
            *("um", "u", "mum", "micro", "micron", "microns", "micro-meter", "micro meter"),
            *(letter + ending for letter in MICRO for ending in ("", "m")),
        ),
    ),
    "millimeter": Unit("mm", 1e3),
    "centimeter": Unit("cm", 1e4),
    "decimeter": Unit("dm", 1e5),
    "meter": Unit("m", 1e6),
    "inch": Unit("in", 25400.0, ("inches", '"')),
    "foot": Unit("ft", 304800.0, ("feet",)),
    "yard": Unit("yd", 914400.0),
}
TIMES = {
    "nanosecond": ("ns", 1e-9),
    "microsecond": ("us", 1e-6),
    "millisecond": ("ms", 1e-3),
    "second": ("s", 1.0),
    "minute": ("min", 60.0),
    "hour": ("h", 3600.0),
    "day": ("d", 86400.0),
}
TIME_SPELLINGS = {
    "": "second",
    "sec": "second",
    "secs": "second",
    "msec": "millisecond",
    "msecs": "millisecond",
    "usec": "microsecond",
    "nsec": "nanosecond",
    **{f"{letter}s": "microsecond" for letter in MICRO},
    "mins": "minute",
    "hr": "hour",
    "hrs": "hour",
}
UNCALIBRATED = {"", "pixel", "pixels", "px", "voxel", "voxels", "reference frame", "none", "null"}


def _spellings() -> dict[str, str]:
    known = {}
    for name, unit in LENGTHS.items():
        british = name.replace("meter", "metre")
        plurals = (f"{name}s", f"{british}s")
        for text in (name, british, *plurals, unit.symbol.lower(), *unit.spellings):
            known[text] = name
    return known


LENGTH_SPELLINGS = _spellings()


def length_unit(text: str) -> str:
    """The name of a unit of length.

    Parameters
    ----------
    text : str
        As a file writes it: any usual spelling, also with ImageJ's escapes such as ``\\u00B5m``.

    Returns
    -------
    str
        A key of `LENGTHS`; empty when it means uncalibrated; the text itself when it is unknown.
    """
    # ImageJ escapes letters beyond ASCII.
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text).strip()
    plain = text.lower()
    if plain in UNCALIBRATED:
        return ""
    return LENGTH_SPELLINGS.get(plain, text)


def symbol(unit: str) -> str:
    """Such as µm for micrometer; unknown units stay as they are."""
    name = length_unit(unit)
    return LENGTHS[name].symbol if name in LENGTHS else name


def round_length(width: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not above a quarter of `width`."""
    power = 10.0 ** math.floor(math.log10(width / 4))
    return float(max(step * power for step in (1, 2, 5) if step * power <= width / 4))


def micrometers(unit: str | None) -> float | None:
    """How many micrometers a unit of length has, in any spelling; None when it is unknown."""
    known = LENGTHS.get(length_unit(unit or ""))
    return None if known is None else known.micrometers


def seconds(interval: float, unit: str) -> float | None:
    """A frame interval in seconds; None where it is none or the unit unknown.

    Parameters
    ----------
    interval : float
    unit : str
        In any usual spelling; seconds when empty.
    """
    text = unit.strip().lower()
    by_symbol = {short: name for name, (short, _) in TIMES.items()}
    name = TIME_SPELLINGS.get(text) or by_symbol.get(text) or text.removesuffix("s")
    if name not in TIMES or not 0 < interval < math.inf:
        return None
    return interval * TIMES[name][1]


def in_one_unit(sizes: Mapping[str, tuple[float, str]]) -> tuple[dict[str, float], str]:
    """Sizes per axis in the unit that they share, otherwise in micrometers.

    Parameters
    ----------
    sizes : mapping of str to (float, str)
        Size and unit per axis. Sizes that are none (`is_size`), those without a unit, and units
        that are unknown where they differ, are left out.
    """
    known = {
        axis: (size, length_unit(unit))
        for axis, (size, unit) in sizes.items()
        if is_size(size) and length_unit(unit)
    }
    units = {unit for _, unit in known.values()}
    if len(units) <= 1:
        return {axis: size for axis, (size, _) in known.items()}, units.pop() if units else ""
    converted = {
        axis: size * LENGTHS[unit].micrometers
        for axis, (size, unit) in known.items()
        if unit in LENGTHS
    }
    return converted, MICROMETER if converted else ""


def is_size(size: float) -> bool:
    """Whether a voxel can have this size in any unit, and TIFF can hold it."""
    return SMALLEST < size < LARGEST
