"""How a prediction in tiles is cut: which feature maps are kept, and how large the tiles are.

What is kept need not be computed again by later passes, and shortens how far tiles look around
themselves: a tile then reads the kept map instead of the image. The coarser a level, the less it
costs to keep and the farther it looks; so levels are kept from the coarsest up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from torch import nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks.gvtnet import DecoderLevel, EncoderLevel, GVTNet
from gvtzoo.networks.projection import (
    POOLING,
    PROJECTION_FEATURES,
    ProjectionGVTNet,
    ProjectionNet,
)
from gvtzoo.prediction.exact.maps import (
    FeatureMap,
    Sizes,
    coarsest_size,
    per_axis,
    reach,
    reach_of,
    values_at_once,
)
from gvtzoo.prediction.memory import LIVE_FEATURE_MAPS

KEPT_SHARE = 2 / 3  # of the memory may go to kept maps
ALLOCATION_SHARE = 0.8  # of what is left goes to a tile, the rest to what allocators lose
LIVE_MAPS = 5  # of a tile's finest level in the last pass, as `values_at_once` counts them
LARGEST_WORKING_SET = 1_500_000_000  # bytes; larger tiles do not make it faster


@dataclass(frozen=True)
class Level:
    """What a network computes at one scale.

    Attributes
    ----------
    scale : tuple of int
        Size of its voxels, in voxels of the image.
    features : int
    encoder, decoder : list of Module
        Its layers; resampling layers belong to the coarser of their two levels, those of the
        bottom and of the output to the decoder.
    """

    scale: Sizes
    features: int
    encoder: list[nn.Module]
    decoder: list[nn.Module]


@dataclass(frozen=True)
class Plan:
    """How the prediction of one image is cut.

    Attributes
    ----------
    tile : tuple of int
        (z,) y, x in voxels of the image: of the last pass, and where it is `given`, of all passes
        over maps of the image's size.
    finest_kept : int
        The finest level whose feature maps are kept (0 is the image's own, of which the encoder's
        map only); the number of levels if none are.
    kept, working : int
        Estimated bytes of the kept maps (most at a time), and of what is needed beside these.
    room, coarse_room : int
        `values_at_once` of a tile in passes over maps of the image's size, and over smaller ones.
    on_disk : bool
        Whether kept maps are on disk, and not in memory.
    given : bool
        Whether somebody has chosen the tile.
    """

    tile: Sizes
    finest_kept: int
    kept: int
    working: int
    room: int
    coarse_room: int
    on_disk: bool = False
    given: bool = False

    @property
    def memory(self) -> int:
        """Estimated bytes of memory."""
        return self.working if self.on_disk else self.kept + self.working


def as_gvtnet(network: nn.Module) -> GVTNet | ProjectionGVTNet:
    """The network, which is of those that are predicted exactly.

    Raises
    ------
    GvtzooError
        For networks of other papers.
    """
    if isinstance(network, (GVTNet, ProjectionGVTNet)):
        return network
    raise GvtzooError(
        f"exact prediction is for GVTNets, not for a {type(network).__name__}: predict in blocks"
    )


def stages(network: GVTNet | ProjectionGVTNet) -> list[GVTNet | ProjectionNet]:
    """The networks that run after each other: a projection network is two."""
    if isinstance(network, ProjectionGVTNet):
        return [network.projection, network.network]
    return [network]


def make_plans(
    network: GVTNet | ProjectionGVTNet,
    size: Sequence[int],
    memory: int,
    tile: Sequence[int] | None = None,
    disk: int = 0,
    in_memory: bool = True,
    live_maps: float = LIVE_FEATURE_MAPS,
) -> list[Plan]:
    """One plan for each of `stages`.

    Parameters
    ----------
    network : GVTNet or ProjectionGVTNet
    size : sequence of int
        The image's, (z,) y, x.
    memory : int
        Bytes.
    tile : sequence of int, optional
        (z,) y, x; by default what fits and takes least time.
    disk : int
        Bytes that kept maps may take on disk.
    in_memory : bool
        Whether they may be in memory, too.
    live_maps : float
        Maps of a tile, of its finest level, that are in memory at once.
    """

    def last_axes(values: Sequence[int], part: GVTNet | ProjectionNet) -> Sizes:
        return tuple(values[-len(part.multiple) :])

    return [
        make_plan(
            part,
            last_axes(size, part),
            memory,
            None if tile is None else last_axes(tile, part),
            disk,
            in_memory,
            live_maps,
        )
        for part in stages(network)
    ]


def make_plan(
    network: GVTNet | ProjectionNet,
    size: Sizes,
    memory: int,
    tile: Sizes | None = None,
    disk: int = 0,
    in_memory: bool = True,
    live_maps: float = LIVE_FEATURE_MAPS,
) -> Plan:
    """The plan that computes least of those that fit, else the one that takes least.

    Parameters
    ----------
    network : GVTNet or ProjectionNet
    size : tuple of int
        The image's, (z,) y, x.
    memory : int
        Bytes.
    tile : tuple of int, optional
        (z,) y, x; by default what fits and takes least time.
    disk : int
        Bytes that kept maps may take on disk.
    in_memory : bool
        Whether they may be in memory, too.
    live_maps : float
        As of `make_plans`.
    """
    plans = [
        plan_keeping(network, size, memory, finest, tile, on_disk=on_disk, live_maps=live_maps)
        for on_disk in ((False, True) if in_memory else (True,))
        for finest in range(len(levels(network)) + 1)
    ]

    def fits(plan: Plan) -> bool:
        # Half of what is given for: those on disk may stay to the end.
        most = disk / 2 if plan.on_disk else KEPT_SHARE * memory
        return plan.kept <= most and plan.memory <= memory

    def computed(plan: Plan) -> float:
        """Voxels that all passes over the image compute."""
        halo = receptive_radius_of_passes(network, plan.finest_kept)
        return (1 + plan.finest_kept) * _computed_voxels(size, plan.tile, halo)

    fitting = [plan for plan in plans if fits(plan)]
    if fitting:
        return min(fitting, key=computed)
    affordable = [plan for plan in plans if not plan.on_disk or plan.kept <= disk / 2]
    return min(affordable, key=lambda plan: plan.memory)


def plan_keeping(
    network: GVTNet | ProjectionNet,
    size: Sizes,
    memory: int,
    finest_kept: int,
    tile: Sizes | None = None,
    *,
    on_disk: bool = False,
    live_maps: float = LIVE_FEATURE_MAPS,
) -> Plan:
    """The plan with the best tiles, if levels from `finest_kept` on are kept.

    Parameters
    ----------
    network : GVTNet or ProjectionNet
    size : tuple of int
        The image's, (z,) y, x.
    memory : int
        Bytes.
    finest_kept : int
        As in `Plan`.
    tile : tuple of int, optional
        (z,) y, x; by default what fits and takes least time.
    on_disk : bool
        Whether kept maps take no memory.
    live_maps : float
        As of `make_plans`.
    """
    kept = _kept(network, size, finest_kept)
    taken, beside = (0, 0) if on_disk else (kept, _kept_beside_image(network, size, finest_kept))
    halo = receptive_radius_of_passes(network, finest_kept)
    finest = levels(network)[0]
    itemsize = next(network.parameters()).dtype.itemsize
    voxel = live_maps * itemsize * finest.features  # bytes
    room, coarse_room = (
        int(max(_limit(memory - maps), voxel * math.prod(network.multiple)))
        for maps in (beside, taken)
    )
    chosen = tile or best_tile(size, network.multiple, halo, room / voxel)
    fine = voxel * math.prod(_window(size, chosen, halo))
    if tile is None:
        fine = max(fine, min(room, voxel * math.prod(size)))
    largest = max(_map_sizes(network, size)[max(1, finest_kept) :], default=0)
    working = int(max(beside + fine - taken, min(coarse_room, live_maps * largest)))
    value = itemsize * live_maps / LIVE_MAPS
    return Plan(
        chosen,
        finest_kept,
        kept,
        working,
        int(room / value),
        int(coarse_room / value),
        on_disk,
        given=tile is not None,
    )


def _limit(left: float) -> float:
    """Bytes for a tile, of those that are left beside kept maps."""
    return min(ALLOCATION_SHARE * left, LARGEST_WORKING_SET)


def best_tile(size: Sizes, multiple: Sizes, halo: Sizes, voxels: float) -> Sizes:
    """The tile, of multiples of `multiple`, with which least is computed.

    Parameters
    ----------
    size : tuple of int
        The image's.
    multiple, halo : tuple of int
    voxels : float
        That a tile may have with its halo; where even the smallest have more, that is taken.
    """
    choices = []
    for s, m in zip(size, multiple, strict=True):
        parts = np.arange(1, -(-s // m) + 1)
        choices.append(np.unique(-(-s // (parts * m)) * m)[::-1])  # of two alike, the larger
    windows = computed = np.ones(1)
    # The last axis first, so that of those that compute the same, rows are cut least.
    for s, h, tiles in reversed(list(zip(size, halo, choices, strict=True))):
        counts = -(-s // tiles)
        wide = np.minimum(s, tiles + h * np.minimum(2, counts - 1)).astype(float)
        windows = np.multiply.outer(windows, wide)
        computed = np.multiply.outer(computed, counts * wide)
    best = int(np.argmin(np.where(windows <= voxels, computed, np.inf)))
    if windows.flat[best] > voxels:
        return tuple(int(tiles[-1]) for tiles in choices)
    numbers = np.unravel_index(best, computed.shape)[:0:-1]
    return tuple(int(tiles[n]) for tiles, n in zip(choices, numbers, strict=True))


def _window(size: Sizes, tile: Sizes, halo: Sizes) -> Sizes:
    """A tile with its halo, which the first and last along an axis have on one side only."""
    return tuple(
        min(s, t + h * min(2, -(-s // t) - 1)) for s, t, h in zip(size, tile, halo, strict=True)
    )


def _computed_voxels(size: Sizes, tile: Sizes, halo: Sizes) -> float:
    """Of all tiles with their halos."""
    count = math.prod(-(-s // t) for s, t in zip(size, tile, strict=True))
    return float(count * math.prod(_window(size, tile, halo)))


def tile_of_pass(size: Sizes, plan: Plan, wanted: FeatureMap) -> Sizes:
    """The tiles of a pass that is not the last, in voxels of the map that it computes.

    Parameters
    ----------
    size : tuple of int
        The image's.
    plan : Plan
    wanted : FeatureMap
    """
    reads_image_size = wanted.finest == size
    tile = plan.tile
    if not (plan.given and reads_image_size):
        room = plan.room if reads_image_size else plan.coarse_room
        voxels = room / values_at_once(wanted) * math.prod(size) / math.prod(wanted.finest)
        multiple = tuple(s // c for s, c in zip(size, coarsest_size(wanted), strict=True))
        tile = best_tile(size, multiple, reach_of(wanted, size), voxels)
    return tuple(t * m // s for t, m, s in zip(tile, wanted.size, size, strict=True))


def receptive_radius_of_passes(
    network: GVTNet | ProjectionGVTNet | ProjectionNet, finest_kept: int | None = None
) -> Sizes:
    """How far around a tile the layers look at the image, (z,) y, x, in voxels of the image.

    What the operators see is not counted: they see all of it.

    Parameters
    ----------
    network : GVTNet, ProjectionGVTNet or ProjectionNet
    finest_kept : int, optional
        As in `Plan`: coarser layers read kept maps. By default none are kept.
    """
    if isinstance(network, ProjectionGVTNet):
        in_plane = (0, *receptive_radius_of_passes(network.network))
        both = zip(receptive_radius_of_passes(network.projection), in_plane, strict=True)
        return tuple(map(sum, both))
    found = levels(network)
    finest = len(found) if finest_kept is None else finest_kept
    predicting = sum(_reach(level, level.encoder + level.decoder) for level in found[:finest])
    if finest == 0:
        predicting = _reach(found[0], found[0].decoder)
    encoding = sum(_reach(level, level.encoder) for level in found[: max(1, finest)])
    if 0 < finest < len(found):
        encoding = encoding + _reach(found[finest], entrance(network, found[finest]))
    radius = np.maximum(predicting, encoding)
    if isinstance(network, ProjectionNet):
        # Pooling and repetition see all of a coarse voxel, wherever in it the voxel lies.
        radius = radius + np.array(found[: finest + 1][-1].scale) - 1
    return tuple(map(int, radius))


def entrance(network: GVTNet | ProjectionNet, level: Level) -> list[nn.Module]:
    """The encoder's layers up to the first map of a level that is kept.

    Of the finest kept level of a GVTNet, that behind the down-sampling is kept before the blocks
    are computed from it: else each tile would look farther around itself on all finer levels.
    """
    return level.encoder if isinstance(network, ProjectionNet) else level.encoder[:1]


def levels(network: GVTNet | ProjectionNet) -> list[Level]:
    """A network's levels, from the image's scale to the coarsest."""
    return (
        _projection_levels(network)
        if isinstance(network, ProjectionNet)
        else _gvtnet_levels(network)
    )


def _gvtnet_levels(network: GVTNet) -> list[Level]:
    found = []
    features = network.first_convolution.convolution.out_channels
    for number, module in enumerate(network.encoder):
        encoder = cast(EncoderLevel, module)
        scale = (2**number,) * network.dimensions
        layers = [encoder.downsampling, *encoder.blocks]
        found.append(Level(scale, features * 2**number, layers, []))
    for number, module in enumerate(reversed(network.decoder)):
        decoder = cast(DecoderLevel, module)
        found[number].decoder.extend(decoder.blocks)
        found[number + 1].decoder.append(decoder.upsampling)
    found[-1].decoder.extend(network.bottom)
    found[0].encoder.append(network.first_convolution)
    found[0].decoder.append(network.output_convolution)
    if network.keep_grain is not None:
        found[0].decoder.append(network.keep_grain)
    return found


def _projection_levels(network: ProjectionNet) -> list[Level]:
    found = [
        Level((1, POOLING**number, POOLING**number), PROJECTION_FEATURES, [], [])
        for number in range(network.depth)
    ]
    for number, down in enumerate(network.down):
        found[number].encoder.extend(cast(nn.Sequential, down))
    for number, up in enumerate(reversed(network.up)):
        found[number].decoder.extend(cast(nn.Sequential, up))
    for block, convolution in zip(network.bottom, network.bottom_convolutions, strict=True):
        # The two stand beside each other; their sum is a little more than either reaches.
        found[-1].decoder.extend([block, *cast(nn.Sequential, convolution)])
    found[0].decoder.append(network.output_convolution)
    return found


def _reach(level: Level, layers: Sequence[nn.Module]) -> np.ndarray:
    reaches = [per_axis(reach(layer), len(level.scale)) for layer in layers]
    return np.array(reaches, int).reshape(-1, len(level.scale)).sum(axis=0) * level.scale


def _kept(network: GVTNet | ProjectionNet, size: Sizes, finest_kept: int) -> int:
    """Bytes of the encoder's kept maps, and of one more on the way up through the decoder."""
    maps = _map_sizes(network, size)
    return sum(maps[finest_kept:]) + max(maps[max(1, finest_kept) :], default=0)


def _kept_beside_image(network: GVTNet | ProjectionNet, size: Sizes, finest_kept: int) -> int:
    """Bytes of the maps that are kept while passes read the image.

    These are one: the encoder's first, or the decoder's last, when the others are not needed yet or
    any more. Where the finest level is kept, all passes count.
    """
    if finest_kept == 0 or isinstance(network, ProjectionNet):
        return _kept(network, size, finest_kept)
    return sum(_map_sizes(network, size)[finest_kept : finest_kept + 1])


def _map_sizes(network: GVTNet | ProjectionNet, size: Sizes) -> list[int]:
    """Bytes of a map of each level."""
    itemsize = next(network.parameters()).dtype.itemsize
    return [
        itemsize * level.features * math.prod(size) // math.prod(level.scale)
        for level in levels(network)
    ]
