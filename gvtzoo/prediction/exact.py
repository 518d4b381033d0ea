"""The prediction of the whole image, tile by tile, in memory that does not grow with it.

A GVTO without softmax needs of the whole image only V Kᵀ, a sum over its voxels (paper, Methods;
`gvtzoo.networks.operators`). So the operators' sums are taken one after the other, each in a pass
over tiles; with the sums known, everything else in the network looks at a neighbourhood only, and
a last pass over tiles predicts. Sums are float64; the result equals that of the whole image up to
rounding.

An operator with softmax needs the keys and values of every voxel, so those are gathered; its
queries are still answered tile by tile.

Feature maps at the coarse levels, which later passes need again, are kept where they fit the
memory, and computed again where they do not.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.networks.gvtnet import DecoderLevel, EncoderLevel, GVTNet
from gvtzoo.networks.operators import GVTO, LinearAttention, SoftmaxAttention, attention_matrix
from gvtzoo.networks.projection import PROJECTION_FEATURES, ProjectionGVTNet, ProjectionNet
from gvtzoo.prediction.features import (
    Box,
    Features,
    Image,
    Sizes,
    Stage,
    Stored,
    local_stage,
    per_axis,
    reach,
    resampling_stage,
    store,
    tiles,
)
from gvtzoo.prediction.memory import LIVE_FEATURE_MAPS, available_memory

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Level = TypeVar("Level", bound=nn.Module)
WORKING_SHARE = 0.5  # of the memory goes to the tile at work, the rest to kept features
LARGEST_WORKING_SET = 1_500_000_000  # bytes; larger tiles do not make it faster


def predict_exact(
    network: GVTNet | ProjectionGVTNet,
    image: Any,
    *,
    memory: int | None = None,
    tile: Sequence[int] | None = None,
    sigma: bool = False,
    progress: Progress | None = None,
) -> tuple[np.ndarray, ...]:
    """Predict a whole image tile by tile.

    Parameters
    ----------
    network : GVTNet or ProjectionGVTNet
        In evaluation mode, on any device and of any type.
    image : array-like
        (channel, (z,) y, x), normalized, of sizes that are multiples of ``network.multiple``. Only
        slices of it are read.
    memory : int, optional
        Bytes to take beyond the image and the result; by default a safe share of what is free.
    tile : sequence of int, optional
        (z,) y, x, multiples of ``network.multiple``; by default what fits the memory.
    sigma : bool
        Whether σ is wanted too.
    progress : callable, optional
        ``progress(done, all)``.

    Returns
    -------
    tuple of ndarray
        The prediction (channel, (z,) y, x), float32, and σ where wanted.
    """
    parameter = next(network.parameters())
    budget = available_memory(parameter.device) if memory is None else memory
    for attempt in (1, 2):
        chosen = tile_for_memory(network, image.shape[1:], budget) if tile is None else tuple(tile)
        log.info("exact prediction in tiles of %s voxels", "×".join(map(str, chosen)))
        try:
            with torch.inference_mode():
                source = Image(image, parameter.device, parameter.dtype)
                return _predict(network, source, _Passes(chosen, budget, progress), sigma)
        except RuntimeError as error:
            if attempt == 2 or tile is not None or not _out_of_memory(error):
                raise
            log.warning("out of memory with tiles of %s voxels: trying smaller ones", chosen)
            budget = min(budget, _working_set(network, chosen)) // 4
    raise AssertionError("unreachable")


def tile_for_memory(network: GVTNet | ProjectionGVTNet, size: Sequence[int], memory: int) -> Sizes:
    """The largest tiles, (z,) y, x, whose feature maps fit a share of the memory.

    The longest axis is cut first; sizes are multiples of ``network.multiple``.
    """
    limit = min(WORKING_SHARE * memory, LARGEST_WORKING_SET)
    parts = [1] * len(size)
    while True:
        tile = tuple(
            -(-s // (p * m)) * m for s, p, m in zip(size, parts, network.multiple, strict=True)
        )
        if _working_set(network, tile) <= limit or tile == network.multiple:
            return tile
        longest = max(
            (axis for axis in range(len(size)) if tile[axis] > network.multiple[axis]),
            key=lambda axis: tile[axis],
        )
        parts[longest] += 1


def _working_set(network: GVTNet | ProjectionGVTNet, tile: Sizes) -> int:
    """Estimate of the bytes that the finest level takes for a tile and its halo."""
    with_halo = (t + 2 * h for t, h in zip(tile, finest_halo(network), strict=True))
    itemsize = next(network.parameters()).dtype.itemsize
    features = (
        PROJECTION_FEATURES
        if isinstance(network, ProjectionGVTNet)
        else network.first_convolution.convolution.out_channels
    )
    return LIVE_FEATURE_MAPS * features * itemsize * math.prod(with_halo)


def finest_halo(network: GVTNet | ProjectionGVTNet) -> Sizes:
    """How far around a tile the layers of the finest level look at the image, (z,) y, x."""
    if isinstance(network, ProjectionGVTNet):
        layers = [
            layer
            for part in (network.projection.down[0], network.projection.up[-1])
            for layer in cast(nn.Sequential, part)
        ]
        layers.append(network.projection.output_convolution)
        dimensions = 3
    else:
        decoder = [network.decoder[-1]] if len(network.decoder) else []
        layers = [network.first_convolution, network.output_convolution]
        for level in (network.encoder[0], *decoder):
            layers += list(cast(EncoderLevel | DecoderLevel, level).blocks)
        dimensions = network.dimensions
    reaches = [per_axis(reach(layer), dimensions) for layer in layers]
    return tuple(map(sum, zip(*reaches, strict=True)))


def _out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _as(kind: type[Level], modules: nn.Module) -> list[Level]:
    """A ``ModuleList``'s modules, which are all of one kind."""
    return [module for module in modules.children() if isinstance(module, kind)]


