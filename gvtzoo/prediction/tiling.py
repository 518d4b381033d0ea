"""What tiling costs: tiles with a halo against the whole image.

Fiji, ilastik and bioimageio.core cut an image into tiles, predict each with some voxels around it
and put the inner parts together. For networks that look at the whole image this gives another
result, however wide the halo; packages say how far off it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.images.lazy import boxes
from gvtzoo.networks import Network
from gvtzoo.networks.baselines import Baseline, CAREProjection
from gvtzoo.prediction.exact.maps import Sizes, per_axis
from gvtzoo.prediction.exact.plan import receptive_radius_of_passes

LAYERS_WITH_KERNELS = (
    *(nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.MaxPool2d, nn.MaxPool3d),
)


def receptive_radius(network: Network) -> Sizes:
    """How far the convolutions of a network look, in voxels of the image, (z,) y, x.

    What the attention looks at, or a mean over the image, is not counted: it has no limit.
    """
    if isinstance(network, (Baseline, CAREProjection)):
        return _reach_of_layers(network)
    return receptive_radius_of_passes(network)


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
