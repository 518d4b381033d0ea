"""Networks that GVTNets are compared with, under the names of their papers.

- `FNet`: Ounkomol, Seshamani, Maleckar, Collman & Johnson, Nature Methods 15, 917-920 (2018),
  doi 10.1038/s41592-018-0111-2: the U-Net for label-free prediction.
- `CAREUNet`: Weigert et al., Nature Methods 15, 1090-1097 (2018), doi 10.1038/s41592-018-0216-7:
  the residual U-Net for content-aware restoration.

They are made from the papers' descriptions; no weights of theirs are used.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class FNet(nn.Module):
    """The label-free U-Net: five levels, strided convolutions, batch norm; 23,280,769 parameters.

    Parameters
    ----------
    features : int
        Of the finest level; each coarser one has twice as many.
    levels : int

    Examples
    --------
    >>> import torch
    >>> FNet(features=4)(torch.zeros(1, 1, 16, 16, 32)).shape
    torch.Size([1, 1, 16, 16, 32])
    """

    def __init__(self, features: int = 32, levels: int = 5) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(levels)]
        self.encoder = nn.ModuleList(
            _two_convolutions(before, width)
            for before, width in zip([1, *widths[:-1]], widths, strict=True)
        )
        self.down = nn.ModuleList(
            _with_norm(nn.Conv3d(width, width, 2, stride=2)) for width in widths[:-1]
        )
        self.up = nn.ModuleList(
            _with_norm(nn.ConvTranspose3d(2 * width, width, 2, stride=2)) for width in widths[:-1]
        )
        self.decoder = nn.ModuleList(_two_convolutions(2 * width, width) for width in widths[:-1])
        self.output = nn.Conv3d(features, 1, 3, padding=1)
        self.multiple = (2 ** (levels - 1),) * 3

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, 1, z, y, x) to the same shape; sizes are multiples of ``multiple``."""
        skipped = []
        for level, block in enumerate(self.encoder):
            x = block(x)
            if level < len(self.down):
                skipped.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(self.up))):
            x = self.decoder[level](torch.cat([skipped.pop(), self.up[level](x)], dim=1))
        y: Tensor = self.output(x)
        return y


class CAREUNet(nn.Module):
    """The restoration U-Net: max pooling, nearest-neighbour upsampling, added to its input.

    Parameters
    ----------
    dimensions : {2, 3}
    features : int
        Of the finest level; each coarser one has twice as many.
    depth : int
        How often the image is halved.
    kernel_size : int
        Of all convolutions; 3 in 3D, 5 in 2D in the paper's code.

    Examples
    --------
    >>> import torch
    >>> CAREUNet(dimensions=2, features=4)(torch.zeros(1, 1, 16, 32)).shape
    torch.Size([1, 1, 16, 32])
    """

    def __init__(
        self, dimensions: int = 3, features: int = 32, depth: int = 2, kernel_size: int = 3
    ) -> None:
        super().__init__()
        convolution = nn.Conv3d if dimensions == 3 else nn.Conv2d
        pooling = nn.MaxPool3d if dimensions == 3 else nn.MaxPool2d

        def block(*widths: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for before, width in pairwise(widths):
                same = kernel_size // 2
                layers += [convolution(before, width, kernel_size, padding=same), nn.ReLU()]
            return nn.Sequential(*layers)

        widths = [features * 2**level for level in range(depth + 1)]
        self.encoder = nn.ModuleList(
            block(before, width, width)
            for before, width in zip([1, *widths[:-2]], widths[:-1], strict=True)
        )
        self.pooling = pooling(2)
        self.middle = block(widths[-2], widths[-1], widths[-2])
        self.upsampling = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.ModuleList(
            block(2 * width, width, narrower)
            for width, narrower in zip(widths[:-1], [features, *widths[:-2]], strict=True)
        )
        self.output = convolution(features, 1, 1)
        self.multiple = (2**depth,) * dimensions

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, 1, (z,) y, x) to the same shape; sizes are multiples of ``multiple``."""
        y, skipped = x, []
        for block in self.encoder:
            y = block(y)
            skipped.append(y)
            y = self.pooling(y)
        y = self.middle(y)
        for block in reversed(self.decoder):
            y = block(torch.cat([self.upsampling(y), skipped.pop()], dim=1))
        residual: Tensor = self.output(y)
        return x + residual


def _with_norm(convolution: nn.Module) -> nn.Sequential:
    width = int(convolution.out_channels)  # type: ignore[arg-type]
    return nn.Sequential(convolution, nn.BatchNorm3d(width), nn.ReLU())


def _two_convolutions(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        _with_norm(nn.Conv3d(before, width, 3, padding=1)),
        _with_norm(nn.Conv3d(width, width, 3, padding=1)),
    )
