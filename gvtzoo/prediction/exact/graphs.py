"""A pass over tiles as one graph, from the maps that are read to the map that is wanted.

`Stage.read` computes layer by layer, and crops after each. A graph computes all layers of a tile at
once, pads with zeros at the tile's edge, and is cropped at the end: what the padding spoils lies in
the margin, and at the image's border zeros are right. Tiles are widened to whole voxels of the
coarsest map that the pass computes, so that every layer halves and doubles them as it does the
image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gvtzoo.prediction.exact.maps import Box, FeatureMap, Sizes, Stage
from gvtzoo.prediction.openvino import Graph, export

EXAMPLE = 2  # voxels of the coarsest map, along each axis, with which a graph is traced


def compiled(dtype: str) -> Callable[[FeatureMap], FeatureMap]:
    """What makes maps into graphs that OpenVINO computes.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}
        Of the graphs' arithmetic.
    """

    def compile_map(wanted: FeatureMap) -> FeatureMap:
        return CompiledMap.of(wanted, dtype) if isinstance(wanted, Stage) else wanted

    return compile_map


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
    graph : Graph
    """

    wanted: Stage
    read_maps: tuple[FeatureMap, ...]
    coarsest: Sizes
    graph: Graph

    @classmethod
    def of(cls, wanted: Stage, dtype: str) -> CompiledMap:
        """Trace the layers of a map."""
        found = list(dict.fromkeys(_maps(wanted)))
        read_maps = tuple(m for m in found if not isinstance(m, Stage))
        sizes = [m.size for m in found] + [m.coarse_size for m in found if isinstance(m, Stage)]
        coarsest = tuple(map(min, zip(*sizes, strict=True)))
        start = tuple(slice(0, min(EXAMPLE, size)) for size in coarsest)
        examples = [m.read(_scaled(start, m.size, coarsest)).clone() for m in read_maps]
        onnx = export(_Layers(wanted, read_maps), examples)
        return cls(wanted, read_maps, coarsest, Graph(onnx, dtype))

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
        parts = [m.read(_scaled(region, m.size, self.coarsest)) for m in self.read_maps]
        (result,) = self.graph(*(part.numpy() for part in parts))
        computed = _scaled(region, self.size, self.coarsest)
        inside = tuple(
            slice(b.start - c.start, b.stop - c.start) for b, c in zip(box, computed, strict=True)
        )
        return torch.from_numpy(result[(slice(None), slice(None), *inside)])

    def _region(self, box: Box) -> Box:
        """What is computed for a box, in voxels of the coarsest map."""
        boxes = [_coarse(box, self.size, self.coarsest)]
        boxes += [_coarse(b, m.size, self.coarsest) for m, b in _needed(self.wanted, box)]
        return tuple(
            slice(min(part.start for part in parts), max(part.stop for part in parts))
            for parts in zip(*boxes, strict=True)
        )


class _Layers(nn.Module):
    """All layers between the maps that are read and the one that is wanted."""

    def __init__(self, wanted: Stage, read_maps: tuple[FeatureMap, ...]) -> None:
        super().__init__()
        self.wanted = wanted
        self.read_maps = read_maps

    def forward(self, *tensors: Tensor) -> Tensor:
        known: dict[Any, Tensor] = dict(zip(self.read_maps, tensors, strict=True))

        def value(wanted: Any) -> Tensor:
            if wanted not in known:
                known[wanted] = wanted.function(*map(value, wanted.sources))
            return known[wanted]

        return value(self.wanted)


def _maps(wanted: FeatureMap) -> Iterator[FeatureMap]:
    """A map and all that it is computed from."""
    yield wanted
    if isinstance(wanted, Stage):
        for source in wanted.sources:
            yield from _maps(source)


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


def _scaled(region: Box, size: Sizes, coarsest: Sizes) -> Box:
    """A box of the coarsest map, in voxels of another one."""
    factors = [s // c for s, c in zip(size, coarsest, strict=True)]
    return tuple(slice(r.start * f, r.stop * f) for r, f in zip(region, factors, strict=True))
