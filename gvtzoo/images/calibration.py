"""Pixel sizes and frame intervals in the units that microscopy files use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

SMALLEST, LARGEST = 1e-9, 1e9  # of a voxel, in any unit
MICROMETER = "micrometer"
MICROMETER_NAMES = {
    "um",
    "µm",
    "μm",
    "micron",
    "microns",
    "micrometer",
    "micrometers",
    "micrometre",
}
UNCALIBRATED = {"", "pixel", "pixels", "px", "reference frame"}
MICROMETERS = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    MICROMETER: 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400.0,
    "m": 1e6,
}
SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "usec": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "": 1.0,
    "s": 1.0,
    "sec": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
}


def length_unit(text: str) -> str:
    """The unit's name, micrometers always as ``micrometer``; empty when uncalibrated."""
    # ImageJ escapes letters beyond ASCII, as in \u00B5m.
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text).strip()
    if text.lower() in UNCALIBRATED:
        return ""
    return MICROMETER if text.lower() in MICROMETER_NAMES else text


def seconds(interval: float, unit: str) -> float | None:
    """A frame interval in seconds; None where it is zero or the unit unknown."""
    factor = SECONDS.get(unit.strip().lower())
    return interval * factor if factor and 0 < interval < math.inf else None


def in_one_unit(sizes: Mapping[str, tuple[float, str]]) -> tuple[dict[str, float], str]:
    """Sizes per axis in the unit that they share, otherwise in micrometers.

    Parameters
    ----------
    sizes : mapping of str to (float, str)
        Size and unit per axis. Sizes that are none (`is_size`), and units that are unknown
        where they differ, are left out.
    """
    known = {axis: (size, unit) for axis, (size, unit) in sizes.items() if is_size(size) and unit}
    units = {unit for _, unit in known.values()}
    if len(units) <= 1:
        return {axis: size for axis, (size, _) in known.items()}, units.pop() if units else ""
    converted = {
        axis: size * MICROMETERS[unit]
        for axis, (size, unit) in known.items()
        if unit in MICROMETERS
    }
    return converted, MICROMETER if converted else ""


def is_size(size: float) -> bool:
    """Whether a voxel can have this size in any unit, and TIFF can hold it."""
    return SMALLEST < size < LARGEST
