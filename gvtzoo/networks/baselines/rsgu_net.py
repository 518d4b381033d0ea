"""RSGU-Net: a U-Net that knows the mean of its features over the whole image.

Paper: J. Huang, P. Zhu, M. Geng, J. Ran, X. Zhou, C. Xing, P. Wan, X. Ji, *Range scaling global
U-Net for perceptual image enhancement on mobile devices*, ECCV 2018 Workshops, LNCS 11133, 230-242
(2019), doi 10.1007/978-3-030-11021-5_15.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gvtzoo.networks.baselines.base import (
    TRANSPOSED_CONVOLUTION,
    Baseline,
    BasicBlock,
    convolve,
    sigma_head,
    widths_of,
)


class GlobalPooling(nn.Module):
    """Adds what the whole image is like to every voxel's features.

        Y = X + W₂ ReLU(W₁ x̄ + b₁) + b₂,      x̄: the mean of X over all voxels

    Examples
    --------
    >>> GlobalPooling(2, 8)(torch.zeros(1, 8, 4, 4)).shape
    torch.Size([1, 8, 4, 4])
    """

    def __init__(self, dimensions: int, channels: int) -> None:
        super().__init__()
        self.axes = tuple(range(2, 2 + dimensions))
        self.inner = nn.Sequential(
            convolve(dimensions, channels, channels, 1),
            nn.ReLU(),
            convolve(dimensions, channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, …) → the same shape."""
        y: Tensor = x + self.inner(x.mean(dim=self.axes, keepdim=True))
        return y


class RSGUNet(Baseline):
    """Residual U-Net with a global feature vector at the bottom.

    Convolutions with stride 2 halve the sizes, transposed ones double them, skips are
    concatenated, and `GlobalPooling` stands at the bottom.

    Parameters
    ----------
    dimensions : {2, 3}
        2 in the paper.
    input_channels, output_channels : int
    depth : int
        Number of levels; spatial sizes have to be multiples of ``2^(depth-1)``.
    features : int
        Of the finest level; each coarser one has twice as many.
    range_scaling : bool
        The paper's last layer, which multiplies the input with the output, y = x ⊙ s(x), for
        photographs, whose values are positive. Normalized microscopy images are around 0, where a
        factor changes nothing, so it has to be asked for.
    uncertainty : bool
        Whether there is a second head that gives σ (not in the paper).

    Examples
    --------
    >>> RSGUNet(dimensions=2, features=4)(torch.zeros(1, 1, 16, 32)).shape
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
        range_scaling: bool = False,
        uncertainty: bool = False,
    ) -> None:
        super().__init__(
            dimensions,
            input_channels,
            depth,
            convolve(dimensions, features, output_channels),
            sigma_head(dimensions, features, output_channels, uncertainty),
        )
        self.range_scaling = range_scaling
        widths = widths_of(features, depth)
        upsample = TRANSPOSED_CONVOLUTION[dimensions]
        self.encoder = nn.ModuleList([BasicBlock(dimensions, input_channels, features)])
        self.encoder.extend(
            BasicBlock(dimensions, fine, coarse, stride=2) for fine, coarse in pairwise(widths)
        )
        self.bottom = GlobalPooling(dimensions, widths[-1])
        self.up = nn.ModuleList(
            upsample(coarse, fine, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.decoder = nn.ModuleList(
            BasicBlock(dimensions, 2 * width, width) for width in widths[:-1]
        )

    def features(self, x: Tensor) -> Tensor:
        """The features in front of the last convolution, (batch, features, …)."""
        encoded = []
        for level in self.encoder:
            x = level(x)
            encoded.append(x)
        x = self.bottom(encoded.pop())
        for up, block in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = block(torch.cat([encoded.pop(), up(x)], dim=1))
        return x

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        """The output, multiplied with the input if there is range scaling."""
        return x * y if self.range_scaling else y
