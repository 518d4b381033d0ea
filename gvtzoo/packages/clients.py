"""How other programs cut and normalize an image, as far as a prediction depends on it.

Read in the programs' sources, and written down as small functions, so that what a program's way
costs can be measured without it:

- Fiji: deepImageJ on JDLL, https://github.com/bioimage-io/JDLL, package ``…modelrunner.tiling``
  (`TileFactory`, `TileMaker`, `TileGrid`) and ``…runmodel`` (`runTiling`).
- ilastik: https://github.com/ilastik/ilastik, ``lazyflow/operators/tiktorch/operators.py``
  (`OpTikTorchClassifierPredict`), and https://github.com/ilastik/tiktorch.
- bioimageio.core: https://github.com/bioimage-io/core-bioimage-io-python, ``block_meta.py`` and
  ``_prediction_pipeline.py``.
- QuPath: https://github.com/qupath/qupath, ``BioimageIoTools``, ``OpenCVTools.applyTiled`` and
  ``ServerTools.getPaddedRequest``.

Images are (1, channel, (z,) y, x).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]
PadMode = Literal["reflect", "symmetric", "edge"]

EPSILON = 1e-6  # of the format's operators
JDLL_LARGEST = 4096 * 4096 * 3  # voxels of a tile
ILASTIK_AIM = {2: 512, 3: 64}
CORE_BLOCK = 10  # bioimageio.core's default block size parameter
QUPATH_AIM = 512


class CannotPredictError(Exception):
    """Why a program does not predict an image, in a few words."""


@dataclass(frozen=True)
class TileSizes:
    """What a description says of tiles, along (z,) y, x.

    Attributes
    ----------
    smallest, step : tuple of int
        Sizes are ``smallest + n · step``; a step of 0 is a fixed size.
    halo : tuple of int
    """

    smallest: tuple[int, ...]
    step: tuple[int, ...]
    halo: tuple[int, ...]

    @staticmethod
    def of(rdf: dict[str, Any]) -> TileSizes:
        """Those of a description."""
        axes = [axis for axis in rdf["inputs"][0]["axes"] if axis["type"] == "space"]
        halos = {axis.get("id"): axis.get("halo", 0) for axis in rdf["outputs"][0]["axes"]}
        sizes = [axis["size"] for axis in axes]
        return TileSizes(
            tuple(size if isinstance(size, int) else size["min"] for size in sizes),
            tuple(0 if isinstance(size, int) else size["step"] for size in sizes),
            tuple(halos.get(axis["id"], 0) for axis in axes),
        )

    def tile(self, number: int) -> tuple[int, ...]:
        """The tile of ``n = number``."""
        return tuple(m + number * s for m, s in zip(self.smallest, self.step, strict=True))


@dataclass(frozen=True)
class TileSpan:
    """One tile along one axis.

    Attributes
    ----------
    read : range
        Of the image, beyond whose border it may reach.
    kept : range
        What of the tile's prediction is put into the result.
    place : tuple of int
        Where in the result each of these goes.
    given : range, optional
        What of the image the tile is cut from; beyond it the tile is padded. By default all.
    """

    read: range
    kept: range
    place: tuple[int, ...]
    given: range | None = None


@dataclass(frozen=True)
class Outcome:
    """A program's prediction.

    Attributes
    ----------
    prediction : ndarray
    tiles : int
    seams : tuple of tuple of int
        Along each axis, where one tile's result ends and the next one's begins.
    """

    prediction: np.ndarray
    tiles: int
    seams: tuple[tuple[int, ...], ...]


def jdll(image: np.ndarray, run: Run, sizes: TileSizes, operations: list[Any]) -> Outcome:
    """Fiji: statistics of the whole image; tiles as large as the image, if the step lets them.

    A tile is mirrored beyond the image's border, edge included, and written as a whole, what lies
    beyond the border onto its mirror image; later tiles are written over earlier ones.

    Parameters
    ----------
    image : ndarray
        (1, channel, (z,) y, x), in the file's units.
    run : callable
        The network: from a normalized tile to its prediction.
    sizes : TileSizes
    operations : list
        The input's processing, as the description has it.

    Raises
    ------
    CannotPredictError
        When the image is refused, or the program never finishes.
    """
    shape = image.shape[2:]
    tile = [_jdll_tile(*each) for each in zip(shape, *_each(sizes), strict=True)]
    if any(step for step in sizes.step) and math.prod(tile) > JDLL_LARGEST:
        raise CannotPredictError("images above 50 million voxels never finish")
    for size, wanted in zip(shape, tile, strict=True):
        if 3 * size < wanted:
            raise CannotPredictError(f"refused: a tile of {wanted} is over 3 times the image")
    normalized = normalize(image, operations, nearest_rank=True)
    plan = [
        _jdll_parts(size, wanted, halo)
        for size, wanted, halo in zip(shape, tile, sizes.halo, strict=True)
    ]
    return _predict(normalized, run, plan, "symmetric")


def _jdll_tile(size: int, smallest: int, step: int, halo: int) -> int:
    if step == 0:
        return smallest
    tile = (size + 2 * halo) // step * step
    if tile > 3 * size and tile - step >= smallest:
        tile -= step
    rounded = -(-size // step) * step
    return rounded if tile > 3 * size and rounded >= smallest else tile


def _jdll_parts(size: int, tile: int, halo: int) -> list[TileSpan]:
    before = max(halo, -(-(tile - size) // 2))
    inside = tile - before - max(halo, tile - size - before)
    parts = []
    for number in range(-(-size // (tile - 2 * halo))):
        start = min(inside * number - before, size - inside)
        read = range(start, start + tile)
        mirrored = (place % (2 * size) for place in read)
        place = tuple(min(p, 2 * size - 1 - p) for p in mirrored)
        parts.append(TileSpan(read, range(tile), place))
    return parts


def ilastik(image: np.ndarray, run: Run, sizes: TileSizes, operations: list[Any]) -> Outcome:
    """ilastik: tiles of one size, statistics of each tile, mirrored around the image.

    The tile is the smallest that brings an axis to 64 (3D) or 512 (2D) voxels. Blocks without
    halo lie side by side; the tile around the last one is spread evenly.

    Parameters
    ----------
    image, run, sizes, operations
        As of `jdll`.
    """
    shape = image.shape[2:]
    aim = ILASTIK_AIM[len(shape)]
    needed = [-(-(aim - m) // s) for m, s in zip(sizes.smallest, sizes.step, strict=True) if s]
    tile = sizes.tile(max(0, min(needed, default=0)))
    plan = [
        list(_ilastik_parts(size, wanted, halo))
        for size, wanted, halo in zip(shape, tile, sizes.halo, strict=True)
    ]
    return _predict(image, lambda part: run(normalize(part, operations)), plan, "reflect")


def _ilastik_parts(size: int, tile: int, halo: int) -> Iterable[TileSpan]:
    block = tile - 2 * halo
    for start in range(0, size, block):
        stop = min(start + block, size)
        missing = block - (stop - start)
        first = start - halo - -(-missing // 2)
        yield TileSpan(
            range(first, first + tile), range(start - first, stop - first), _range(start, stop)
        )


def core_blocks(image: np.ndarray, run: Run, sizes: TileSizes, operations: list[Any]) -> Outcome:
    """bioimageio.core, blockwise: statistics of the whole image, the last block moved back.

    Parameters
    ----------
    image, run, sizes, operations
        As of `jdll`.

    Raises
    ------
    CannotPredictError
        When the image is smaller than a block.
    """
    shape = image.shape[2:]
    tile = sizes.tile(CORE_BLOCK)
    if any(size < wanted for size, wanted in zip(shape, tile, strict=True)):
        wide = "×".join(map(str, tile))
        raise CannotPredictError(f"refused: the image is smaller than a block of {wide}")
    plan = []
    for size, wanted, halo in zip(shape, tile, sizes.halo, strict=True):
        block = wanted - 2 * halo
        starts = [min(start, size - block) for start in range(0, size, block)]
        plan.append(
            [
                TileSpan(
                    range(start - halo, start + block + halo),
                    range(halo, halo + block),
                    _range(start, start + block),
                )
                for start in starts
            ]
        )
    return _predict(normalize(image, operations), run, plan, "symmetric")


def core_whole(image: np.ndarray, run: Run, sizes: TileSizes, operations: list[Any]) -> Outcome:
    """bioimageio.core: the image and a halo around it, statistics of both.

    Parameters
    ----------
    image, run, sizes, operations
        As of `jdll`.
    """
    plan = [
        [TileSpan(range(-halo, size + halo), range(halo, halo + size), _range(0, size))]
        for size, halo in zip(image.shape[2:], sizes.halo, strict=True)
    ]
    return _predict(image, lambda part: run(normalize(part, operations)), plan, "symmetric")


def qupath(image: np.ndarray, run: Run, sizes: TileSizes, operations: list[Any]) -> Outcome:
    """QuPath: square regions with a margin, statistics of each, cut once more inside.

    Beyond the image's border the outermost row is repeated; parts of a region that are smaller
    than a tile are mirrored.

    Parameters
    ----------
    image, run, sizes, operations
        As of `jdll`.

    Raises
    ------
    CannotPredictError
        When the image is a stack.
    """
    if image.ndim != 4:
        raise CannotPredictError("QuPath predicts 2D images only")
    tile = [
        smallest + ((QUPATH_AIM - smallest) // step * step if step and smallest < QUPATH_AIM else 0)
        for smallest, step in zip(sizes.smallest, sizes.step, strict=True)
    ]
    plan = []
    for size, wanted, halo in zip(image.shape[2:], tile, sizes.halo, strict=True):
        starts = range(0, size, wanted)
        stops = [min(start + wanted, size) for start in starts]
        plan.append(
            [
                TileSpan(
                    range(start - halo, stop + halo),
                    range(halo, halo + stop - start),
                    _range(start, stop),
                )
                for start, stop in zip(starts, stops, strict=True)
            ]
        )

    def region(part: np.ndarray) -> np.ndarray:
        inner = [
            list(_qupath_parts(size, wanted, halo))
            for size, wanted, halo in zip(part.shape[2:], tile, sizes.halo, strict=True)
        ]
        return _predict(normalize(part, operations), run, inner, "symmetric").prediction

    return _predict(image, region, plan, "edge")


def _qupath_parts(size: int, tile: int, halo: int) -> Iterable[TileSpan]:
    start = 0
    while True:
        stop = min(start + tile, size)
        first = start - (tile - (stop - start)) // 2
        begin = start + (halo if start else 0)
        end = stop if stop == size else stop - halo
        kept = range(begin - first, end - first)
        yield TileSpan(range(first, first + tile), kept, _range(begin, end), range(start, stop))
        if stop == size:
            return
        start = stop - 2 * halo


CLIENTS: dict[str, Callable[..., Outcome]] = {
    "Fiji (JDLL)": jdll,
    "ilastik": ilastik,
    "bioimageio.core, whole image": core_whole,
    "bioimageio.core, blocks": core_blocks,
    "QuPath": qupath,
}
"""By the program's name."""


