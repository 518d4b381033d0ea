"""How good tiles of each size are: the paper's Fig. 3d.

Networks that look at the whole image lose something with every cut; the larger the tiles, the less.
The sweep measures how much, and a package carries what it says as its tiling hint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gvtzoo.errors import GvtzooError
from gvtzoo.evaluation.metrics import evaluate_pair, pearson_r
from gvtzoo.images.lazy import LazyImage, whole
from gvtzoo.packaging.config import TilingHint

if TYPE_CHECKING:
    import xarray as xr

    from gvtzoo.prediction.predictor import Model

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SweepRow:
    """What tiles of one size give.

    Attributes
    ----------
    tile : tuple of int or None
        (z,) y, x in voxels; None for the whole image.
    halo : tuple of int
        Voxels around each tile that the network sees too: as far as its convolutions reach.
    pearson_r : float
        With the prediction of the whole image.
    max_difference : float
        To the prediction of the whole image, the largest, as a share of its range.
    metrics : dict of str to float
        Against the truth (`evaluate_pair`), if there is one.
    """

    tile: tuple[int, ...] | None
    halo: tuple[int, ...]
    pearson_r: float
    max_difference: float
    metrics: dict[str, float]


def sweep_tiles(
    model: Model,
    image: xr.DataArray,
    tiles: Sequence[Sequence[int]],
    truth: np.ndarray | None = None,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[SweepRow]:
    """Predict an image in tiles of several sizes, each with a halo, and whole.

    Parameters
    ----------
    model : Model
    image : DataArray
        One time and position.
    tiles : sequence of tuple of int
        (z,) y, x; made multiples of what the network needs, upwards. Those as large as the image
        are left out. A projection's tiles have all of z.
    truth : ndarray, optional
        Of the prediction's shape.
    device : str
        As in `Settings`.
    progress : callable, optional
        ``progress(done, all)`` after each size.

    Returns
    -------
    list of SweepRow
        In the order of `tiles`, then the whole image.

    Raises
    ------
    GvtzooError
        When there are several times or positions, or no size is smaller than the image.
    """
    from gvtzoo.prediction.predictor import Settings, prepare, run_network
    from gvtzoo.prediction.tiling import convolution_reach, predict_with_halo

    suited = model.suit(LazyImage.of(image))
    frames = model.frames(suited.array, suited.dims)
    if len(frames) > 1:
        raise GvtzooError(f"the image has {len(frames)} times and positions: choose one")
    network = prepare(model.network, Settings(device=device))
    prepared = model.prepare_frame(frames[0])
    padded = prepared[whole(prepared.shape)]
    multiple = model.config.network.multiple
    halo = _multiples(convolution_reach(model.network), multiple)
    sizes = [size for tile in tiles if (size := _tile(tile, padded.shape[1:], model))]
    if not sizes:
        raise GvtzooError(
            f"no tile is smaller than the image ({'×'.join(map(str, padded.shape[1:]))}): "
            "choose smaller ones"
        )

    def predict(part: np.ndarray) -> np.ndarray:
        return run_network(network, part, uncertainty=False)[0]

    def finished(output: np.ndarray) -> np.ndarray:
        result = np.empty((len(output), *(s.stop - s.start for s in region)), np.float32)
        model.finish_frame(prepared, [result])[0][whole(output.shape)] = output
        return result[0]

    region = prepared.crop[-model.config.network.output_dimensions :]
    expected = finished(predict(padded))
    rows = []
    for done, size in enumerate([*dict.fromkeys(sizes), None], start=1):
        found = (
            expected if size is None else finished(predict_with_halo(predict, padded, size, halo))
        )
        rows.append(
            SweepRow(
                size,
                halo,
                pearson_r(expected, found),
                float(np.abs(found - expected).max() / np.ptp(expected)),
                {} if truth is None else evaluate_pair(truth, found),
            )
        )
        if progress is not None:
            progress(done, len(sizes) + 1)
    return rows


def tiling_hint(rows: Sequence[SweepRow], least_r: float = 0.99) -> TilingHint:
    """The smallest tiles that stay close to the whole image, else the closest.

    Parameters
    ----------
    rows : sequence of SweepRow
        Of `sweep_tiles`.
    least_r : float
        Pearson's r with the prediction of the whole image that counts as close.
    """
    tiled = [row for row in rows if row.tile is not None]
    close = [row for row in tiled if row.pearson_r >= least_r]
    if close:
        best = min(close, key=lambda row: np.prod(row.tile or ()))
    else:
        best = max(tiled, key=lambda row: row.pearson_r)
    assert best.tile is not None
    return TilingHint(
        tile=best.tile,
        halo=best.halo,
        pearson_r=best.pearson_r,
        max_difference=best.max_difference,
    )


def _tile(tile: Sequence[int], size: Sequence[int], model: Model) -> tuple[int, ...] | None:
    """The tile as the network can take it; None if that is the whole image."""
    network = model.config.network
    if len(tile) != network.dimensions:
        raise GvtzooError(f"tiles of {tuple(tile)}: {network.dimensions} sizes are needed")
    suited = _multiples(tile, network.multiple)
    if network.output_dimensions < network.dimensions:
        suited = (size[0], *suited[1:])
    suited = tuple(min(t, s) for t, s in zip(suited, size, strict=True))
    return None if suited == tuple(size) else suited


def _multiples(sizes: Sequence[int], multiple: Sequence[int]) -> tuple[int, ...]:
    return tuple(-(-s // m) * m for s, m in zip(sizes, multiple, strict=True))
