"""OME-Zarr images, versions 0.4 (Zarr 2) and 0.5 (Zarr 3): read lazily, written tile by tile.

The format: https://ngff.openmicroscopy.org/0.4 and /0.5.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import LENGTHS, in_one_unit, seconds
from gvtzoo.images.lazy import Box, LazyImage, boxes

if TYPE_CHECKING:
    import zarr

log = logging.getLogger(__name__)

Version = Literal["0.4", "0.5"]

SUFFIX = ".zarr"
ORDER = "tczyx"  # which the format demands
KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
LARGEST_CHUNK = 2**31  # bytes
MOST_COUNTED = 10**5  # chunks that are counted
MOST_MISSING = 1000  # chunks for each that is there, of larger images
SMALLEST_LEVEL = 256  # voxels along y and x: coarser levels are of no use
LARGEST_TILE = {2: (1, 1, 1, 512, 512), 3: (1, 1, 32, 128, 128)}  # t c z y x, of chunks


@dataclass(frozen=True)
class ZarrOptions:
    """How OME-Zarr is written.

    Attributes
    ----------
    version : {"0.4", "0.5"}, optional
        By default 0.5.
    pyramid : bool
        Whether there are coarser resolutions too (`add_pyramid`).
    """

    version: Version | None = None
    pyramid: bool = False

    def suited_to(self, source: Path) -> ZarrOptions:
        """With the version of an input, where none is chosen and it is OME-Zarr."""
        if self.version is not None or not source.is_dir():
            return self
        return ZarrOptions(version_of(source), self.pyramid)


class Axis(BaseModel):
    name: str
    type: str | None = None
    unit: str | None = None


class Transformation(BaseModel):
    type: str
    scale: list[float] | None = None
    translation: list[float] | None = None


class Dataset(BaseModel):
    path: str
    coordinateTransformations: list[Transformation] = []  # noqa: N815


class Multiscale(BaseModel):
    """An image at several resolutions, the finest first."""

    axes: list[Axis]
    datasets: list[Dataset] = Field(min_length=1)
    coordinateTransformations: list[Transformation] = []  # noqa: N815
    name: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class ZarrArray:
    """An array whose troubles are told in one line.

    Attributes
    ----------
    array : zarr.Array
    name : str
        What to call the image in messages.
    """

    array: Any
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.array.shards or self.array.chunks)

    def __getitem__(self, box: Box) -> np.ndarray:
        try:
            return np.asarray(self.array[box])
        except Exception as error:  # stores and codecs fail in every way
            where = ", ".join(f"{part.start}:{part.stop}" for part in box)
            problem = " ".join(str(error).split()) or type(error).__name__
            raise GvtzooError(
                f"{self.name}: the voxels [{where}] cannot be read, a chunk seems damaged: "
                f"{problem}"
            ) from error


def open_ome_zarr(path: Path) -> LazyImage:
    """The image in an OME-Zarr folder, of which nothing is read yet.

    Parameters
    ----------
    path : Path
        Of the image's group: the ``.zarr`` folder, or a folder in it where it holds several.

    Raises
    ------
    GvtzooError
        When it is no OME-Zarr image of version 0.4 or 0.5, or a damaged one.
    """
    group = _open_group(path)
    attributes = dict(group.attrs)
    found = attributes.get("ome", attributes)
    if not isinstance(found, Mapping) or not found.get("multiscales"):
        raise GvtzooError(f"{path} is no OME-Zarr image{_images_in(found, group)}")
    multiscale = _multiscale(found, path)
    array = _finest(group, multiscale, path)
    dims = _dims(multiscale, array, path)
    pixel_size, unit = _calibration(multiscale, dims)
    channels = _channel_names(found, dict(zip(dims, array.shape, strict=True)).get("c", 1))
    return LazyImage(ZarrArray(array, path.name), dims, path.stem, pixel_size, unit, channels)


def version_of(path: Path) -> Version:
    """The version of an OME-Zarr image."""
    return "0.5" if "ome" in dict(_open_group(path).attrs) else "0.4"


def create_ome_zarr(
    path: Path, image: LazyImage, *, chunks: Sequence[int], version: Version | None = None
) -> Any:
    """A new OME-Zarr image, to be filled.

    Parameters
    ----------
    path : Path
        Of a folder that does not exist.
    image : LazyImage
        What it will look like: its array's shape and type, axes out of ``tczyx`` in this order,
        voxel size and channel names. None of its values is read.
    chunks : sequence of int
        One per axis.

    Returns
    -------
    zarr.Array
        The only resolution; `add_pyramid` makes the others.

    Raises
    ------
    GvtzooError
        For axes that the format does not have.
    """
    import zarr

    if list(image.dims) != [axis for axis in ORDER if axis in image.dims]:
        raise GvtzooError(
            f"{path.name}: an OME-Zarr image has axes out of {ORDER.upper()} in this order, not "
            f"{''.join(image.dims).upper()}"
        )
    version = version or "0.5"
    zarr_format: Literal[2, 3] = 2 if version == "0.4" else 3
    group = zarr.create_group(path, zarr_format=zarr_format)
    array = _create_array(group, "0", image.array.shape, chunks, image.array.dtype, image.dims)
    _describe(group, image, version, [(1,) * len(image.dims)])
    return array


def add_pyramid(path: Path, image: LazyImage) -> None:
    """Add coarser resolutions to an image, until y and x have 256 voxels at most.

    Each halves y and x, and z where its voxels are not larger than those of x by then; voxels are
    the means of those that they cover.

    Parameters
    ----------
    path : Path
        As `create_ome_zarr` has made it, filled.
    image : LazyImage
        As given to `create_ome_zarr`.
    """
    import zarr

    version = version_of(path)
    group = zarr.open_group(path, mode="r+")
    fine, scale = group["0"], (1,) * len(image.dims)
    assert isinstance(fine, zarr.Array)
    scales = [scale]
    while max(fine.shape[-2:]) > SMALLEST_LEVEL:
        factors = _factors(image, scale, fine.shape)
        shape = tuple(s // f for s, f in zip(fine.shape, factors, strict=True))
        chunks = tuple(min(c, s) for c, s in zip(fine.chunks, shape, strict=True))
        coarse = _create_array(group, str(len(scales)), shape, chunks, fine.dtype, image.dims)
        for box in boxes(shape, chunks):
            wide = tuple(slice(b.start * f, b.stop * f) for b, f in zip(box, factors, strict=True))
            coarse[box] = _block_means(np.asarray(fine[wide]), factors)
        scale = tuple(s * f for s, f in zip(scale, factors, strict=True))
        scales.append(scale)
        fine = coarse
    _describe(group, image, version, scales)


def suited_chunks(dims: Sequence[str], shape: Sequence[int], tile: Sequence[int]) -> list[int]:
    """Chunks of a moderate size that a tile is a multiple of, so that tiles share none.

    Parameters
    ----------
    dims : sequence of str
    shape : sequence of int
    tile : sequence of int
        ((z,) y, x).
    """
    limits = dict(zip(ORDER, LARGEST_TILE[3 if "z" in dims else 2], strict=True))
    tiles = dict(zip("zyx"[-len(tile) :], tile, strict=True))
    return [
        min(size, largest_divisor(tiles[axis], limits[axis])) if axis in tiles else 1
        for axis, size in zip(dims, shape, strict=True)
    ]


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of a number up to a limit."""
    return max(n for n in range(1, min(number, limit) + 1) if number % n == 0)