@dataclass
class _Passes:
    """Goes over tiles, keeps what fits the memory, and tells how far it is.

    Attributes
    ----------
    tile : tuple of int
        In voxels of the image.
    memory : int
        Bytes, of which `kept` are taken by feature maps.
    """

    tile: Sizes
    memory: int
    progress: Progress | None
    kept: int = 0
    expected: int = 1
    finished: int = field(default=0)

    def boxes(self, size: Sizes, scale: Sizes) -> list[Box]:
        """Tiles of a map whose voxels are `scale` voxels of the image wide."""
        tile = tuple(max(1, t // s) for t, s in zip(self.tile, scale, strict=True))
        return list(tiles(size, tile))

    def done(self) -> None:
        """One more pass is over."""
        self.finished = min(self.finished + 1, self.expected)
        if self.progress is not None:
            self.progress(self.finished, self.expected)

    def keep(self, source: Features, channels: int, scale: Sizes) -> Features:
        """The same map, kept in memory if it fits."""
        itemsize = 4
        needed = itemsize * channels * math.prod(source.size)
        if isinstance(source, (Stored, Image)):
            return source
        if self.kept + needed > (1 - WORKING_SHARE) * self.memory:
            self.done()
            return source
        stored = store(source, channels, self.boxes(source.size, scale))
        self.kept += stored.nbytes
        self.done()
        return stored

    def release(self, *maps: Features) -> None:
        """These maps will not be read any more."""
        self.kept -= sum(kept.nbytes for kept in maps if isinstance(kept, Stored))

    def operator(self, operator: GVTO, source: Features, scale: Sizes) -> Stage:
        """An operator's output, after a pass over all voxels of its input."""
        keys, values, total = [], [], None
        linear = isinstance(operator.attention, LinearAttention)
        for box in self.boxes(source.size, scale):
            key, value = operator.keys_and_values(operator.activation(source.read(box)))
            if linear:
                part = attention_matrix(key, value).cpu().double()
                total = part if total is None else total + part
            else:
                keys.append(key)
                values.append(value)
        self.done()
        attention = (
            _fixed_matrix(cast(Tensor, total), operator, source.size)
            if linear
            else _gathered(torch.cat(keys, dim=-1), torch.cat(values, dim=-1))
        )

        def function(x: Tensor) -> Tensor:
            return operator.attend(x, operator.activation(x), attention)

        return resampling_stage(operator, function, source)

    def layer(self, layer: nn.Module, source: Features, scale: Sizes) -> Features:
        """Any layer's output."""
        if isinstance(layer, GVTO):
            return self.operator(layer, source, scale)
        return local_stage(layer, source)

    def layers(self, layers: nn.Module, source: Features, scale: Sizes) -> Features:
        """The output of layers that follow each other."""
        for layer in cast(nn.Sequential, layers):
            source = self.layer(layer, source, scale)
        return source


def _fixed_matrix(total: Tensor, operator: GVTO, size: Sizes) -> Callable[[Tensor], Tensor]:
    """Y = (V Kᵀ) Q / N with V Kᵀ known; N is the number of the whole image's queries."""
    probe = resampling_stage(operator, operator, _Size(size))
    matrix = total / math.prod(probe.size)
    return lambda query: matrix.to(query) @ query


def _gathered(key: Tensor, value: Tensor) -> Callable[[Tensor], Tensor]:
    """Y = V softmax(Kᵀ Q), K and V of all voxels."""
    attention = SoftmaxAttention()
    return lambda query: attention(query, key, value)


@dataclass(frozen=True)
class _Size:
    """A map of which only the size matters."""

    size: Sizes

    def read(self, box: Box) -> Tensor:
        raise AssertionError("never read")


def _predict(
    network: GVTNet | ProjectionGVTNet, image: Image, passes: _Passes, sigma: bool
) -> tuple[np.ndarray, ...]:
    passes.expected = _expected_passes(network)
    if isinstance(network, ProjectionGVTNet):
        image = _project(network.projection, image, passes)
        passes.tile = passes.tile[1:]
        network = network.network
    return _run_gvtnet(network, image, passes, sigma)


def _expected_passes(network: nn.Module) -> int:
    operators = sum(isinstance(module, GVTO) for module in network.modules())
    nets = [module for module in network.modules() if isinstance(module, GVTNet)]
    kept = sum(len(net.encoder) - 1 + max(len(net.decoder) - 1, 0) for net in nets)
    if isinstance(network, ProjectionGVTNet):
        kept += 2 * len(network.projection.down) + len(network.projection.bottom) - 1
        kept += 1
    return operators + kept + 1


def _run_gvtnet(
    network: GVTNet, image: Image, passes: _Passes, sigma: bool
) -> tuple[np.ndarray, ...]:
    """Encoder, bottom and decoder as `GVTNet.forward` has them, on maps instead of tensors."""
    features = network.first_convolution.convolution.out_channels
    scales = [(2**level,) * network.dimensions for level in range(network.depth)]
    maps: list[Features] = []
    current = local_stage(network.first_convolution, image)
    for number, level in enumerate(_as(EncoderLevel, network.encoder)):
        fine = scales[max(number - 1, 0)]
        current = passes.layer(level.downsampling, current, fine)
        current = passes.layers(level.blocks, current, scales[number])
        if number > 0:
            current = passes.keep(current, features * 2**number, scales[number])
        maps.append(current)
    current = passes.layers(network.bottom, current, scales[-1])
    for step, decoder in enumerate(_as(DecoderLevel, network.decoder)):
        number = network.depth - 2 - step
        below, skipped = current, maps[number]
        upsampled = passes.layer(decoder.upsampling, below, scales[number + 1])
        no_margin = (0,) * network.dimensions
        merged = Stage(decoder.merge, (upsampled, skipped), no_margin)
        current = passes.layers(decoder.blocks, merged, scales[number])
        if number > 0:
            current = passes.keep(current, features * 2**number, scales[number])
            if isinstance(current, Stored):
                passes.release(below, skipped)
    results = _last_pass(network, image, current, passes, sigma)
    passes.done()
    return results


def _last_pass(
    network: GVTNet, image: Image, features: Features, passes: _Passes, sigma: bool
) -> tuple[np.ndarray, ...]:
    """The output, and σ, from the last features."""
    channels = network.output_convolution.convolution.out_channels
    results = tuple(np.empty((channels, *image.size), np.float32) for _ in range(2 if sigma else 1))
    margin = per_axis(reach(network.output_convolution), network.dimensions)
    for box in passes.boxes(image.size, (1,) * network.dimensions):
        wide = tuple(
            slice(max(0, b.start - m), min(s, b.stop + m))
            for b, m, s in zip(box, margin, image.size, strict=True)
        )
        inner = tuple(
            slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True)
        )
        last = features.read(wide)
        outputs = [network.output(last, image.read(wide))]
        if sigma:
            outputs.append(network.sigma(last))
        for result, output in zip(results, outputs, strict=True):
            part = output[0][(slice(None), *inner)]
            result[(slice(None), *box)] = part.float().cpu().numpy()
    return results


def _project(network: ProjectionNet, image: Image, passes: _Passes) -> Image:
    """`ProjectionNet.forward` on maps: the projected image, 2D."""
    scale = [1, 1, 1]
    current: Features = image
    pooling = network.pooling
    factors = cast(Sizes, pooling.kernel_size)
    channels = PROJECTION_FEATURES
    for down in network.down:
        current = passes.layers(down, current, tuple(scale))
        current = local_stage(pooling, current)
        scale = [s * k for s, k in zip(scale, factors, strict=True)]
        current = passes.keep(current, channels, tuple(scale))
    for block, convolution in zip(network.bottom, network.bottom_convolutions, strict=True):
        beside = passes.layers(convolution, current, tuple(scale))
        current = passes.layer(block, current, tuple(scale))
        current = Stage(torch.add, (current, beside), (0, 0, 0))
        current = passes.keep(current, channels, tuple(scale))
    for number, (upsampling, up) in enumerate(zip(network.upsampling, network.up, strict=True)):
        current = passes.layer(upsampling, current, tuple(scale))
        scale = [s // k for s, k in zip(scale, factors, strict=True)]
        current = passes.layers(up, current, tuple(scale))
        if number < len(network.up) - 1:
            current = passes.keep(current, channels, tuple(scale))
    current = local_stage(network.output_activation, current)
    weights = local_stage(network.output_convolution, current)
    depth, *plane = image.size
    projected = np.zeros((1, *plane), np.float64)
    for box in passes.boxes(image.size, (1, 1, 1)):
        weighted = weights.read(box) * image.read(box)
        projected[(slice(None), *box[1:])] += weighted.sum(dim=2)[0].double().cpu().numpy()
    passes.done()
    return Image((projected / depth).astype(np.float32), image.device, image.dtype)
