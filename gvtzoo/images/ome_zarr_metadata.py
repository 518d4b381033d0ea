"""What OME-Zarr says of an image: its axes, levels, calibration and channels.

Axes, levels and transformations are read and written with the models of ome-zarr-models. Only the
axes and the levels' paths have to be valid for an image to be read; what else is wrong costs a
warning. The formats: https://ngff.openmicroscopy.org/0.4, /0.5 and, with coordinate systems, /0.6.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from gvtzoo.core.errors import GvtzooError, one_line
from gvtzoo.images.calibration import in_one_unit, is_size, length_unit, seconds

if TYPE_CHECKING:
    from gvtzoo.images.lazy import LazyImage

log = logging.getLogger(__name__)

Version = Literal["0.4", "0.5"]

ORDER = "tczyx"  # which the format demands
KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
READABLE = "0.4, 0.5 and 0.6 can be"
# The format demands one of every channel; viewers then let their users set it.
WINDOW = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}


@dataclass(frozen=True)
class Level:
    """One resolution of an image.

    Attributes
    ----------
    path : str
        Of its array, in the image's group.
    scale, translation : tuple of float
        Of every axis, in the axes' units: what a voxel measures, and where the first one's centre
        lies.
    """

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]


@dataclass(frozen=True)
class ImageMetadata:
    """An image's axes, units and levels, the finest first.

    Attributes
    ----------
    dims : tuple of str
        Out of ``tczyx``.
    units : tuple of str
        As the file spells them; empty where it states none.
    levels : tuple of Level
    channels : list of str
        Their names, or nothing.
    """

    dims: tuple[str, ...]
    units: tuple[str, ...]
    levels: tuple[Level, ...]
    channels: list[str]


def ome_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a group's attributes that OME-Zarr is about."""
    found = attributes.get("ome", attributes)
    return dict(found) if isinstance(found, Mapping) else {}


def version_of(attributes: Mapping[str, Any]) -> Version:
    """In which version an image of such attributes is best written again."""
    return "0.5" if "ome" in attributes else "0.4"


def read_metadata(ome: Mapping[str, Any], name: str) -> ImageMetadata:
    """The first image that a group's metadata tell of.

    Parameters
    ----------
    ome : mapping
        As from `ome_of`, with ``multiscales``.
    name : str
        What to call the image in messages.

    Raises
    ------
    GvtzooError
        When axes or levels are missing or wrong.
    """
    from ome_zarr_models.v05.axes import Axis

    try:
        multiscale = _with_plain_axes(ome["multiscales"][0])
        axes = TypeAdapter(list[Axis]).validate_python(multiscale["axes"])
        datasets = list(multiscale["datasets"])
        paths = TypeAdapter(list[str]).validate_python([dataset["path"] for dataset in datasets])
    except (ValidationError, LookupError, TypeError) as error:
        raise GvtzooError(
            f"{name} states no image that can be read (version {_version(ome)}; {READABLE})"
        ) from error
    if not paths:
        raise GvtzooError(f"{name} states an image without any array")
    if len(ome["multiscales"]) > 1:
        log.warning("%s holds %d images: the first is read", name, len(ome["multiscales"]))
    dims = tuple(str(axis.name).lower() for axis in axes)
    units = tuple(axis.unit if isinstance(axis.unit, str) else "" for axis in axes)
    whole = _transformations(multiscale.get("coordinateTransformations"), len(dims), name)
    levels = []
    for path, dataset in zip(paths, datasets, strict=True):
        own = _transformations(dataset.get("coordinateTransformations"), len(dims), name)
        levels.append(Level(path, *_joined(own, whole)))
    return ImageMetadata(dims, units, tuple(levels), _channel_names(ome))


def _version(ome: Mapping[str, Any]) -> str:
    try:
        return str(ome.get("version") or ome["multiscales"][0]["version"])
    except (LookupError, TypeError):
        return "unknown"


def _with_plain_axes(multiscale: Any) -> dict[str, Any]:
    """A multiscale of version 0.6 as one of 0.5: axes of its own, transformations in a row.

    In 0.6 axes belong to coordinate systems, of which an image's arrays lead to the first; what
    leads from there to others does not concern the image.
    """
    multiscale = dict(multiscale)
    systems = multiscale.get("coordinateSystems")
    if "axes" in multiscale or not systems:
        return multiscale
    datasets = []
    for dataset in multiscale["datasets"]:
        steps = list(dataset.get("coordinateTransformations") or [])
        if steps and steps[0].get("type") == "sequence":
            steps = list(steps[0]["transformations"])
        datasets.append({**dataset, "coordinateTransformations": steps})
    plain = {**multiscale, "axes": systems[0]["axes"], "datasets": datasets}
    plain.pop("coordinateTransformations", None)
    return plain


Transformation = tuple[tuple[float, ...], tuple[float, ...]]  # scale and translation


def _transformations(steps: Any, count: int, name: str) -> Transformation:
    """Scale and translation of a row of transformations; without effect where there are none."""
    from ome_zarr_models.v05.coordinate_transformations import VectorScale, VectorTranslation
    from ome_zarr_models.v05.multiscales import Dataset

    none = (1.0,) * count, (0.0,) * count
    if not steps:
        return none
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            read = Dataset(path="0", coordinateTransformations=steps).coordinateTransformations
    except ValidationError as error:
        problem = one_line(error.errors()[0]["msg"])
        log.warning("%s: scale and translation are left out, they are not valid: %s", name, problem)
        return none
    for warning in told:
        log.warning("%s: %s", name, warning.message)
    scale, shift = none
    for step in read:
        values: tuple[float, ...]
        if isinstance(step, VectorScale):
            values = scale = tuple(step.scale)
        elif isinstance(step, VectorTranslation):
            values = shift = tuple(step.translation)
        else:
            log.warning("%s: a %s that is stored as an array is not read", name, step.type)
            continue
        if len(values) != count:
            log.warning("%s: the %s of %d numbers is left out, there are %d axes", name, step.type,
                        len(values), count)  # fmt: skip
            return none
    return scale, shift