def _open_group(path: Path) -> zarr.Group:
    import zarr

    if not path.is_dir():
        raise GvtzooError(f"{path} is no folder: an OME-Zarr image is one")
    try:
        node = zarr.open(path, mode="r")
    except Exception as error:
        raise GvtzooError(f"{path} is no OME-Zarr image, or a damaged one: {error}") from error
    if not isinstance(node, zarr.Group):
        raise GvtzooError(f"{path} is a bare Zarr array: name the OME-Zarr folder that it is in")
    return node


def _images_in(found: Any, group: zarr.Group) -> str:
    kind = found if isinstance(found, Mapping) else {}
    if "plate" in kind or "well" in kind:
        return ", but a plate: name one of its images, such as plate.zarr/A/1/0"
    inside = [name for name in list(group.group_keys())[:4] if name != "OME"]
    return f": name one of the images in it, such as {inside[0]}" if inside else ""


def _multiscale(found: Mapping[str, Any], path: Path) -> Multiscale:
    try:
        multiscale = Multiscale.model_validate(found["multiscales"][0])
    except (ValidationError, LookupError, TypeError) as error:
        version = _stated_version(found)
        raise GvtzooError(
            f"{path} states no image that can be read (version {version}; 0.4 and 0.5 can be)"
        ) from error
    if len(found["multiscales"]) > 1:
        log.warning("%s holds %d images: the first is read", path, len(found["multiscales"]))
    return multiscale


