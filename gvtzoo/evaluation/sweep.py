"""How good tiles of each size are: the paper's Fig. 3d.

Networks that look at the whole image lose something with every cut; the larger the tiles, the less.
The sweep measures how much, and a package carries what it says as its tiling hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress
from gvtzoo.images.lazy import LazyImage, whole
from gvtzoo.metrics.pair import evaluate_pair, pearson_r
from gvtzoo.packages.config import TilingHint

if TYPE_CHECKING:
    import xarray as xr

    from gvtzoo.evaluation.pairs import EvaluationPair
    from gvtzoo.prediction.engines import Engine
    from gvtzoo.prediction.frames import NormalizedInput
    from gvtzoo.prediction.model import Model

Method = Literal["halo", "blocks", "exact", "whole"]
Tile = tuple[int, ...]

METHODS: tuple[Method, ...] = ("halo", "blocks", "exact")
WAYS: dict[Method, str] = {
    "halo": "tiles with a halo",
    "blocks": "averaged blocks",
    "exact": "exact tiles",
    "whole": "whole image",
}
BLOCK_OVERLAP = 4  # blocks overlap by a quarter
FIRST_TILES = {2: (32, 32), 3: (16, 32, 32)}


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
    method : {"halo", "blocks", "exact", "whole"}
        Tiles whose halo is cut away, as programs do it that know of one; overlapping blocks that
        are averaged, as the paper's authors did it; or tiles with the sums over the whole image.
    images : int
        That the row is a mean of (of `max_difference`: the largest).
    """

    tile: Tile | None
    halo: Tile
    pearson_r: float
    max_difference: float
    metrics: dict[str, float]
    method: Method = "halo"
    images: int = 1


def sweep_tiles(
    model: Model,
    image: xr.DataArray,
    tiles: Sequence[Sequence[int]],
    truth: np.ndarray | None = None,
    *,
    methods: Sequence[Method] = ("halo",),
    device: str = "auto",
    progress: Progress | None = None,
) -> list[SweepRow]:
    """Predict an image in tiles of several sizes, and whole.

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
    methods : sequence of {"halo", "blocks", "exact"}
        What is done with tiles of every size.
    device : str
        As in `Settings`.
    progress : callable, optional
        ``progress(done, all)`` after each prediction.

    Returns
    -------
    list of SweepRow
        Method by method in the order of `tiles`, then the whole image.

    Raises
    ------
    GvtzooError
        When there are several times or positions, or no size is smaller than the image.
    """
    from gvtzoo.prediction.engines import make_engine
    from gvtzoo.prediction.settings import Settings
    from gvtzoo.prediction.tiling import receptive_radius

    suited = model.suit(LazyImage.of(image))
    frames = model.frames(suited.array, suited.dims)
    if len(frames) > 1:
        raise GvtzooError(f"the image has {len(frames)} times and positions: choose one")
    engine = make_engine(model.network, Settings(device=device))
    prepared = model.prepare_frame(frames[0])
    halo = _multiples(receptive_radius(model.network), model.config.network.multiple)
    wanted = [size for tile in tiles if (size := _tile(tile, prepared.shape[1:], model))]
    sizes = list(dict.fromkeys(wanted))
    if not sizes:
        raise GvtzooError(
            f"no tile is smaller than the image ({'×'.join(map(str, prepared.shape[1:]))}): "
            "choose smaller ones"
        )
    all_rows = [*((method, size) for method in methods for size in sizes), ("whole", None)]
    expected = _predict(model, engine, prepared, "whole", None, halo)
    rows = []
    for done, (method, size) in enumerate(all_rows, start=1):
        found = (
            expected if method == "whole" else _predict(model, engine, prepared, method, size, halo)
        )
        rows.append(
            SweepRow(
                size,
                halo if method == "halo" else (0,) * len(halo),
                pearson_r(expected, found),
                float(np.abs(found - expected).max() / np.ptp(expected)),
                {} if truth is None else evaluate_pair(truth, found),
                method,
            )
        )
        if progress is not None:
            progress(done, len(all_rows))
    return rows


def sweep_pair(
    model: Model,
    pair: EvaluationPair,
    tiles: Sequence[Sequence[int]] = (),
    device: str = "auto",
    progress: Progress | None = None,
) -> list[SweepRow]:
    """`sweep_tiles` of image files with every method that the network has, over `tile_sizes`.

    Parameters
    ----------
    model : Model
    pair : EvaluationPair
    tiles : sequence of tuple of int
        (z,) y, x; by default those of `tile_sizes`.
    device : str
        As in `Settings`.
    progress : callable, optional
        ``progress(done, all)`` after each prediction.
    """
    from gvtzoo.images.files import read_image

    several = "c" in model.axes and pair.channel is None
    source = read_image(pair.source, channel=pair.channel, keep_channels=several)
    truth = read_image(pair.target, channel=pair.target_channel).to_numpy().squeeze()
    suited = model.suit(LazyImage.of(source))
    size = [suited.sizes[axis] for axis in model.axes if axis != "c"]
    return sweep_tiles(
        model,
        source,
        tiles or tile_sizes(model, size),
        truth,
        methods=[name for name in METHODS if name != "exact" or model.config.exact],
        device=device,
        progress=progress,
    )


