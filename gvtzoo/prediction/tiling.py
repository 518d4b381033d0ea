"""What tiling costs: tiles with a halo against the whole image.

Fiji, ilastik and bioimageio.core cut an image into tiles, predict each with some voxels around it
and put the inner parts together. For networks that look at the whole image this gives another
result, however wide the halo; packages say how far off it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.images.lazy import boxes
from gvtzoo.networks import Network
from gvtzoo.networks.baselines import Baseline, CAREProjection
from gvtzoo.networks.gvtnet import DecoderLevel, EncoderLevel, GVTNet
from gvtzoo.networks.projection import POOLING, ProjectionGVTNet, ProjectionNet
from gvtzoo.packages.config import TilingHint
from gvtzoo.prediction.exact.maps import Sizes, per_axis, reach

LAYERS_WITH_KERNELS = (
    *(nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.MaxPool2d, nn.MaxPool3d),
)
LAYERS_AND_SCALES = Iterator[tuple[nn.Module, Sizes]]


def receptive_radius(network: Network) -> Sizes:
    """How far the convolutions of a network look, in voxels of the image, (z,) y, x.

    What the attention looks at, or a mean over the image, is not counted: it has no limit.
    """
    if isinstance(network, (Baseline, CAREProjection)):
        return _reach_of_layers(network)
    layers: list[tuple[nn.Module, Sizes]] = []
    if isinstance(network, ProjectionGVTNet):
        layers += _projection_layers(network.projection)
        layers += [(layer, (1, *scale)) for layer, scale in _gvtnet_layers(network.network)]
    else:
        layers += _gvtnet_layers(network)
    total = np.zeros(len(layers[0][1]), int)
    for layer, scale in layers:
        own = per_axis(reach(layer), len(scale))
        # The 2D network behind a projection does not reach along z.
        total += np.array((0, *own) if len(own) < len(scale) else own) * scale
    return tuple(map(int, total))


def _reach_of_layers(network: Baseline | CAREProjection) -> Sizes:
    """The sum over all layers, as if even those beside each other stood one behind the other."""
    total = np.zeros(len(network.multiple), int)

    def add(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kernel, stride = (np.array(_per_axis(layer, name)) for name in ("kernel_size", "stride"))
        axes = len(kernel)
        finer = np.maximum(inputs[0].shape[2:], output.shape[2:])
        scale = np.array(network.multiple[-axes:]) // finer
        if (stride > 1).any():
            total[-axes:] += (kernel - 1) * scale
        else:
            total[-axes:] += getattr(layer, "dilation", (1,))[0] * (kernel // 2) * scale

    shadow = copy.deepcopy(network).to("meta").eval()
    for layer in shadow.modules():
        if isinstance(layer, LAYERS_WITH_KERNELS):
            layer.register_forward_hook(add)
    shadow(torch.zeros(1, network.input_channels, *network.multiple, device="meta"))
    return tuple(map(int, total))


def _per_axis(layer: Any, name: str) -> Sizes:
    value: Sizes | int = getattr(layer, name)
    dimensions = 3 if "3d" in type(layer).__name__ else 2
    return per_axis(value, dimensions)


def _gvtnet_layers(network: GVTNet) -> LAYERS_AND_SCALES:
    def scale(level: int) -> Sizes:
        return (2**level,) * network.dimensions

    yield network.first_convolution, scale(0)
    for number, encoder in enumerate(network.encoder):
        encoder = cast(EncoderLevel, encoder)
        for layer in (encoder.downsampling, *encoder.blocks):
            yield layer, scale(number)
    for layer in network.bottom:
        yield layer, scale(network.depth - 1)
    for step, decoder in enumerate(network.decoder):
        decoder = cast(DecoderLevel, decoder)
        number = network.depth - 2 - step
        yield decoder.upsampling, scale(number + 1)
        for layer in decoder.blocks:
            yield layer, scale(number)
    yield network.output_convolution, scale(0)
    if network.keep_grain is not None:
        yield network.keep_grain, scale(0)


def _projection_layers(network: ProjectionNet) -> LAYERS_AND_SCALES:
    def scale(level: int) -> Sizes:
        return (1, POOLING**level, POOLING**level)

    deepest = len(network.down)
    for number, down in enumerate(network.down):
        for layer in cast(nn.Sequential, down):
            yield layer, scale(number)
    for convolution in network.bottom_convolutions:
        for layer in cast(nn.Sequential, convolution):
            yield layer, scale(deepest)
    for number, up in enumerate(network.up, start=1):
        for layer in cast(nn.Sequential, up):
            yield layer, scale(deepest - number)
    yield network.output_convolution, scale(0)


def predict_with_halo(
    predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, tile: Sizes, halo: Sizes
) -> np.ndarray:
    """Predict tiles, each with a halo that is cut away, and put them together.

    Parameters
    ----------
    predict : callable
        From (channel, (z,) y, x) to (channel, …), the same sizes or without z.
    image : ndarray
        (channel, (z,) y, x).
    tile, halo : tuple of int
        (z,) y, x; multiples of what the network needs. Halos end at the image's border.
    """
    result: np.ndarray | None = None
    for box in boxes(image.shape[1:], tile):
        wide = tuple(
            slice(max(0, b.start - h), min(s, b.stop + h))
            for b, h, s in zip(box, halo, image.shape[1:], strict=True)
        )
        inner = tuple(
            slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True)
        )
        part = predict(image[(slice(None), *wide)])
        kept = len(part.shape) - 1
        if result is None:
            result = np.empty((len(part), *image.shape[image.ndim - kept :]), part.dtype)
        result[(slice(None), *box[-kept:])] = part[(slice(None), *inner[-kept:])]
    assert result is not None
    return result


def measure_tiling(network: Network, image: np.ndarray, tile: Sizes) -> TilingHint:
    """Compare tiles, with a halo as wide as the convolutions reach, with the whole image.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    image : ndarray
        (channel, (z,) y, x), normalized and padded; larger than a tile.
    tile : tuple of int
        (z,) y, x, multiples of ``network.multiple``.
    """
    from gvtzoo.metrics.pair import pearson_r
    from gvtzoo.prediction.engines import run_network

    def predict(part: np.ndarray) -> np.ndarray:
        return run_network(network, part, uncertainty=False)[0]

    halo = tuple(
        -(-r // m) * m for r, m in zip(receptive_radius(network), network.multiple, strict=True)
    )
    if isinstance(network, (ProjectionGVTNet, CAREProjection)):
        # The surface may be anywhere in the stack: only tiles with all of z make sense.
        tile = (image.shape[1], *tile[1:])
    whole, tiled = predict(image), predict_with_halo(predict, image, tile, halo)
    return TilingHint(
        tile=tile,
        halo=halo,
        pearson_r=pearson_r(whole, tiled),
        max_difference=float(np.abs(tiled - whole).max() / np.ptp(whole)),
    )
