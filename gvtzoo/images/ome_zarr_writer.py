"""OME-Zarr images, written tile by tile: version 0.4 as Zarr 2, 0.5 as Zarr 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import LazyImage, boxes
from gvtzoo.images.ome_zarr_metadata import ORDER, Version, describe, version_of

if TYPE_CHECKING:
    import zarr

    from gvtzoo.images.zarr_stores import Place

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

    def suited_to(self, source: Place) -> ZarrOptions:
        """With the version of an input, where none is chosen and it is OME-Zarr."""
        from gvtzoo.images.ome_zarr import written_version
        from gvtzoo.images.zarr_stores import is_zarr

        if self.version is not None or not is_zarr(source):
            return self
        return ZarrOptions(written_version(source), self.pyramid)


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
    version : {"0.4", "0.5"}, optional
        Of the format; by default 0.5.

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
    group.attrs.update(describe(image, version, [(1,) * len(image.dims)]))
    if image.fit:
        group.attrs.update({"gvtzoo": {"fit": image.fit}})
    return array


def add_pyramid(path: Path, image: LazyImage) -> None:
    """Add coarser resolutions to an image, until y and x have 256 voxels at most.

    Each halves y and x, and z where its voxels are not larger than those of x by then; voxels are
    the means of those that they cover, rounded where they are integers.

    Parameters
    ----------
    path : Path
        As `create_ome_zarr` has made it, filled.
    image : LazyImage
        As given to `create_ome_zarr`.
    """
    import zarr

    group = zarr.open_group(path, mode="r+")
    version = version_of(dict(group.attrs))
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
    group.attrs.update(describe(image, version, scales))


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
        chunk_along(size, tiles[axis], limits[axis]) if axis in tiles else 1
        for axis, size in zip(dims, shape, strict=True)
    ]


def chunk_along(size: int, tile: int, wanted: int) -> int:
    """The size of chunks along one axis, such that tiles share none.

    Parameters
    ----------
    size, tile : int
        Voxels of the image, and of a tile.
    wanted : int
        What chunks should have; they have a quarter of it at least. A tile without such a divisor,
        a prime number say, is one chunk: chunks of one voxel are as many files as voxels.
    """
    if tile >= size:
        return min(size, wanted)
    least = min(tile, wanted / 4)
    divisors = [n for n in range(1, tile + 1) if tile % n == 0 and n >= least]
    return min(divisors, key=lambda divisor: abs(math.log(divisor / wanted)))


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
    return np.asarray((means if array.dtype.kind == "f" else np.rint(means)).astype(array.dtype))
