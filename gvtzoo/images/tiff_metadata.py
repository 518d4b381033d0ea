"""What TIFF files tell of their images: voxel sizes, frame intervals, names of channels.

Such numbers are optional, and often wrong: one that is none costs a note, never the image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import tifffile

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import (
    MICROMETER,
    in_one_unit,
    is_size,
    length_unit,
    micrometers,
    seconds,
)

MOST_PLANES = 10**6
# Of print and screen, not of a microscope, is a resolution coarser than this (in µm).
COARSEST = 10
# As Bio-Formats labels planes; no name of a channel.
PLANE_LABEL = re.compile(r"\b[ctz]:\d+/\d+")


@dataclass(frozen=True)
class Described:
    """What a file tells of one image.

    Attributes
    ----------
    pixel_size : dict of str to float
        Of z, y, x in `unit`, of t in seconds.
    unit : str
    channels : list of str
    notes : list of str
        What it tells that makes no sense.
    """

    pixel_size: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    channels: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Numbers:
    """Numbers out of metadata, and a note of those that are none."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def size(self, name: str, value: Any) -> float | None:
        """A voxel's size; None when it is none."""
        number = self._number(value)
        if number is not None and is_size(number):
            return number
        self.wrong.append(f"{name} {value!r}")
        return None

    def interval(self, name: str, value: Any, unit: str) -> float | None:
        """A frame interval in seconds; None when it is none. 0 is how programs say unknown."""
        number = self._number(value)
        found = None if number is None else seconds(number, unit)
        if found is None and number != 0:
            self.wrong.append(f"{name} {value!r} {unit}".rstrip())
        return found

    def notes(self) -> list[str]:
        if not self.wrong:
            return []
        return [f"{', '.join(self.wrong)}: no number that can be used, left out"]

    @staticmethod
    def _number(value: Any) -> float | None:
        try:
            return float(value)
        except (TypeError, ValueError):
            return None


def imagej_description(tiff: tifffile.TiffFile) -> Described:
    """Of an ImageJ hyperstack, or a plain TIFF file with a resolution."""
    metadata: Mapping[str, Any] = tiff.imagej_metadata or {}
    numbers = _Numbers()
    unit = length_unit(str(metadata.get("unit", "")))
    sizes = _resolution(tiff.pages.first.tags, unit)
    if "spacing" in metadata:
        z_unit = length_unit(str(metadata.get("zunit", ""))) or unit
        # The sign is that of the direction.
        spacing = numbers.size("spacing", _without_sign(metadata["spacing"]))
        if spacing is not None:
            sizes["z"] = (spacing, z_unit)
    pixel_size, unit = in_one_unit(sizes)
    if "finterval" in metadata:
        interval = numbers.interval(
            "finterval", metadata["finterval"], str(metadata.get("tunit", ""))
        )
        if interval is not None:
            pixel_size["t"] = interval
    return Described(pixel_size, unit, _imagej_channels(metadata), numbers.notes())


def _without_sign(value: Any) -> Any:
    return abs(value) if isinstance(value, (int, float)) else value


def _imagej_channels(metadata: Mapping[str, Any]) -> list[str]:
    # One label per plane, channels changing fastest.
    count = metadata.get("channels", 1)
    if not isinstance(count, int) or count < 2:
        return []
    labels = [str(label).split("\n")[0] for label in (metadata.get("Labels") or [])[:count]]
    return [] if any(PLANE_LABEL.search(label) for label in labels) else labels


def _resolution(tags: tifffile.TiffTags, unit: str) -> dict[str, tuple[float, str]]:
    unit_tag = tags.get("ResolutionUnit")
    resolution_unit = {2: "inch", 3: "centimeter"}.get(int(unit_tag.value) if unit_tag else 1, "")
    sizes = {}
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        numerator, denominator = tags[name].value if name in tags else (0, 0)
        if not numerator or not denominator:
            continue
        size = denominator / numerator
        in_micrometers = size * (micrometers(resolution_unit) or 0)
        if unit:
            sizes[axis] = (size, unit)
        elif 0 < in_micrometers < COARSEST:
            sizes[axis] = (in_micrometers, MICROMETER)
    return sizes


def ome_root(xml: str) -> ElementTree.Element | None:
    """OME-XML as a tree; None when it is no XML.

    Raises
    ------
    GvtzooError
        When it has a document type, by whose entities a short text becomes one of any size.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise GvtzooError("its OME-XML has a document type, which is not read")
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None


def check_ome(root: ElementTree.Element, voxels: int) -> None:
    """Refuse files elsewhere, and more planes, of `voxels` each, than anyone has.

    Raises
    ------
    GvtzooError
    """
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        name = element.get("FileName", "") if tag == "UUID" else ""
        if "/" in name or "\\" in name:
            raise GvtzooError(f"its OME-XML names a file in another folder, {name}")
        if tag == "TiffData":
            _check_planes(tag, max(map(int, element.attrib.values()), default=0))
        elif tag == "Pixels":
            sizes = [int(element.get(f"Size{axis}", "1")) for axis in "TCZYX"]
            _check_planes(tag, math.prod(sizes) // max(1, voxels))
        elif tag.startswith("ModuloAlong") and "Start" in element.attrib:
            start, end, step = (float(element.get(key, "1")) for key in ("Start", "End", "Step"))
            _check_planes(tag, int(1 + (end - start) / step))


def _check_planes(tag: str, planes: int) -> None:
    if planes > MOST_PLANES:
        raise GvtzooError(f"its OME-XML ({tag}) has {planes} planes, more than {MOST_PLANES}")


def ome_description(root: ElementTree.Element, names: Sequence[str], number: int) -> Described:
    """Of one of the images that OME-XML describes.

    Parameters
    ----------
    root : Element
    names : sequence of str
        Of the images that there are pixels of, in the order of the XML.
    number : int
        Which of these.
    """
    images = [image for image in root.iterfind("{*}Image") if image.find("{*}Pixels") is not None]
    if len(images) != len(names):  # some have no pixels here
        images = [image for image in images if image.get("Name", "") == names[number]]
        number = list(names[:number]).count(names[number])
    if number >= len(images):
        return Described()
    pixels = images[number].find("{*}Pixels")
    assert pixels is not None
    return _of_pixels(pixels)


def _of_pixels(pixels: ElementTree.Element) -> Described:
    numbers = _Numbers()
    sizes = {}
    for axis in "zyx":
        name = f"PhysicalSize{axis.upper()}"
        if name not in pixels.attrib:
            continue
        size = numbers.size(name, pixels.attrib[name])
        if size is not None:
            sizes[axis] = (size, length_unit(pixels.get(f"{name}Unit", MICROMETER)))
    pixel_size, unit = in_one_unit(sizes)
    if "TimeIncrement" in pixels.attrib:
        interval = numbers.interval(
            "TimeIncrement", pixels.attrib["TimeIncrement"], pixels.get("TimeIncrementUnit", "s")
        )
        if interval is not None:
            pixel_size["t"] = interval
    names = [channel.get("Name", "") for channel in pixels.findall("{*}Channel")]
    channels = [name or str(index) for index, name in enumerate(names)] if any(names) else []
    return Described(pixel_size, unit, channels, numbers.notes())