def normalize(image: np.ndarray, operations: list[Any], nearest_rank: bool = False) -> np.ndarray:
    """What a description's preprocessing makes of an image, all statistics taken of all of it.

    Parameters
    ----------
    image : ndarray
    operations : list
        ``preprocessing`` of the description.
    nearest_rank : bool
        Whether percentiles are values of the image, as in JDLL, instead of interpolated ones.

    Raises
    ------
    CannotPredictError
        For an operation that not all programs run.
    """
    image = np.asarray(image, np.float32)
    for operation in operations:
        kwargs = operation.get("kwargs", {})
        if operation["id"] == "scale_range":
            ranks = (kwargs["min_percentile"], kwargs["max_percentile"])
            low, high = (
                np.percentile(image, ranks, method="inverted_cdf")
                if nearest_rank
                else np.percentile(image, ranks)
            )
            image = (image - low) / (high - low + EPSILON)
        elif operation["id"] == "zero_mean_unit_variance":
            wide = image.astype(np.float64)
            image = (image - wide.mean()) / (wide.std() + EPSILON)
        elif operation["id"] == "fixed_zero_mean_unit_variance":
            image = (image - kwargs["mean"]) / kwargs["std"]
        elif operation["id"] == "scale_linear":
            image = image * kwargs["gain"] + kwargs["offset"]
        elif operation["id"] != "ensure_dtype":
            raise CannotPredictError(f"{operation['id']} is not among the safe operations")
        image = np.asarray(image, np.float32)
    return image


