"""Residual blocks of the U-Net around the operators (paper, Methods, Supplementary Figs. 2, 4)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from gvtzoo.networks.operators import Activation, Convolution


class ResidualBlock(nn.Module):
    """Pre-activation residual block: activation, 3-wide convolution, twice, plus a shortcut.

    The shortcut is the raw input when the channels agree, else a 1×1 convolution of the
    *activated* input.

    Examples
    --------
    >>> ResidualBlock(3, 32, 16)(torch.zeros(1, 32, 4, 8, 8)).shape
    torch.Size([1, 16, 4, 8, 8])
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        *,
        batch_norm: bool = True,
        activation: Literal["relu", "relu6"] = "relu6",
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.activation_1 = Activation(dimensions, in_channels, batch_norm, activation)
        self.convolution_1 = Convolution(dimensions, in_channels, out_channels, 3, stride=stride)
        self.activation_2 = Activation(dimensions, out_channels, batch_norm, activation)
        self.convolution_2 = Convolution(dimensions, out_channels, out_channels, 3)
        changes_shape = stride != 1 or in_channels != out_channels
        self.shortcut = (
            Convolution(dimensions, in_channels, out_channels, 1, stride=stride)
            if changes_shape
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, …) → (batch, out_channels, …), the same sizes."""
        activated = self.activation_1(x)
        y = self.convolution_2(self.activation_2(self.convolution_1(activated)))
        return y + (x if self.shortcut is None else self.shortcut(activated))


class DownSamplingResidualBlock(ResidualBlock):
    """Residual block with stride 2 in its first convolution and in its shortcut: sizes halve."""

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        *,
        batch_norm: bool = True,
        activation: Literal["relu", "relu6"] = "relu6",
    ) -> None:
        super().__init__(
            dimensions,
            in_channels,
            out_channels,
            batch_norm=batch_norm,
            activation=activation,
            stride=2,
        )
