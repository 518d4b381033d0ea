"""A pass over tiles as one graph, from the maps that are read to the map that is wanted.

`Stage.read` computes layer by layer, and crops after each. A graph computes all layers of a tile at
once, pads with zeros at the tile's edge, and is cropped at the end: what the padding spoils lies in
the margin, and at the image's border zeros are right. Tiles are widened to whole voxels of the
coarsest map that the pass computes, so that every layer halves and doubles them as it does the
image, and all tiles of a pass to one size, so that the graph is compiled for it.

A graph is exported once for each network: what is known of the image, such as the operators'
matrices, is given to it beside the maps.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.prediction.exact.maps import (
    Box,
    FeatureMap,
    Kept,
    Sizes,
    Stage,
    coarsest_size,
    every_value,
    examples_of,
    kept_of,
    scaled,
    stages_of,
)
from gvtzoo.prediction.exact.plan import LIVE_MAPS
from gvtzoo.prediction.memory import give_back_freed
from gvtzoo.prediction.openvino import Graph, export


class Graphs:
    """Makes maps into graphs that OpenVINO computes, and keeps these for the next image.

    Only the graph that was made last holds memory for its tiles, until it is released.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}
        Of the graphs' arithmetic.
    """

    live_maps: float = LIVE_MAPS

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self._graphs: dict[Hashable, Graph] = {}

    def __call__(self, wanted: FeatureMap, boxes: Sequence[Box]) -> FeatureMap:
        """The same map, computed by a graph, of which these boxes will be read."""
        if not isinstance(wanted, Stage):
            return wanted
        self.release()
        computed = CompiledMap.of(wanted, boxes)
        key = _kind(wanted, computed.read_maps)
        if key not in self._graphs:
            self._graphs[key] = Graph(computed.export(), self.dtype)
        return replace(computed, graph=self._graphs[key])

    def release(self) -> None:
        """As `Compile.release`."""
        for graph in self._graphs.values():
            graph.release()
        give_back_freed()


@dataclass(frozen=True, eq=False)
class CompiledMap:
    """A map computed by a graph.

    Attributes
    ----------
    wanted : Stage
        The map, layer by layer.
    read_maps : tuple of FeatureMap
        The graph's inputs: the image and kept maps.
    coarsest : tuple of int
        Size of the coarsest map that is read or computed.
    constants : tuple of ndarray
        The graph's other inputs.
    window : tuple of int
        What is computed for each box, in voxels of the coarsest map.
    graph : Graph, optional
    buffers : list of ndarray
        Of the tile that is being computed, one for each read map; made when they are needed.
    """

    wanted: Stage
    read_maps: tuple[Kept, ...]
    coarsest: Sizes
    constants: tuple[np.ndarray, ...]
    window: Sizes
    graph: Graph | None = None
    buffers: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, wanted: Stage, boxes: Sequence[Box]) -> CompiledMap:
        """A map without its graph, of which these boxes will be read."""
        constants = tuple(c.cpu().float().numpy() for m in stages_of(wanted) for c in m.constants)
        size = coarsest_size(wanted)
        made = cls(wanted, tuple(kept_of(wanted)), size, constants, (0,) * len(size))
        return replace(made, window=made._largest(boxes))

    def export(self) -> bytes:
        """The layers as ONNX."""
        examples = [part.clone() for part in examples_of(self.wanted).values()]
        constants = [torch.from_numpy(constant) for constant in self.constants]
        return export(_Layers(self.wanted, self.read_maps), examples, constants)

    @property
    def size(self) -> Sizes:
        """As `FeatureMap.size`."""
        return self.wanted.size

    @property
    def finest(self) -> Sizes:
        """As `FeatureMap.finest`: that of the map, layer by layer."""
        return self.wanted.finest

    def read(self, box: Box) -> Tensor:
        """As `FeatureMap.read`, on the CPU in float32."""
        region = self._region(box)
        assert self.graph is not None
        (result,) = self.graph(*self._parts(region), *self.constants, lent=True)
        computed = scaled(region, self.size, self.coarsest)
        inside = tuple(
            slice(b.start - c.start, b.stop - c.start) for b, c in zip(box, computed, strict=True)
        )
        return torch.from_numpy(result[(slice(None), slice(None), *inside)])

    def _parts(self, region: Box) -> list[np.ndarray]:
        """The read maps inside a region; the next call changes them."""
        boxes = [scaled(region, m.size, self.coarsest) for m in self.read_maps]
        if not self.buffers:  # of the first tile, which is as large as all others
            for m, box in zip(self.read_maps, boxes, strict=True):
                shape = (1, m.channels, *(part.stop - part.start for part in box))
                self.buffers.append(np.empty(shape, np.float32))
        for m, box, buffer in zip(self.read_maps, boxes, self.buffers, strict=True):
            m.fill(box, buffer[0])
        return self.buffers

    def _region(self, box: Box) -> Box:
        """What is computed for a box, in voxels of the coarsest map.

        As large as the window, within the map.
        """
        starts = (
            min(part.start, size - width)
            for part, size, width in zip(self._needed(box), self.coarsest, self.window, strict=True)
        )
        return tuple(
            slice(start, start + width) for start, width in zip(starts, self.window, strict=True)
        )

    def _largest(self, boxes: Sequence[Box]) -> Sizes:
        """The most that any box needs along each axis."""
        # Along one axis, what a box needs does not depend on where it lies along the others.
        axes = [
            sorted({(box[axis].start, box[axis].stop) for box in boxes})
            for axis in range(len(self.coarsest))
        ]
        count = max(map(len, axes))
        padded = [parts + parts[-1:] * (count - len(parts)) for parts in axes]
        regions = [
            self._needed(tuple(slice(*part) for part in parts))
            for parts in zip(*padded, strict=True)
        ]
        return tuple(
            max(part.stop - part.start for part in parts) for parts in zip(*regions, strict=True)
        )

    def _needed(self, box: Box) -> Box:
        """What has to be computed for a box, in voxels of the coarsest map."""
        boxes = [_coarse(box, self.size, self.coarsest)]
        boxes += [_coarse(b, m.size, self.coarsest) for m, b in _needed(self.wanted, box)]
        return tuple(
            slice(min(part.start for part in parts), max(part.stop for part in parts))
            for parts in zip(*boxes, strict=True)
        )


class _Layers(nn.Module):
    """All layers between the maps that are read and the one that is wanted."""

    def __init__(self, wanted: Stage, read_maps: tuple[Kept, ...]) -> None:
        super().__init__()
        self.wanted = wanted
        self.read_maps = read_maps

    def forward(self, *tensors: Tensor) -> Tensor:
        read = dict(zip(self.read_maps, tensors, strict=False))
        given = iter(tensors[len(self.read_maps) :])
        constants = {
            stage: [next(given) for _ in stage.constants] for stage in stages_of(self.wanted)
        }
        return every_value(self.wanted, read, constants)[self.wanted]


def _kind(wanted: FeatureMap, read_maps: Sequence[FeatureMap]) -> Hashable:
    """Equal for maps whose graphs are."""
    if not isinstance(wanted, Stage):
        return read_maps.index(wanted)
    sources = (_kind(source, read_maps) for source in wanted.sources)
    return wanted.function, len(wanted.constants), *sources


def _needed(wanted: FeatureMap, box: Box) -> Iterator[tuple[FeatureMap, Box]]:
    """The boxes of the maps that are read for a box of one that is computed."""
    if not isinstance(wanted, Stage):
        yield wanted, box
        return
    for source in wanted.sources:
        yield from _needed(source, wanted.needed(box))


def _coarse(box: Box, size: Sizes, coarsest: Sizes) -> Box:
    """A box of a map, in whole voxels of the coarsest."""
    factors = [s // c for s, c in zip(size, coarsest, strict=True)]
    return tuple(slice(b.start // f, -(-b.stop // f)) for b, f in zip(box, factors, strict=True))
