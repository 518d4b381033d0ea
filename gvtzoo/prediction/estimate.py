"""What a prediction will take, before it starts: tiles, passes, time, memory and disk.

Time follows from one tile of each pass, computed for real on zeros: how long a network takes does
not depend on what is in the image.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.images.lazy import LazyImage
from gvtzoo.networks.gvtnet import GVTNet
from gvtzoo.prediction.engines import Engine
from gvtzoo.prediction.exact.algorithm import predict_planned
from gvtzoo.prediction.exact.execution import (
    Combine,
    Map,
    Partial,
    Runner,
    TileTask,
    free_disk,
    scratch_folder,
)
from gvtzoo.prediction.exact.maps import Box, Sizes
from gvtzoo.prediction.exact.plan import Plan, as_gvtnet, make_plans, stages
from gvtzoo.prediction.exact.stored import Grid
from gvtzoo.prediction.large import padded, seen_shape
from gvtzoo.prediction.memory import whole_image_memory
from gvtzoo.prediction.model import (
    DEFAULT_OVERLAP,
    Model,
    budget_of,
    check_block,
    choose_tiling,
    default_block,
)
from gvtzoo.prediction.resampling import choose_resampling, with_pixel_size
from gvtzoo.prediction.settings import Settings

SAMPLE = 2_000_000  # voxels, at most, that are predicted to time a whole image
SHARE = 0.02  # of an image that is predicted to see whether it takes long
LONG = 60  # seconds; what takes longer is said before the start
SLOW = 3  # seconds of a run in which compiling does not count
DISK_BYTES = 4  # a voxel of what is written


@dataclass(frozen=True)
class Estimate:
    """What the prediction of an image takes.

    Attributes
    ----------
    tiling : {"whole", "exact", "blocks"}
        What "auto" came to.
    tile : tuple of int
        (z,) y, x; the whole padded image where it is predicted at once.
    tiles, passes, frames : int
        Tiles of the last pass, passes over the image, and times and positions that are looped over.
    seconds : float
    memory, disk : int
        Bytes beyond the image and the result; and of the result and feature maps on disk.
    allowed : int
        Bytes that the prediction may take.
    """

    tiling: str
    tile: tuple[int, ...]
    tiles: int
    passes: int
    frames: int
    seconds: float
    memory: int
    disk: int
    allowed: int

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        size = "×".join(map(str, self.tile))
        how = {
            "whole": f"at once, {size} voxels",
            "exact": f"exactly, in {self.tiles} tiles of {size} voxels, {self.passes} passes",
            "blocks": f"in {self.tiles} overlapping blocks of {size} voxels",
        }[self.tiling]
        frames = "" if self.frames == 1 else f", for each of {self.frames} frames"
        found = [
            f"how: {how}{frames}",
            f"time: about {duration(self.seconds)}",
            f"memory: about {amount(self.memory)}, of {amount(self.allowed)} allowed",
            f"disk: about {amount(self.disk)}",
        ]
        if self.memory > self.allowed:
            found.append(f"to fit: --memory {math.ceil(self.memory / 1e8) / 10:g}GB")
        return found


def announcement(model: Model, image: LazyImage, settings: Settings) -> str | None:
    """What a prediction takes, in one line; None when it is done in about a minute.

    Parameters
    ----------
    model, image, settings
        As of `estimate`.
    """
    shape, frames = _seen(model, image, settings)
    sample = int(SHARE * math.prod(shape[1:]))
    if frames * time_at_once(model.engine(settings), shape, min(SAMPLE, sample)) < LONG:
        return None
    return "; ".join(estimate(model, image, settings).lines())


def _seen(model: Model, image: LazyImage, settings: Settings) -> tuple[tuple[int, ...], int]:
    """The shape (channel, (z,) y, x) that the network sees of each frame, and their number."""
    image = model.suit(with_pixel_size(image, settings))
    frames = model.frames(image.array, image.dims)
    resampling = choose_resampling(model.config, image, settings)
    return padded(model, seen_shape(frames[0], resampling)), len(frames)


def estimate(
    model: Model, image: LazyImage, settings: Settings, *, to_file: bool = True
) -> Estimate:
    """Time one tile of each pass, and say what the whole prediction takes.

    Parameters
    ----------
    model : Model
    image : LazyImage
        Only its axes and sizes are looked at.
    settings : Settings
    to_file : bool
        Whether feature maps are kept on disk, as from file to file.

    Raises
    ------
    GvtzooError
        When the image does not suit the model.
    """
    shape, frames = _seen(model, image, settings)
    network, size = model.config.network, shape[1:]
    engine = model.engine(settings)
    allowed = budget_of(engine.device, settings)
    tiling = choose_tiling(model.config, size, settings, allowed)
    suited = model.suit(image)
    _, written_shape = model.output(suited.dims, suited.array.shape)
    written = DISK_BYTES * math.prod(written_shape)
    if tiling == "exact":
        plans = make_plans(
            as_gvtnet(engine.network),
            size,
            allowed,
            disk=10**18 if to_file else free_disk(scratch_folder()),
            in_memory=not to_file,
            live_maps=engine.compiled.live_maps,
        )
        seconds, passes, tiles = time_of_tiles(engine, shape, plans)
        memory = max(plan.memory for plan in plans)
        disk = written + max(plan.kept if plan.on_disk else 0 for plan in plans)
        total = seconds * frames
        return Estimate(tiling, plans[0].tile, tiles, passes, frames, total, memory, disk, allowed)
    tile, tiles = size, 1
    if tiling == "blocks":
        tile = check_block(settings.block or default_block(model.config, size), network.multiple)
        overlap = settings.overlap or DEFAULT_OVERLAP[network.dimensions]
        tile = tuple(min(t, s) for t, s in zip(tile, size, strict=True))
        steps = (max(1, t - o) for t, o in zip(tile, overlap, strict=True))
        tiles = math.prod(
            -(-max(0, s - t) // step) + 1 for s, t, step in zip(size, tile, steps, strict=True)
        )
    seconds = tiles * time_at_once(engine, (shape[0], *tile))
    memory = whole_image_memory(network, tile, settings.dtype)
    total = seconds * frames
    return Estimate(tiling, tile, tiles, 1, frames, total, memory, written, allowed)


def time_at_once(engine: Engine, shape: Sequence[int], sample: int = SAMPLE) -> float:
    """Seconds of the network for an image (channel, (z,) y, x), from a part of `sample` voxels.

    Parameters
    ----------
    engine : Engine
    shape : sequence of int
        (channel, (z,) y, x), padded to what the network needs.
    sample : int
        Voxels of the part that is timed, at most.
    """
    multiple = engine.network.multiple
    sizes = list(shape[1:])
    while math.prod(sizes) > sample:
        axis = max(range(len(sizes)), key=lambda number: sizes[number] // multiple[number])
        if sizes[axis] <= multiple[axis]:
            break
        sizes[axis] = -(-sizes[axis] // (2 * multiple[axis])) * multiple[axis]
    part = np.zeros((shape[0], *sizes), np.float32)
    seconds = timed(lambda: engine.run(part, uncertainty=False))
    return seconds * math.prod(shape[1:]) / math.prod(sizes)


def time_of_tiles(
    engine: Engine, shape: Sequence[int], plans: Sequence[Plan]
) -> tuple[float, int, int]:
    """Seconds of an exact prediction, its passes, and the tiles of the last.

    Parameters
    ----------
    engine : Engine
    shape : sequence of int
        (channel, (z,) y, x), padded to what the network needs.
    plans : sequence of Plan
        Of each stage, as from `make_plans`.

    Returns
    -------
    seconds : float
    passes, tiles : int
    """
    sampler = Sampler()
    runner = Runner(sampler, Hollow(), compiled=engine.compiled)
    network = as_gvtnet(engine.network)
    last = cast(GVTNet, stages(network)[-1])
    channels = last.output_convolution.convolution.out_channels
    image = np.broadcast_to(np.float32(0), tuple(shape))
    out = HollowArray((channels, *shape[-last.dimensions :]))
    start = time.perf_counter()
    predict_planned(network, image, plans, [out], runner)
    seconds = time.perf_counter() - start + sampler.others
    return seconds, sampler.passes, sampler.tiles


def timed(run: Callable[[], Any]) -> float:
    """Seconds of a run; of a second one where the first may have done little but compile."""
    on_gpu = torch.cuda.is_available()
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        run()
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        if seconds > SLOW and not on_gpu:
            break
    return seconds


class Sampler:
    """Computes the middle tile of each pass, once or twice (an `Executor`).

    Attributes
    ----------
    others : float
        Seconds that the other tiles would have taken.
    passes, tiles : int
        Passes, and tiles of the last one.
    """

    def __init__(self) -> None:
        self.others = 0.0
        self.passes = self.tiles = 0

    def run(
        self, network: nn.Module, task: TileTask, boxes: Sequence[Box], combine: Combine
    ) -> Iterator[tuple[int, Partial]]:
        """As `Executor.run`; every tile's result is that of the middle one."""
        middle = boxes[len(boxes) // 2]
        results: list[Partial] = []
        seconds = timed(lambda: results.append(task(middle)))
        self.others += (len(boxes) - len(results)) * seconds
        self.passes, self.tiles = self.passes + 1, len(boxes)
        yield len(boxes), results[0]


@dataclass(frozen=True, eq=False)
class HollowMap:
    """A feature map with nothing in it: zeros are read, and what is written is forgotten."""

    channels: int
    size: Sizes
    like: nn.Parameter

    @property
    def finest(self) -> Sizes:
        """Its own size: nothing finer is computed."""
        return self.size

    def read(self, box: Box) -> Tensor:
        """Zeros of the box's size, (1, channel, (z,) y, x)."""
        return self.like.new_zeros(1, self.channels, *(b.stop - b.start for b in box))

    def fill(self, box: Box, part: np.ndarray) -> None:
        """As `Kept.fill`."""
        part[...] = 0

    def write(self, box: Box, part: Tensor) -> None:
        """Forget it."""


class Hollow:
    """A workspace that keeps nothing."""

    def new_map(self, number: int, channels: int, boxes: Sequence[Box], like: nn.Parameter) -> Map:
        """As `Workspace.new_map`."""
        return HollowMap(channels, Grid.of(boxes).size, like)


@dataclass(frozen=True)
class HollowArray:
    """An output that forgets what is written."""

    shape: tuple[int, ...]

    def __setitem__(self, box: Box, values: np.ndarray) -> None:
        """Forget it."""


def duration(seconds: float) -> str:
    """Such as "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def amount(size: float) -> str:
    """Bytes, such as "12 MB" or "3.4 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