def loss(outcome: Outcome, whole: np.ndarray) -> tuple[float, float, float | None]:
    """Largest difference and mean step at seams, as fractions of the range, and Pearson's r.

    Parameters
    ----------
    outcome : Outcome
    whole : ndarray
        The prediction of the whole image.

    Returns
    -------
    max_difference, pearson_r : float
    seams : float or None
        None where there is one tile.
    """
    scale = max(float(np.ptp(whole)), 1e-12)
    difference = outcome.prediction.astype(np.float64) - whole
    steps = [
        np.abs(difference.take(places, axis) - difference.take(np.array(places) - 1, axis)).ravel()
        for axis, places in enumerate(outcome.seams, start=2)
        if places
    ]
    pair = np.corrcoef(outcome.prediction.ravel(), whole.ravel())
    seams = float(np.concatenate(steps).mean()) / scale if steps else None
    return float(np.abs(difference).max()) / scale, float(pair[0, 1]), seams


def _each(sizes: TileSizes) -> tuple[tuple[int, ...], ...]:
    return sizes.smallest, sizes.step, sizes.halo


def _range(start: int, stop: int) -> tuple[int, ...]:
    return tuple(range(start, stop))


def _predict(
    image: np.ndarray, run: Run, plan: Sequence[Sequence[TileSpan]], mode: PadMode
) -> Outcome:
    """Every tile's prediction in its place."""
    shape = image.shape[2:]
    result: np.ndarray | None = None
    axes = len(shape)
    for parts in product(*plan):
        prediction = run(_read(image, parts, mode))
        axes = prediction.ndim - 2
        if result is None:
            size = (*prediction.shape[:2], *shape[len(shape) - axes :])
            result = np.full(size, np.nan, np.float32)
        kept = [np.array(part.kept) for part in parts[len(parts) - axes :]]
        place = [np.array(part.place) for part in parts[len(parts) - axes :]]
        result[_box(place)] = prediction[_box(kept)]
    assert result is not None
    seams = tuple(
        tuple(sorted({part.place[0] for part in parts[1:]} - {0}))
        for parts in plan[len(plan) - axes :]
    )
    return Outcome(result, math.prod(map(len, plan)), seams)


def _read(image: np.ndarray, parts: Sequence[TileSpan], mode: PadMode) -> np.ndarray:
    """A tile, which may reach beyond the image."""
    places = []
    for part, size in zip(parts, image.shape[2:], strict=True):
        given = part.given or range(size)
        before = max(0, given.start - part.read.start)
        padded = np.pad(np.array(given), (before, max(0, part.read.stop - given.stop)), mode=mode)
        start = part.read.start - given.start + before
        places.append(padded[start : start + len(part.read)])
    return np.ascontiguousarray(image[_box(places)])


def _box(places: Sequence[np.ndarray]) -> Any:
    """The index of these places along the last axes."""
    return (..., *np.ix_(*places))
