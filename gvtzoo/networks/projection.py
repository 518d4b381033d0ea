"""From a 3D stack to the 2D image of a surface in it (paper, Supplementary Fig. 10).

`ProjectionNet` weighs every voxel of the stack and averages over z; a 2D `GVTNet` then denoises
the projected image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from gvtzoo.networks.gvtnet import Attention, GVTNet, bottom_block
from gvtzoo.networks.operators import (
    Activation,
    Convolution,
    InPlaneUpSamplingGVTO,
    fixed_operator,
)
from gvtzoo.networks.shared import check_sizes

PROJECTION_FEATURES = 8
POOLING = 4


class ProjectionNet(nn.Module):
    """Stack (batch, 1, z, y, x) → image (batch, 1, y, x).

    An encoder of 3×5×5 convolutions and 1×4×4 max-poolings, the bottom blocks in parallel with a
    convolution, ×4 in-plane up-sampling GVTOs and convolutions, and a 5×5×5 convolution to one
    weight per voxel, which is multiplied with the stack and averaged over z.

    Parameters
    ----------
    depth : int
        Number of levels: y and x have to be multiples of ``4^(depth-1)``; any z.
    bottom : sequence of {"gvto", "residual"}
    activation, batch_norm, attention, fixed_attention
        As in `GVTNet`.

    Examples
    --------
    >>> ProjectionNet()(torch.zeros(1, 1, 10, 32, 32)).shape
    torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        *,
        depth: int = 3,
        bottom: Sequence[str] = ("gvto",),
        activation: Literal["relu", "relu6"] = "relu6",
        batch_norm: bool = False,
        attention: Attention | None = None,
        fixed_attention: bool = False,
    ) -> None:
        super().__init__()
        attention = attention or {}
        style: dict[str, Any] = {"batch_norm": batch_norm, "activation": activation}
        features, levels = PROJECTION_FEATURES, range(depth - 1)

        def activate() -> nn.Module:
            return Activation(3, features, batch_norm, activation)

        def convolve(in_channels: int = features) -> nn.Module:
            return Convolution(3, in_channels, features, (3, 5, 5), bias=True)

        def up_sample() -> nn.Module:
            if fixed_attention:
                return fixed_operator("in_plane", 3, features, features, factor=POOLING, **style)
            return InPlaneUpSamplingGVTO(features, POOLING, **style, **attention.get("up", {}))

        self.depth = depth
        self.down = nn.ModuleList(
            nn.Sequential(nn.Identity() if n == 0 else activate(), convolve(features if n else 1))
            for n in levels
        )
        self.pooling = nn.MaxPool3d((1, POOLING, POOLING))
        self.bottom = nn.ModuleList(
            bottom_block(name, 3, features, style, attention, fixed_attention) for name in bottom
        )
        self.bottom_convolutions = nn.ModuleList(
            nn.Sequential(activate(), convolve()) for _ in bottom
        )
        self.upsampling = nn.ModuleList(up_sample() for _ in levels)
        self.up = nn.ModuleList(nn.Sequential(activate(), convolve()) for _ in levels)
        self.output_activation = activate()
        self.output_convolution = Convolution(3, features, 1, 5, bias=True)

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size (z, y, x) of an input has to be a multiple of."""
        return (1, POOLING ** (self.depth - 1), POOLING ** (self.depth - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, z, y, x) → (batch, 1, y, x)."""
        return (self.weights(x) * x).mean(dim=2)

    def weights(self, x: Tensor) -> Tensor:
        """The weight of every voxel, (batch, 1, z, y, x)."""
        check_sizes(x, self.multiple)
        features = x
        for down in self.down:
            features = self.pooling(down(features))
        for block, convolution in zip(self.bottom, self.bottom_convolutions, strict=True):
            features = block(features) + convolution(features)
        for upsampling, up in zip(self.upsampling, self.up, strict=True):
            features = up(upsampling(features))
        return self.output_convolution(self.output_activation(features))


class ProjectionGVTNet(nn.Module):
    """`ProjectionNet`, then a 2D `GVTNet` with the same settings: stack → clean 2D image.

    Parameters are those of `GVTNet` with ``dimensions=2``; ``add_input`` adds the projected image
    to the output.

    Examples
    --------
    >>> ProjectionGVTNet(depth=3, encoder_blocks=(1, 1, 0), downsampling=("convolution",) * 2,
    ...     upsampling=("gvto_v2",) * 2, decoder_blocks=(1, 1))(torch.zeros(1, 1, 9, 32, 32)).shape
    torch.Size([1, 1, 32, 32])
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        shared = ("depth", "bottom", "activation", "batch_norm", "attention", "fixed_attention")
        self.projection = ProjectionNet(**{k: v for k, v in settings.items() if k in shared})
        self.network = GVTNet(**{**settings, "dimensions": 2})

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size (z, y, x) of an input has to be a multiple of."""
        return self.projection.multiple

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, z, y, x) → (batch, 1, y, x)."""
        return self.network(self.projection(x))

    def forward_with_sigma(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and σ > 0, both (batch, 1, y, x)."""
        return self.network.forward_with_sigma(self.projection(x))
