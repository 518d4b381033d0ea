"""CE-Net: dilated convolutions and pooling of several widths at the bottom of a U-Net.

Paper: Z. Gu et al., *CE-Net: context encoder network for 2D medical image segmentation*, IEEE
Transactions on Medical Imaging 38, 2281-2292 (2019), doi 10.1109/TMI.2019.2903562.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gvtzoo.networks.baselines.base import (
    MAX_POOLING,
    TRANSPOSED_CONVOLUTION,
    Baseline,
    BasicBlock,
    convolve,
    normalize,
    sigma_head,
    widths_of,
)

RESNET_34 = (3, 4, 6, 3)  # blocks at each level
POOLING_SIZES = (2, 3, 5, 6)
INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class DenseAtrousConvolution(nn.Module):
    """Four cascades of dilated convolutions that see 3, 7, 9 and 19 voxels around one.

        Y = X + Σ ReLU(F(X)),      F one of C₁,  K∘C₃,  K∘C₃∘C₁,  K∘C₅∘C₃∘C₁

    (C: a 3-wide convolution of the dilation in the index, K: a 1×1 one; each has its own weights).

    Examples
    --------
    >>> DenseAtrousConvolution(2, 4)(torch.zeros(1, 4, 8, 8)).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(self, dimensions: int, channels: int) -> None:
        super().__init__()

        def branch(*dilations: int, last: bool = True) -> nn.Sequential:
            layers = [convolve(dimensions, channels, channels, dilation=rate) for rate in dilations]
            layers += [convolve(dimensions, channels, channels, 1)] if last else []
            return nn.Sequential(*layers, nn.ReLU())

        self.branches = nn.ModuleList(
            [branch(1, last=False), branch(3), branch(1, 3), branch(1, 3, 5)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, …) → the same shape."""
        y = x
        for branch in self.branches:
            y = y + branch(x)
        return y


class ResidualMultiKernelPooling(nn.Module):
    """Joins to X what it is like in windows of 2, 3, 5 and 6 voxels: four channels more.

    Max pooling, a 1×1 convolution to one channel, and linear interpolation back to X's size.
    Windows at the end of an axis are cut off there, so maps may be smaller than a window.

    Examples
    --------
    >>> ResidualMultiKernelPooling(2, 8)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 12, 4, 4])
    """

    def __init__(self, dimensions: int, channels: int) -> None:
        super().__init__()
        self.interpolation = INTERPOLATION[dimensions]
        pooling = MAX_POOLING[dimensions]
        self.levels = nn.ModuleList(
            nn.Sequential(
                pooling(size, stride=size, ceil_mode=True),
                convolve(dimensions, channels, 1, 1),
            )
            for size in POOLING_SIZES
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, …) → (batch, channel + 4, …), the same sizes."""
        size = x.shape[2:]
        return torch.cat([x, *(self._resize(level(x), size) for level in self.levels)], dim=1)

    def _resize(self, pooled: Tensor, size: Any) -> Tensor:
        return functional.interpolate(pooled, size, mode=self.interpolation, align_corners=False)


class CENet(Baseline):
    """The context encoder network: a ResNet-34, two blocks that widen its view, a decoder.

    Unlike the paper's, the encoder starts at the image's own resolution, from random weights, and
    has half as many features: the output is an image, not a segmentation.

    Parameters
    ----------
    dimensions : {2, 3}
        2 in the paper.
    input_channels, output_channels : int
    depth : int
        Number of levels, 4 at most; spatial sizes have to be multiples of ``2^(depth-1)``.
    features : int
        Of the finest level; each coarser one has twice as many.
    uncertainty : bool
        Whether there is a second head that gives σ (not in the paper).

    Examples
    --------
    >>> CENet(dimensions=2, features=4)(torch.zeros(1, 1, 16, 32)).shape
    torch.Size([1, 1, 16, 32])
    """

    def __init__(
        self,
        dimensions: int = 3,
        *,
        input_channels: int = 1,
        output_channels: int = 1,
        depth: int = 4,
        features: int = 32,
        uncertainty: bool = False,
    ) -> None:
        super().__init__(
            dimensions,
            input_channels,
            depth,
            convolve(dimensions, features, output_channels),
            sigma_head(dimensions, features, output_channels, uncertainty),
        )
        if depth > len(RESNET_34):
            raise ValueError(f"a CE-Net has a depth of at most {len(RESNET_34)}, not {depth}")
        widths = widths_of(features, depth)
        self.first = normalize(
            dimensions, convolve(dimensions, input_channels, features, bias=False)
        )
        self.encoder = nn.ModuleList(
            residual_blocks(dimensions, before, width, count, stride=1 if level == 0 else 2)
            for level, (before, width, count) in enumerate(
                zip([features, *widths[:-1]], widths, RESNET_34[:depth], strict=True)
            )
        )
        self.bottom = nn.Sequential(
            DenseAtrousConvolution(dimensions, widths[-1]),
            ResidualMultiKernelPooling(dimensions, widths[-1]),
        )
        sources = [*widths[1:-1], widths[-1] + len(POOLING_SIZES)]
        self.decoder = nn.ModuleList(
            double(dimensions, source, width)
            for source, width in zip(sources, widths[:-1], strict=True)
        )
        self.last = nn.Sequential(convolve(dimensions, features, features), nn.ReLU())

    def features(self, x: Tensor) -> Tensor:
        """The features in front of the last convolution, (batch, features, …)."""
        x = self.first(x)
        encoded = []
        for level in self.encoder:
            x = level(x)
            encoded.append(x)
        x = self.bottom(encoded.pop())
        for level in reversed(self.decoder):
            x = level(x) + encoded.pop()
        y: Tensor = self.last(x)
        return y


def residual_blocks(
    dimensions: int, before: int, width: int, count: int, stride: int
) -> nn.Sequential:
    """One level of a ResNet, whose first block changes the shape.

    Parameters
    ----------
    dimensions : {2, 3}
    before, width : int
        Features of the input and of the level.
    count : int
        Of blocks.
    stride : int
        Of the first block.
    """
    first = BasicBlock(dimensions, before, width, stride)
    return nn.Sequential(first, *(BasicBlock(dimensions, width, width) for _ in range(count - 1)))


def double(dimensions: int, before: int, width: int) -> nn.Sequential:
    """The decoder's block: a transposed convolution on a quarter of the features.

    Parameters
    ----------
    dimensions : {2, 3}
    before, width : int
        Features of the input and of the output, which is twice as large.
    """
    narrow = max(1, before // 4)
    upsample = TRANSPOSED_CONVOLUTION[dimensions](
        narrow, narrow, 3, stride=2, padding=1, output_padding=1, bias=False
    )
    return nn.Sequential(
        normalize(dimensions, convolve(dimensions, before, narrow, 1, bias=False)),
        normalize(dimensions, upsample),
        normalize(dimensions, convolve(dimensions, narrow, width, 1, bias=False)),
    )
