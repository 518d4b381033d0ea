"""FNet, the U-Net for label-free prediction.

Paper: C. Ounkomol, S. Seshamani, M. M. Maleckar, F. Collman, G. R. Johnson, *Label-free prediction
of three-dimensional fluorescence images from transmitted-light microscopy*, Nature Methods 15,
917-920 (2018), doi 10.1038/s41592-018-0111-2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gvtzoo.networks.baselines.base import (
    CONVOLUTION,
    TRANSPOSED_CONVOLUTION,
    Baseline,
    convolve,
    normalize,
    sigma_head,
    widths_of,
)


class FNet(Baseline):
    """The label-free U-Net: five levels, strided convolutions, batch norm; 23,280,769 parameters.

    Each level has two 3-wide convolutions with batch norm and ReLU; convolutions of width and
    stride 2 change the size, and skips are concatenated.

    Parameters
    ----------
    dimensions : {2, 3}
        3 in the paper.
    input_channels, output_channels : int
    depth : int
        Number of levels; spatial sizes have to be multiples of ``2^(depth-1)``.
    features : int
        Of the finest level; each coarser one has twice as many.
    uncertainty : bool
        Whether there is a second head that gives σ (not in the paper).

    Examples
    --------
    >>> FNet(features=4)(torch.zeros(1, 1, 16, 16, 32)).shape
    torch.Size([1, 1, 16, 16, 32])
    """

    def __init__(
        self,
        dimensions: int = 3,
        *,
        input_channels: int = 1,
        output_channels: int = 1,
        depth: int = 5,
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
        widths = widths_of(features, depth)

        def two_convolutions(before: int, width: int) -> nn.Sequential:
            return nn.Sequential(
                normalize(dimensions, convolve(dimensions, before, width)),
                normalize(dimensions, convolve(dimensions, width, width)),
            )

        def resample(kind: dict[int, type[nn.Module]], before: int, width: int) -> nn.Sequential:
            return normalize(dimensions, kind[dimensions](before, width, 2, stride=2))

        self.encoder = nn.ModuleList(
            two_convolutions(before, width)
            for before, width in zip([input_channels, *widths[:-1]], widths, strict=True)
        )
        self.down = nn.ModuleList(resample(CONVOLUTION, width, width) for width in widths[:-1])
        self.up = nn.ModuleList(
            resample(TRANSPOSED_CONVOLUTION, 2 * width, width) for width in widths[:-1]
        )
        self.decoder = nn.ModuleList(two_convolutions(2 * width, width) for width in widths[:-1])

    def features(self, x: Tensor) -> Tensor:
        """The features in front of the last convolution, (batch, features, …)."""
        skipped = []
        for level, block in enumerate(self.encoder):
            x = block(x)
            if level < len(self.down):
                skipped.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(self.up))):
            x = self.decoder[level](torch.cat([skipped.pop(), self.up[level](x)], dim=1))
        return x
