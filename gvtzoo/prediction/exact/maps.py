"""Feature maps of a whole image, of which only the boxes that are asked for are computed.

`Image` reads the network's input, `Stage` computes one layer from others, and `CachedMap` keeps a
map in memory. Every map is a tensor (1, channel, (z,) y, x); a box is one slice
per spatial axis, within the map.

A box at the image's border is cut there, so that layers pad with zeros where they would in the
whole image. Elsewhere a stage asks its sources for a margin, as wide as its layer reaches, whose
result is cropped away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.images.lazy import boxes
from gvtzoo.networks.blocks import DownSamplingResidualBlock, ResidualBlock
from gvtzoo.networks.operators import (
    GVTO,
    Convolution,
    FixedGVTO,
    InPlaneUpSamplingGVTO,
    Interpolation,
    KeepGrain,
    Repeat,
    ResamplingGVTO,
    TransposedConvolution,
)

EXAMPLE = 2  # voxels of the coarsest map, along each axis, with which layers are tried out

Box = tuple[slice, ...]
Sizes = tuple[int, ...]


class FeatureMap(Protocol):
    """A feature map of a whole image."""

    @property
    def size(self) -> Sizes:
        """Voxels along (z,) y, x."""

    @property
    def finest(self) -> Sizes:
        """Size of the finest map that is computed, or read, when this one is read."""

    def read(self, box: Box) -> Tensor:
        """The map inside a box, (1, channel, (z,) y, x)."""


class Kept(FeatureMap, Protocol):
    """A feature map that is there, and not computed when it is read."""

    @property
    def channels(self) -> int:
        """How many it has."""

    def fill(self, box: Box, part: np.ndarray) -> None:
        """Write the map inside a box into an array (channel, (z,) y, x), float32."""


@dataclass(frozen=True, eq=False)
class Image:
    """An array (channel, (z,) y, x) of which only boxes are read.

    Attributes
    ----------
    array : array-like
    like : Parameter
        On the device and of the type that the network computes with, also after it was moved.
    """

    array: Any
    like: nn.Parameter

    @property
    def channels(self) -> int:
        """As `Kept.channels`."""
        return int(self.array.shape[0])

    @property
    def size(self) -> Sizes:
        """As `FeatureMap.size`."""
        return tuple(self.array.shape[1:])

    @property
    def finest(self) -> Sizes:
        """As `FeatureMap.finest`: its own size."""
        return self.size

    def read(self, box: Box) -> Tensor:
        """As `FeatureMap.read`: read from the array in float32, moved to where `like` is."""
        part = np.ascontiguousarray(self.array[(slice(None), *box)], dtype=np.float32)
        return torch.from_numpy(part)[None].to(self.like.device, self.like.dtype)

    def fill(self, box: Box, part: np.ndarray) -> None:
        """As `Kept.fill`."""
        part[...] = self.array[(slice(None), *box)]


@dataclass(frozen=True, eq=False)
class CachedMap:
    """A map that is kept in memory, (1, channel, (z,) y, x)."""

    array: Tensor

    @property
    def channels(self) -> int:
        """As `Kept.channels`."""
        return self.array.shape[1]

    @property
    def size(self) -> Sizes:
        """As `FeatureMap.size`."""
        return tuple(self.array.shape[2:])

    @property
    def finest(self) -> Sizes:
        """As `FeatureMap.finest`: its own size."""
        return self.size

    def read(self, box: Box) -> Tensor:
        """As `FeatureMap.read`: a view of what is kept."""
        return self.array[(slice(None), slice(None), *box)]

    def fill(self, box: Box, part: np.ndarray) -> None:
        """As `Kept.fill`."""
        part[...] = self.read(box)[0].float().cpu().numpy()

    def write(self, box: Box, part: Tensor) -> None:
        """Change the map inside a box."""
        self.array[(slice(None), slice(None), *box)] = part


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer that looks at a neighbourhood of each voxel.

    Attributes
    ----------
    function : callable
        The layer: from tensors of the sources to a tensor.
    sources : tuple of FeatureMap
        All of the same size.
    margin : tuple of int
        How far the layer reaches, in voxels of the coarser of its input and output.
    down, up : tuple of int
        Sizes of the input and of the output, in voxels of the coarser of both: (2, 2) and (1, 1)
        for a layer that halves a 2D map.
    constants : tuple of Tensor
        What the layer is given beside the sources: what is known of the whole image.
    """

    function: Callable[..., Tensor]
    sources: tuple[FeatureMap, ...]
    margin: Sizes
    down: Sizes
    up: Sizes
    constants: tuple[Tensor, ...] = ()

    @property
    def size(self) -> Sizes:
        """As `FeatureMap.size`."""
        return tuple(c * u for c, u in zip(self.coarse_size, self.up, strict=True))

    @property
    def finest(self) -> Sizes:
        """As `FeatureMap.finest`: of its own and its sources' the largest."""
        return max(self.size, *(source.finest for source in self.sources), key=math.prod)

    @property
    def coarse_size(self) -> Sizes:
        """Of the coarser of its input and output."""
        return tuple(s // d for s, d in zip(self.sources[0].size, self.down, strict=True))

    def needed(self, box: Box) -> Box:
        """What the layer looks at in its sources, to compute a box of its output."""
        coarse = self._coarse(box)
        return tuple(slice(c.start * d, c.stop * d) for c, d in zip(coarse, self.down, strict=True))

    def _coarse(self, box: Box) -> Box:
        return tuple(
            slice(max(0, b.start // u - m), min(size, -(-b.stop // u) + m))
            for b, u, m, size in zip(box, self.up, self.margin, self.coarse_size, strict=True)
        )

    def read(self, box: Box) -> Tensor:
        """As `FeatureMap.read`: the layer on the box and a margin of its sources, cropped."""
        coarse, wanted = self._coarse(box), self.needed(box)
        result = self.function(*(source.read(wanted) for source in self.sources), *self.constants)
        kept = tuple(
            slice(b.start - c.start * u, b.stop - c.start * u)
            for b, c, u in zip(box, coarse, self.up, strict=True)
        )
        return result[(slice(None), slice(None), *kept)]


class Compile(Protocol):
    """How maps are computed."""

    @property
    def live_maps(self) -> float:
        """Maps of a tile, of its finest level, that are in memory at once in the last pass."""

    def __call__(self, wanted: FeatureMap, boxes: Sequence[Box]) -> FeatureMap:
        """The same map, of which these boxes will be read."""

    def release(self) -> None:
        """Give back the memory that was taken for tiles."""


def every_map(wanted: FeatureMap) -> Iterator[FeatureMap]:
    """A map and all that it is computed from."""
    yield wanted
    if isinstance(wanted, Stage):
        for source in wanted.sources:
            yield from every_map(source)


def stages_of(wanted: FeatureMap) -> list[Stage]:
    """What is computed when a map is read, each once."""
    return [m for m in dict.fromkeys(every_map(wanted)) if isinstance(m, Stage)]


def kept_of(wanted: FeatureMap) -> list[Kept]:
    """What is read when a map is, each once."""
    found = dict.fromkeys(every_map(wanted))
    return [cast(Kept, m) for m in found if not isinstance(m, Stage)]


def coarsest_size(wanted: FeatureMap) -> Sizes:
    """Size of the coarsest map that is computed, or read, when a map is read."""
    sizes = [m.size for m in every_map(wanted)] + [m.coarse_size for m in stages_of(wanted)]
    return tuple(map(min, zip(*sizes, strict=True)))


def scaled(region: Box, size: Sizes, coarsest: Sizes) -> Box:
    """A box of the coarsest map, in voxels of another one.

    Parameters
    ----------
    region : tuple of slice
    size, coarsest : tuple of int
        Of the other map, and of the coarsest.
    """
    factors = [s // c for s, c in zip(size, coarsest, strict=True)]
    return tuple(slice(r.start * f, r.stop * f) for r, f in zip(region, factors, strict=True))


def examples_of(wanted: FeatureMap) -> dict[Kept, Tensor]:
    """A few voxels of each map that is read when a map is."""
    coarsest = coarsest_size(wanted)
    start = tuple(slice(0, min(EXAMPLE, size)) for size in coarsest)
    return {m: m.read(scaled(start, m.size, coarsest)) for m in kept_of(wanted)}


def every_value(
    wanted: Stage, read: Mapping[Kept, Tensor], constants: Mapping[Stage, Sequence[Tensor]]
) -> dict[FeatureMap, Tensor]:
    """All maps between those that are read and the one that is wanted, these included.

    Parameters
    ----------
    wanted : Stage
    read : mapping of FeatureMap to Tensor
    constants : mapping of Stage to Tensors
    """
    known: dict[FeatureMap, Tensor] = dict(read.items())
    _value(wanted, known, constants)
    return known


def _value(
    wanted: FeatureMap,
    known: dict[FeatureMap, Tensor],
    constants: Mapping[Stage, Sequence[Tensor]],
) -> Tensor:
    """A map, remembered with those it is computed from.

    Not a function inside of another that calls itself: that would keep all maps until the garbage
    collector comes.
    """
    if wanted not in known:
        stage = cast(Stage, wanted)
        sources = [_value(source, known, constants) for source in stage.sources]
        known[wanted] = stage.function(*sources, *constants[stage])
    return known[wanted]


def values_at_once(wanted: FeatureMap) -> float:
    """Numbers in memory where a map is computed at once, for each voxel of the finest map.

    Those of the maps that are read, of the result, and of what the widest layer reads and makes.
    """
    if not isinstance(wanted, Stage):
        return float(cast(Kept, wanted).channels)
    stages = stages_of(wanted)
    with torch.inference_mode():
        constants = {stage: stage.constants for stage in stages}
        known = every_value(wanted, examples_of(wanted), constants)
    sizes = {m: tensor.numel() for m, tensor in known.items()}
    # A block has a second map between its layers; what joins maps has none.
    widest = max(
        sum(sizes[source] for source in stage.sources)
        + sizes[stage] * (2 if len(stage.sources) == 1 else 1)
        for stage in stages
    )
    voxels = max(tensor[0, 0].numel() for tensor in known.values())
    return (sum(sizes[m] for m in kept_of(wanted)) + sizes[wanted] + widest) / voxels


def reach_of(wanted: FeatureMap, size: Sizes) -> Sizes:
    """How far around a tile of a map the maps are looked at that it is computed from.

    Parameters
    ----------
    wanted : FeatureMap
    size : tuple of int
        Of the image, in whose voxels the reach is.
    """
    if not isinstance(wanted, Stage):
        return (0,) * len(size)
    own = (m * (s // c) for m, s, c in zip(wanted.margin, size, wanted.coarse_size, strict=True))
    farthest = map(max, zip(*(reach_of(s, size) for s in wanted.sources), strict=True))
    return tuple(map(sum, zip(own, farthest, strict=True)))


@singledispatch
def reach(layer: nn.Module) -> Sizes | int:
    """How far a layer looks, in voxels of the coarser of its input and output.

    Computed from its kernels; one number stands for all axes.
    """
    return 0


@reach.register
def _(layer: Convolution) -> Sizes | int:
    if layer.convolution.stride[0] > 1:
        # The window of a coarse voxel starts at its first fine voxel and may end in the next.
        return 1 if max(layer.convolution.kernel_size) > 1 else 0
    return tuple(size // 2 for size in layer.convolution.kernel_size)


@reach.register
def _(layer: KeepGrain) -> Sizes | int:
    return layer.passes


@reach.register(TransposedConvolution)
@reach.register(Interpolation)
def _(layer: nn.Module) -> Sizes | int:
    return 1


@reach.register(ResidualBlock)
@reach.register(DownSamplingResidualBlock)
def _(layer: ResidualBlock) -> Sizes | int:
    first, second = reach(layer.convolution_1), reach(layer.convolution_2)
    dimensions = len(layer.convolution_2.convolution.kernel_size)
    return tuple(
        a + b
        for a, b in zip(per_axis(first, dimensions), per_axis(second, dimensions), strict=True)
    )


@reach.register
def _(layer: GVTO) -> Sizes | int:
    return reach(layer.query)


@reach.register
def _(layer: FixedGVTO) -> Sizes | int:
    return reach(layer.convolution)


def per_axis(value: Sizes | int, dimensions: int) -> Sizes:
    """One number for each spatial axis."""
    return (value,) * dimensions if isinstance(value, int) else value


def local_stage(layer: nn.Module, source: FeatureMap) -> FeatureMap:
    """A map computed by one of the networks' layers that is not an operator."""
    if isinstance(layer, nn.Identity):
        return source
    return resampling_stage(layer, layer, source)


def resampling_stage(
    layer: nn.Module,
    function: Callable[..., Tensor],
    source: FeatureMap,
    constants: tuple[Tensor, ...] = (),
) -> Stage:
    """A stage with the sizes and the reach of `layer`, computed by `function`.

    Parameters
    ----------
    layer : nn.Module
        That tells sizes and reach.
    function : callable
        From the source's values, and the constants, to the stage's values.
    source : FeatureMap
    constants : tuple of Tensor
    """
    dimensions = len(source.size)
    down, up = scaling(layer, dimensions)
    return Stage(function, (source,), per_axis(reach(layer), dimensions), down, up, constants)


def joined_stage(
    function: Callable[..., Tensor], *sources: FeatureMap, margin: Sizes | int = 0
) -> Stage:
    """A map computed from several of its size.

    Parameters
    ----------
    function : callable
        From tensors of the sources to a tensor.
    *sources : FeatureMap
    margin : int or tuple of int
        How far the function reaches, in voxels.
    """
    dimensions = len(sources[0].size)
    same = (1,) * dimensions
    return Stage(function, sources, per_axis(margin, dimensions), same, same)


def scaling(layer: nn.Module, dimensions: int) -> tuple[Sizes, Sizes]:
    """`down` and `up` of a layer's stage."""
    same, double = (1,) * dimensions, (2,) * dimensions
    if isinstance(layer, InPlaneUpSamplingGVTO):
        factor = cast(Repeat, layer.query).factor
        return same, (1, factor, factor)
    if isinstance(layer, nn.MaxPool3d):
        return cast(Sizes, layer.kernel_size), same
    resampled = layer.query if isinstance(layer, ResamplingGVTO) else layer
    if isinstance(layer, FixedGVTO):
        resampled = layer.convolution
        for part in resampled.modules():
            if isinstance(part, Repeat):
                return same, (1, part.factor, part.factor)
    if isinstance(resampled, DownSamplingResidualBlock):
        resampled = resampled.convolution_1
    if isinstance(resampled, (TransposedConvolution, Interpolation)):
        return same, double
    if isinstance(resampled, Convolution) and resampled.convolution.stride[0] > 1:
        return double, same
    return same, same


def tiles(region: Box, tile: Sizes) -> Iterator[Box]:
    """Boxes that cover a region of a map without overlap."""
    for box in boxes([r.stop - r.start for r in region], tile):
        yield tuple(
            slice(r.start + b.start, r.start + b.stop) for r, b in zip(region, box, strict=True)
        )