def _stated_version(found: Mapping[str, Any]) -> str:
    try:
        return str(found.get("version") or found["multiscales"][0]["version"])
    except (LookupError, TypeError):
        return "unknown"


def _finest(group: zarr.Group, multiscale: Multiscale, path: Path) -> zarr.Array:
    import zarr

    name = multiscale.datasets[0].path
    if name.startswith("/") or ".." in name.split("/"):
        raise GvtzooError(f"{path} names an array outside of it, {name}")
    try:
        array = group[name]
    except Exception as error:
        raise GvtzooError(f"{path} lacks its array {name}, or it is damaged: {error}") from error
    if not isinstance(array, zarr.Array):
        raise GvtzooError(f"{path}: {name} is no array")
    if np.dtype(array.dtype).kind not in "buif":
        raise GvtzooError(f"{path} holds values of type {array.dtype}, not numbers")
    if not array.shape or min(array.shape) < 1:
        raise GvtzooError(f"{path} is empty (shape {array.shape})")
    stored = math.prod(array.shards or array.chunks) * array.dtype.itemsize
    if stored > LARGEST_CHUNK:
        raise GvtzooError(f"{path} has chunks of {stored} bytes, larger than can be read")
    if array.nchunks > MOST_COUNTED:
        _check_filled(path, array, path / name)
        return array
    missing = 0 if array.shards else array.nchunks - array.nchunks_initialized
    if missing:
        # Many programs leave out chunks that are all zero, so these need not be lost.
        log.warning(
            "%s: %d of its %d chunks are missing, and read as %s",
            path.name,
            missing,
            array.nchunks,
            array.fill_value,
        )
    return array


def _check_filled(path: Path, array: zarr.Array, folder: Path) -> None:
    """Refuse an image that tells of far more chunks than it has files."""
    needed = array.nchunks // MOST_MISSING
    files = (1 for _, _, names in os.walk(folder) for _ in names)
    there = sum(islice(files, needed))
    if there < needed and not array.shards:
        raise GvtzooError(
            f"{path} tells of an image of shape {array.shape} in {array.nchunks} chunks, but has "
            f"{there} files: it seems damaged"
        )


def _dims(multiscale: Multiscale, array: zarr.Array, path: Path) -> tuple[str, ...]:
    dims = tuple(axis.name.lower() for axis in multiscale.axes)
    if len(dims) != len(array.shape) or len(set(dims)) < len(dims) or not set(dims) <= set(ORDER):
        raise GvtzooError(
            f"{path} has axes {''.join(dims).upper()} and an array of shape {array.shape}: "
            f"one out of {ORDER.upper()} for each is needed"
        )
    if not {"y", "x"} <= set(dims):
        raise GvtzooError(f"{path} has axes {''.join(dims).upper()}: an image has at least Y and X")
    return dims