def _joined(first: Transformation, second: Transformation) -> Transformation:
    """One transformation after the other."""
    (scale, shift), (outer_scale, outer_shift) = first, second
    return (
        tuple(s * o for s, o in zip(scale, outer_scale, strict=True)),
        tuple(t * o + b for t, o, b in zip(shift, outer_scale, outer_shift, strict=True)),
    )


def _channel_names(ome: Mapping[str, Any]) -> list[str]:
    try:
        return [str(channel["label"]) for channel in ome["omero"]["channels"]]
    except (LookupError, TypeError):
        return []


def calibration(
    metadata: ImageMetadata, level: Level, name: str
) -> tuple[dict[str, float], str, dict[str, float]]:
    """Voxel size, its unit, and where the first voxel's centre lies, as `LazyImage` has them.

    Axes in several units are brought to one. An axis without unit has that of the others; where
    none has one, sizes stay the numbers that they are.

    Parameters
    ----------
    metadata : ImageMetadata
    level : Level
        Of the pyramid.
    name : str
        Of the image, for messages.
    """
    scale = dict(zip(metadata.dims, level.scale, strict=True))
    shift = dict(zip(metadata.dims, level.translation, strict=True))
    units = dict(zip(metadata.dims, metadata.units, strict=True))
    space = [axis for axis in "zyx" if axis in scale]
    wrong = [axis for axis in (*space, *("t" in scale) * ("t",)) if not is_size(scale[axis])]
    for axis in wrong:
        log.warning("%s: a voxel size of %g along %s is left out", name, scale[axis], axis)
    lengths = _lengths({axis: units[axis] for axis in space}, name)
    stated = {axis: scale[axis] for axis in space if axis not in wrong}
    if any(lengths.values()):
        sizes, unit = in_one_unit({axis: (stated[axis], lengths[axis]) for axis in stated})
    else:
        sizes, unit = (stated if any(size != 1 for size in stated.values()) else {}), ""
    factors = {axis: sizes[axis] / stated[axis] for axis in sizes}
    origin = {axis: shift[axis] * factors.get(axis, 1.0) for axis in space if shift[axis]}
    if "t" in scale and "t" not in wrong:
        factor = _seconds(units["t"], scale["t"], name)
        if factor:
            sizes["t"] = scale["t"] * factor
        if factor and shift["t"]:
            origin["t"] = shift["t"] * factor
    return sizes, unit, origin


def _lengths(units: Mapping[str, str], name: str) -> dict[str, str]:
    """The unit of every axis as the package spells it; of axes without one, that of the others."""
    found = {axis: length_unit(unit) for axis, unit in units.items()}
    known = {unit for unit in found.values() if unit}
    bare = [axis for axis, unit in found.items() if not unit]
    if len(known) == 1 and bare:
        (unit,) = known
        log.warning("%s states no unit along %s: %s is taken", name, ", ".join(bare), unit)
        return dict.fromkeys(found, unit)
    return found


def _seconds(unit: str, interval: float, name: str) -> float | None:
    """Seconds in a unit of time; None where nothing is stated."""
    factor = seconds(1.0, unit)
    if not unit and interval == 1:
        return None
    if not unit or factor is None:
        log.warning("%s: times in %r are taken for seconds", name, unit)
        return 1.0
    return factor


def describe(
    image: LazyImage, version: Version, factors: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """A group's attributes for an image at some levels.

    Parameters
    ----------
    image : LazyImage
        Of the finest level.
    version : {"0.4", "0.5"}
    factors : sequence of sequence of int
        Of every level: how many voxels of the finest one of its voxels covers along each axis.
    """
    from ome_zarr_models.v05.axes import Axis
    from ome_zarr_models.v05.multiscales import Dataset, Multiscale

    multiscale = Multiscale(
        name=image.name,
        axes=[Axis(name=axis, type=KINDS[axis], unit=_unit(axis, image)) for axis in image.dims],
        datasets=tuple(
            Dataset.build(path=str(number), **_placed(image, level))
            for number, level in enumerate(factors)
        ),
    )
    ome: dict[str, Any] = {"multiscales": [multiscale.model_dump(exclude_none=True)]}
    if image.channels and "c" in image.dims:
        ome["omero"] = {
            "channels": [
                {"label": name, "color": "FFFFFF", "active": True, "window": WINDOW}
                for name in image.channels
            ]
        }
    if version == "0.4":
        ome["multiscales"][0]["version"] = version
        return ome
    return {"ome": {"version": version, **ome}}


def _unit(axis: str, image: LazyImage) -> str | None:
    if axis == "t":
        return "second" if "t" in image.pixel_size else None
    if axis not in "zyx" or not {axis} & {*image.pixel_size, *image.origin}:
        return None
    return image.unit or None


def _placed(image: LazyImage, factors: Sequence[int]) -> dict[str, list[float]]:
    """Scale and translation of a level, whose first voxel is centred in those that it covers."""
    size = [image.pixel_size.get(axis, 1.0) for axis in image.dims]
    first = [image.origin.get(axis, 0.0) for axis in image.dims]
    return {
        "scale": [s * f for s, f in zip(size, factors, strict=True)],
        "translation": [o + s * (f - 1) / 2 for o, s, f in zip(first, size, factors, strict=True)],
    }
