"""OME-Zarr images, read lazily: versions 0.4, 0.5 and 0.6, of Zarr 2 and 3, wherever they lie.

What a group holds is either an image at some levels, or a collection of images: a plate, a well, or
what bioformats2raw made of a file with several. A collection is read image by image.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import Box, LazyImage
from gvtzoo.images.ome_zarr_metadata import (
    ORDER,
    ImageMetadata,
    Version,
    calibration,
    ome_of,
    read_metadata,
    version_of,
)
from gvtzoo.images.zarr_stores import Place, inside, is_url, name_of, open_group

if TYPE_CHECKING:
    import zarr

log = logging.getLogger(__name__)

LARGEST_CHUNK = 2**31  # bytes
MOST_COUNTED = 10**5  # chunks that are counted
MOST_MISSING = 1000  # chunks for each that is there, of larger images
BIOFORMATS2RAW = "bioformats2raw.layout"


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
        """Sizes along the array's axes."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        """The type of its values."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is read at once: shards, where there are any, else chunks."""
        return tuple(self.array.shards or self.array.chunks)

    def __getitem__(self, box: Box) -> np.ndarray:
        known = set(self._absent)
        try:
            values = np.asarray(self.array[box])
        except GvtzooError:
            raise
        except Exception as error:  # stores and codecs fail in every way
            where = ", ".join(f"{part.start}:{part.stop}" for part in box)
            problem = " ".join(str(error).split()) or type(error).__name__
            raise GvtzooError(
                f"{self.name}: the voxels [{where}] cannot be read, a chunk seems damaged: "
                f"{problem}"
            ) from error
        if self._absent and not known:
            log.warning(
                "%s: chunks are missing on the server, such as %s, and read as %s",
                self.name,
                min(self._absent),
                self.array.fill_value,
            )
        return values

    @property
    def _absent(self) -> set[str]:
        """Chunks that a server has been found not to have."""
        found: set[str] = getattr(self.array.store, "absent", set())
        return found


def open_ome_zarr(
    place: Place, level: int | None = None, series: int | str | None = None
) -> LazyImage:
    """An OME-Zarr image, of which nothing is read yet.

    Parameters
    ----------
    place : path or str
        Of the image's group: a folder, a zip file, an address (https, s3), or a group in one of
        these; or of a collection with a single image.
    level : int, optional
        Which resolution: 0, the finest, to so many as there are.
    series : int or str, optional
        Which image of a collection, by number (from 0) or path.

    Raises
    ------
    GvtzooError
        When it is no OME-Zarr image, or a damaged one, or a collection of several.
    """
    group = open_group(place)
    ome = ome_of(dict(group.attrs))
    if not ome.get("multiscales"):
        return open_ome_zarr(inside(place, _chosen(place, group, ome, series)), level)
    if series not in (None, 0, "0"):
        raise GvtzooError(f"{place} holds a single image, there is no series {series}")
    metadata = read_metadata(ome, str(place))
    number = level or 0
    if not 0 <= number < len(metadata.levels):
        raise GvtzooError(
            f"{place} has no level {number}, it has {len(metadata.levels)}, from 0, the finest"
        )
    chosen = metadata.levels[number]
    array = _array(group, chosen.path, place)
    _check_axes(metadata, array, place)
    pixel_size, unit, origin = calibration(metadata, chosen, str(place))
    sizes = dict(zip(metadata.dims, array.shape, strict=True))
    channels = metadata.channels if len(metadata.channels) == sizes.get("c", 1) else []
    return LazyImage(
        ZarrArray(array, _short(place)),
        metadata.dims,
        name_of(place),
        pixel_size,
        unit,
        channels,
        origin,
    )


def images_in(place: Place) -> list[Place]:
    """The images of a collection, each as `open_ome_zarr` takes it; of an image, itself."""
    group = open_group(place)
    ome = ome_of(dict(group.attrs))
    if ome.get("multiscales"):
        return [place]
    return [inside(place, path) for path in _paths(place, group, ome)] or [place]


def written_version(place: Place) -> Version:
    """The version that what is made of an image is best written in."""
    return version_of(dict(open_group(place).attrs))