def _calibration(multiscale: Multiscale, dims: Sequence[str]) -> tuple[dict[str, float], str]:
    sizes = np.ones(len(dims))
    for steps in (
        multiscale.datasets[0].coordinateTransformations,
        multiscale.coordinateTransformations,
    ):
        for step in steps:
            if step.type == "scale" and step.scale and len(step.scale) == len(dims):
                sizes *= step.scale
    units = {axis.name.lower(): axis.unit or "" for axis in multiscale.axes}
    found = dict(zip(dims, map(float, sizes), strict=True))
    lengths = {axis: (found[axis], units[axis]) for axis in "zyx" if axis in found}
    pixel_size, unit = in_one_unit(lengths)
    time = units.get("t", "")
    interval = seconds(found["t"], time) if time else None
    if interval is not None:
        pixel_size["t"] = interval
    return pixel_size, unit


def _channel_names(found: Mapping[str, Any], count: int) -> list[str]:
    try:
        names = [str(channel["label"]) for channel in found["omero"]["channels"]]
    except (LookupError, TypeError):
        return []
    return names if len(names) == count else []


def _create_array(
    group: zarr.Group,
    name: str,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: Any,
    dims: Sequence[str],
) -> zarr.Array:
    older = group.metadata.zarr_format == 2
    return group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype=dtype,
        # Both separators are "/", which makes folders: 0.4 demands it.
        chunk_key_encoding={"name": "v2" if older else "default", "separator": "/"},
        dimension_names=None if older else list(dims),
        # A chunk that is not there was not written; so all are.
        config={"write_empty_chunks": True},
    )


def _describe(
    group: zarr.Group, image: LazyImage, version: Version, scales: Sequence[Sequence[int]]
) -> None:
    """Write the metadata of an image at some scales, each in voxels of the finest."""
    unit = image.unit if image.unit in LENGTHS else None
    units = {axis: unit for axis in "zyx" if axis in image.pixel_size}
    if "t" in image.pixel_size:
        units["t"] = "second"
    axes = [
        Axis(name=axis, type=KINDS[axis], unit=units.get(axis)).model_dump(exclude_none=True)
        for axis in image.dims
    ]
    size = [image.pixel_size.get(axis, 1.0) for axis in image.dims]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [s * f for s, f in zip(size, factors, strict=True)]},
                # A coarse voxel's centre is not that of the first of those that it covers.
                {
                    "type": "translation",
                    "translation": [s * (f - 1) / 2 for s, f in zip(size, factors, strict=True)],
                },
            ],
        }
        for level, factors in enumerate(scales)
    ]
    metadata: dict[str, Any] = {
        "multiscales": [{"name": image.name, "axes": axes, "datasets": datasets}]
    }
    if image.channels and "c" in image.dims:
        metadata["omero"] = {
            "channels": [
                {"label": name, "color": "FFFFFF", "active": True, "window": WINDOW}
                for name in image.channels
            ]
        }
    if version == "0.4":
        metadata["multiscales"][0]["version"] = version
        group.attrs.update(metadata)
    else:
        group.attrs["ome"] = {"version": version, **metadata}


# The format demands one; viewers then let their users set it.
WINDOW = {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0}


def _factors(image: LazyImage, scale: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """What the next coarser resolution divides each axis by."""
    sizes = dict(zip(image.dims, shape, strict=True))
    factors = {axis: 2 for axis in "yx" if sizes[axis] > 1}
    if {"z", "x"} <= set(image.pixel_size) and sizes.get("z", 1) > 1:
        now = {
            axis: image.pixel_size[axis] * factor
            for axis, factor in zip(image.dims, scale, strict=True)
            if axis in "zx"
        }
        if now["z"] <= 1.5 * now["x"]:
            factors["z"] = 2
    return tuple(factors.get(axis, 1) for axis in image.dims)


def _block_means(array: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    split = [n for s, f in zip(array.shape, factors, strict=True) for n in (s // f, f)]
    means = array.reshape(split).mean(axis=tuple(range(1, len(split), 2)), dtype=np.float64)
    return np.asarray(means.astype(array.dtype))
