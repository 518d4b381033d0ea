"""CARE: the U-Net for content-aware restoration, and its network for surface projection.

Paper: M. Weigert et al., *Content-aware image restoration: pushing the limits of fluorescence
microscopy*, Nature Methods 15, 1090-1097 (2018), doi 10.1038/s41592-018-0216-7, Methods and
Supplementary Notes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from gvtzoo.networks.baselines.base import (
    MAX_POOLING,
    Baseline,
    convolve,
    sigma_head,
    widths_of,
)
from gvtzoo.networks.shared import check_sizes

KERNEL_SIZE = {2: 5, 3: 3}

PROJECTION_FEATURES = 8
PROJECTION_DEPTH = 3
PROJECTION_KERNEL = (3, 5, 5)
PROJECTION_POOLING = 4


class CAREUNet(Baseline):
    """The restoration U-Net: max pooling, nearest-neighbour upsampling, added to its input.

    Parameters
    ----------
    dimensions : {2, 3}
    input_channels, output_channels : int
        Where they differ, the input is not added to the output.
    depth : int
        Number of levels, at least 2; spatial sizes have to be multiples of ``2^(depth-1)``.
    features : int
        Of the finest level; each coarser one has twice as many.
    kernel_size : int, optional
        Of the convolutions; by default 3 in 3D and 5 in 2D.
    uncertainty : bool
        Whether there is a second head that gives σ, the scale of the paper's Laplace distribution.

    Examples
    --------
    >>> CAREUNet(dimensions=2, features=4)(torch.zeros(1, 1, 16, 32)).shape
    torch.Size([1, 1, 16, 32])
    """

    def __init__(
        self,
        dimensions: int = 3,
        *,
        input_channels: int = 1,
        output_channels: int = 1,
        depth: int = 3,
        features: int = 32,
        kernel_size: int | None = None,
        uncertainty: bool = False,
    ) -> None:
        super().__init__(
            dimensions,
            input_channels,
            depth,
            convolve(dimensions, features, output_channels, 1),
            sigma_head(dimensions, features, output_channels, uncertainty),
        )
        self.add_input = input_channels == output_channels
        kernel = KERNEL_SIZE[dimensions] if kernel_size is None else kernel_size
        *widths, widest = widths_of(features, depth)
        self.encoder = nn.ModuleList(
            convolutions(dimensions, kernel, before, width, width)
            for before, width in pairwise([input_channels, *widths])
        )
        self.pooling = MAX_POOLING[dimensions](2)
        self.middle = convolutions(dimensions, kernel, widths[-1], widest, widths[-1])
        self.upsampling = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoder = nn.ModuleList(
            convolutions(dimensions, kernel, 2 * width, width, narrower)
            for narrower, width in pairwise([features, *widths])
        )

    def features(self, x: Tensor) -> Tensor:
        """The features in front of the last convolution, (batch, features, …)."""
        skipped = []
        for block in self.encoder:
            x = block(x)
            skipped.append(x)
            x = self.pooling(x)
        x = self.middle(x)
        for block in reversed(self.decoder):
            x = block(torch.cat([self.upsampling(x), skipped.pop()], dim=1))
        return x

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        """The output, added to the input where their channels agree."""
        return x + y if self.add_input else y


class SurfaceProjection(nn.Module):
    """Stack (batch, 1, z, y, x) → image (batch, 1, y, x), a weighted mean over z.

    A small encoder-decoder gives a number w for every voxel, and

        P(y, x) = Σ_z p(z, y, x) · I(z, y, x),      p = softmax over z of w.

    Its sizes are those of `gvtzoo.networks.ProjectionNet`, which has global operators in addition
    and the product without the softmax: three levels of 8 features, 3×5×5 convolutions with ReLU,
    1×4×4 max pooling and nearest-neighbour upsampling.

    Examples
    --------
    >>> SurfaceProjection()(torch.zeros(1, 1, 10, 32, 32)).shape
    torch.Size([1, 1, 32, 32])
    """

    def __init__(self) -> None:
        super().__init__()
        count = PROJECTION_DEPTH - 1
        pooling = (1, PROJECTION_POOLING, PROJECTION_POOLING)
        widths = [1, *[PROJECTION_FEATURES] * count]
        self.down = nn.ModuleList(
            convolutions(3, PROJECTION_KERNEL, before, after) for before, after in pairwise(widths)
        )
        self.pooling = nn.MaxPool3d(pooling)
        self.middle = convolutions(3, PROJECTION_KERNEL, *[PROJECTION_FEATURES] * 2)
        self.upsampling = nn.Upsample(scale_factor=pooling, mode="nearest")
        self.up = nn.ModuleList(
            convolutions(3, PROJECTION_KERNEL, *[PROJECTION_FEATURES] * 2) for _ in range(count)
        )
        self.output = convolve(3, PROJECTION_FEATURES, 1, PROJECTION_KERNEL)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, z, y, x) → (batch, 1, y, x)."""
        return (self.weights(x) * x).sum(dim=2)

    def weights(self, x: Tensor) -> Tensor:
        """The weight of every voxel, (batch, 1, z, y, x); over z they sum to 1."""
        for block in self.down:
            x = self.pooling(block(x))
        x = self.middle(x)
        for block in self.up:
            x = block(self.upsampling(x))
        return torch.softmax(self.output(x), dim=2)


class CAREProjection(nn.Module):
    """`SurfaceProjection`, then a 2D `CAREUNet`, trained together: stack → clean 2D image.

    Parameters
    ----------
    dimensions : {3}
        Of the stack.
    input_channels : {1}
    output_channels, depth, features, uncertainty
        As in `CAREUNet`.

    Examples
    --------
    >>> CAREProjection(features=4)(torch.zeros(1, 1, 9, 32, 32)).shape
    torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        dimensions: int = 3,
        *,
        input_channels: int = 1,
        output_channels: int = 1,
        depth: int = 3,
        features: int = 32,
        uncertainty: bool = False,
    ) -> None:
        super().__init__()
        if (dimensions, input_channels) != (3, 1):
            raise ValueError(
                "surfaces are projected out of stacks of one channel: dimensions 3 and "
                f"input_channels 1, not {dimensions} and {input_channels}"
            )
        self.input_channels = input_channels
        self.projection = SurfaceProjection()
        self.network = CAREUNet(
            2,
            output_channels=output_channels,
            depth=depth,
            features=features,
            uncertainty=uncertainty,
        )

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size (z, y, x) of an input has to be a multiple of."""
        in_plane = max(PROJECTION_POOLING ** (PROJECTION_DEPTH - 1), *self.network.multiple)
        return (1, in_plane, in_plane)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, z, y, x) → (batch, output channel, y, x)."""
        check_sizes(x, self.multiple)
        image: Tensor = self.network(self.projection(x))
        return image

    def forward_with_sigma(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and σ > 0, both (batch, output channel, y, x)."""
        check_sizes(x, self.multiple)
        return self.network.forward_with_sigma(self.projection(x))


def convolutions(
    dimensions: int, kernel_size: int | tuple[int, ...], *widths: int
) -> nn.Sequential:
    """Convolutions with ReLU, from each width to the next.

    Parameters
    ----------
    dimensions : {2, 3}
    kernel_size : int or tuple of int
        Odd.
    *widths : int
        Features of the input, and of each convolution.
    """
    layers: list[nn.Module] = []
    for before, width in pairwise(widths):
        layers += [convolve(dimensions, before, width, kernel_size), nn.ReLU()]
    return nn.Sequential(*layers)