def mean_rows(sweeps: Iterable[Sequence[SweepRow]]) -> list[SweepRow]:
    """The mean of several images' sweeps, over the sizes that all of them have.

    `max_difference` is the largest of all.
    """
    by_size: dict[tuple[Method, Tile | None], list[SweepRow]] = {}
    count = 0
    for rows in sweeps:
        count += 1
        for row in rows:
            by_size.setdefault((row.method, row.tile), []).append(row)
    return [_mean(rows) for rows in by_size.values() if len(rows) == count]


def _mean(rows: Sequence[SweepRow]) -> SweepRow:
    return replace(
        rows[0],
        pearson_r=float(np.mean([row.pearson_r for row in rows])),
        max_difference=max(row.max_difference for row in rows),
        metrics={
            name: float(np.mean([row.metrics[name] for row in rows])) for name in rows[0].metrics
        },
        images=len(rows),
    )


def tile_sizes(model: Model, size: Sequence[int]) -> list[Tile]:
    """From the patch that the model was trained on, doubled until the whole image.

    Parameters
    ----------
    model : Model
    size : sequence of int
        Of the image, (z,) y, x.
    """
    dimensions = model.config.network.dimensions
    training = (model.config.recipe or {}).get("training", {})
    tile: Tile = tuple(training.get("patch", FIRST_TILES[dimensions]))
    sizes = []
    while any(t < s for t, s in zip(tile, size, strict=True)):
        sizes.append(tile)
        tile = tuple(2 * t for t in tile)
    return sizes


def tiling_hint(rows: Sequence[SweepRow], least_r: float = 0.99) -> TilingHint:
    """The smallest tiles with a halo that stay close to the whole image, else the closest.

    Parameters
    ----------
    rows : sequence of SweepRow
        Of `sweep_tiles`, with the method "halo" among others.
    least_r : float
        Pearson's r with the prediction of the whole image that counts as close.

    Raises
    ------
    GvtzooError
        When there are no tiles with a halo.
    """
    tiled = [row for row in rows if row.method == "halo" and row.tile is not None]
    if not tiled:
        raise GvtzooError("the sweep has no tiles with a halo, which the tiling hint is about")
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


def _predict(
    model: Model,
    engine: Engine,
    prepared: NormalizedInput,
    method: Method,
    tile: Tile | None,
    halo: Tile,
) -> np.ndarray:
    """The prediction (channel, …) of a prepared frame, in the units that the model gives."""
    from gvtzoo.prediction.blocks import predict_blocks
    from gvtzoo.prediction.exact.algorithm import predict_exact
    from gvtzoo.prediction.exact.execution import Runner
    from gvtzoo.prediction.tiling import predict_with_halo

    def predict(part: np.ndarray) -> np.ndarray:
        return engine.run(part, uncertainty=False)[0]

    region = prepared.crop[-model.config.network.output_dimensions :]
    channels = model.config.network.output_channels
    result = np.empty((channels, *(s.stop - s.start for s in region)), np.float32)
    (finished,) = model.finish_frame(prepared, [result])
    if method == "exact":
        runner = Runner(compiled=engine.compiled)
        predict_exact(engine.network, prepared, tile=tile, out=[finished], runner=runner)
        return result[0] if channels == 1 else result
    image = prepared[whole(prepared.shape)]
    if method == "halo":
        output = predict_with_halo(predict, image, tile or image.shape[1:], halo)
    elif method == "blocks":
        block = tile or image.shape[1:]
        overlap = tuple(size // BLOCK_OVERLAP for size in block)
        output = predict_blocks(lambda part: (predict(part),), image, block=block, overlap=overlap)[
            0
        ]
    else:
        output = predict(image)
    finished[whole(output.shape)] = output
    return result[0] if channels == 1 else result


def _tile(tile: Sequence[int], size: Sequence[int], model: Model) -> Tile | None:
    """The tile as the network can take it; None if that is the whole image."""
    network = model.config.network
    if len(tile) != network.dimensions:
        raise GvtzooError(f"tiles of {tuple(tile)}: {network.dimensions} sizes are needed")
    suited = _multiples(tile, network.multiple)
    if network.output_dimensions < network.dimensions:
        suited = (size[0], *suited[1:])
    suited = tuple(min(t, s) for t, s in zip(suited, size, strict=True))
    return None if suited == tuple(size) else suited


def _multiples(sizes: Sequence[int], multiple: Sequence[int]) -> Tile:
    return tuple(-(-s // m) * m for s, m in zip(sizes, multiple, strict=True))