def _paths(place: Place, group: zarr.Group, ome: Mapping[str, Any]) -> list[str]:
    """Paths of the images of a plate, a well or what bioformats2raw writes, in `group`."""
    from ome_zarr_models.v05.plate import WellInPlate
    from ome_zarr_models.v05.well_types import WellImage

    try:
        if "plate" in ome:
            wells = TypeAdapter(list[WellInPlate]).validate_python(ome["plate"]["wells"])
            return [
                f"{well.path}/{image}"
                for well in wells
                for image in _paths(place, group, ome_of(dict(group[well.path].attrs)))
            ]
        if "well" in ome:
            images = TypeAdapter(list[WellImage]).validate_python(ome["well"]["images"])
            return [image.path for image in images]
    except (ValidationError, LookupError, TypeError) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        raise GvtzooError(f"{place}: its plate or well cannot be read ({problem})") from error
    if BIOFORMATS2RAW not in ome:
        return []
    listed = ome_of(dict(group["OME"].attrs)).get("series") if "OME" in group else None
    if isinstance(listed, list):
        return [str(path) for path in listed]
    return list(takewhile(lambda number: number in group, map(str, count())))


def _chosen(
    place: Place, group: zarr.Group, ome: Mapping[str, Any], series: int | str | None
) -> str:
    """The path of an image of a collection."""
    paths = _paths(place, group, ome)
    if not paths:
        hint = f": name one of the images in it, such as {_first_group(group)}"
        raise GvtzooError(f"{place} is no OME-Zarr image{hint if _first_group(group) else ''}")
    if series is None and len(paths) == 1:
        return paths[0]
    number = int(str(series)) if str(series).isdigit() else None
    if series in paths:
        return str(series)
    if number is not None and number < len(paths):
        return paths[number]
    kind = "a plate" if "plate" in ome else "a collection"
    problem = f"is {kind} of {len(paths)} images" if series is None else f"has no image {series}"
    raise GvtzooError(
        f"{place} {problem}: name one, such as {inside(place, paths[0])}, or all by predicting "
        "the whole into a folder"
    )


def _first_group(group: zarr.Group) -> str | None:
    try:
        return next((name for name in group.group_keys() if name != "OME"), None)
    except Exception:  # servers do not list
        return None


def _short(place: Place) -> str:
    return str(place) if is_url(place) else Path(place).name


def _array(group: zarr.Group, name: str, place: Place) -> zarr.Array:
    import zarr

    if name.startswith("/") or ".." in name.split("/"):
        raise GvtzooError(f"{place} names an array outside of it, {name}")
    try:
        array = group[name]
    except GvtzooError:
        raise
    except Exception as error:
        raise GvtzooError(f"{place} lacks its array {name}, or it is damaged: {error}") from error
    if not isinstance(array, zarr.Array):
        raise GvtzooError(f"{place}: {name} is no array")
    if np.dtype(array.dtype).kind not in "buif":
        raise GvtzooError(f"{place} holds values of type {array.dtype}, not numbers")
    if not array.shape or min(array.shape) < 1:
        raise GvtzooError(f"{place} is empty (shape {array.shape})")
    stored = math.prod(array.shards or array.chunks) * array.dtype.itemsize
    if stored > LARGEST_CHUNK:
        raise GvtzooError(f"{place} has chunks of {stored} bytes, larger than can be read")
    if not is_url(place) and Path(place).is_dir():
        _check_filled(Path(place), array, Path(place) / name)
    return array


def _check_filled(path: Path, array: zarr.Array, folder: Path) -> None:
    """Tell of chunks that are missing; refuse an image with far more of these than others."""
    if array.shards:
        return
    if array.nchunks > MOST_COUNTED:
        needed = array.nchunks // MOST_MISSING
        files = (1 for _, _, names in os.walk(folder) for _ in names)
        there = sum(islice(files, needed))
        if there < needed:
            raise GvtzooError(
                f"{path} tells of an image of shape {array.shape} in {array.nchunks} chunks, but "
                f"has {there} files: it seems damaged"
            )
        return
    missing = array.nchunks - array.nchunks_initialized
    if missing:
        # Many programs leave out chunks that are all zero, so these need not be lost.
        log.warning(
            "%s: %d of its %d chunks are missing, and read as %s",
            path.name,
            missing,
            array.nchunks,
            array.fill_value,
        )


def _check_axes(metadata: ImageMetadata, array: zarr.Array, place: Place) -> None:
    dims = metadata.dims
    named = "".join(dims).upper()
    if len(dims) != len(array.shape) or len(set(dims)) < len(dims) or not set(dims) <= set(ORDER):
        raise GvtzooError(
            f"{place} has axes {named} and an array of shape {array.shape}: "
            f"one out of {ORDER.upper()} for each is needed"
        )
    if not {"y", "x"} <= set(dims):
        raise GvtzooError(f"{place} has axes {named}: an image has at least Y and X")
