"""What the baselines share: convolutions in 2D and 3D, and the heads on their last features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from gvtzoo.networks.shared import check_sizes, positive

CONVOLUTION: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_CONVOLUTION: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOLING: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


class Baseline(nn.Module, ABC):
    """A U-Net that ends in a convolution, and, where wanted, in a second one for σ.

    Parameters
    ----------
    dimensions : {2, 3}
    input_channels : int
    depth : int
        Number of levels; spatial sizes have to be multiples of ``2^(depth-1)``.
    output : Module
        The last convolution.
    sigma : Module, optional
        The 1×1 convolution of the uncertainty head.
    """

    def __init__(
        self,
        dimensions: int,
        input_channels: int,
        depth: int,
        output: nn.Module,
        sigma: nn.Module | None,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.input_channels = input_channels
        self.depth = depth
        self.output = output
        self.sigma_convolution = sigma

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size ((z,) y, x) of an input has to be a multiple of."""
        return (2 ** (self.depth - 1),) * self.dimensions

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """The features in front of the last convolution, (batch, features, …)."""

    def finish(self, y: Tensor, x: Tensor) -> Tensor:
        """The image, from what the last convolution gives and the network's input."""
        return y

    def forward(self, x: Tensor) -> Tensor:
        """(batch, input channel, …) → (batch, output channel, …), the same sizes."""
        check_sizes(x, self.multiple)
        return self.finish(self.output(self.features(x)), x)

    def forward_with_sigma(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and σ > 0, both (batch, output channel, …)."""
        check_sizes(x, self.multiple)
        if self.sigma_convolution is None:
            raise ValueError("this network has no uncertainty head: build it with uncertainty=True")
        features = self.features(x)
        return self.finish(self.output(features), x), positive(self.sigma_convolution(features))


def widths_of(features: int, depth: int) -> list[int]:
    """Features at each level, from the image's to the bottom: they double."""
    return [features * 2**level for level in range(depth)]


def convolve(
    dimensions: int,
    before: int,
    after: int,
    kernel_size: int | tuple[int, ...] = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    bias: bool = True,
) -> nn.Module:
    """A convolution, padded with zeros so that with stride 1 it keeps the sizes.

    Parameters
    ----------
    dimensions : {2, 3}
    before, after : int
        Features of the input and of the output.
    kernel_size : int or tuple of int
        Odd.
    stride, dilation : int
    bias : bool

    Returns
    -------
    Conv2d or Conv3d
    """
    kernel = (kernel_size,) * dimensions if isinstance(kernel_size, int) else kernel_size
    padding = tuple(dilation * (size // 2) for size in kernel)
    layer: nn.Module = CONVOLUTION[dimensions](
        before, after, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias
    )
    return layer


def normalize(dimensions: int, convolution: nn.Module) -> nn.Sequential:
    """A convolution, batch norm and ReLU."""
    width: Any = convolution.out_channels
    return nn.Sequential(convolution, BATCH_NORM[dimensions](width), nn.ReLU())


class BasicBlock(nn.Module):
    """The residual block of ResNet-18 and -34: y = ReLU(shortcut(x) + F(x)).

    F is two 3-wide convolutions with batch norm, the first with ReLU; the shortcut is the input,
    or a 1×1 convolution with batch norm where the shape changes.
    """

    def __init__(self, dimensions: int, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        norm = BATCH_NORM[dimensions]
        self.inner = nn.Sequential(
            *normalize(dimensions, convolve(dimensions, before, width, stride=stride, bias=False)),
            convolve(dimensions, width, width, bias=False),
            norm(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != width:
            projected = convolve(dimensions, before, width, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projected, norm(width))
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, before, …) → (batch, width, …), sizes divided by the stride."""
        y: Tensor = self.activation(self.shortcut(x) + self.inner(x))
        return y


def sigma_head(dimensions: int, features: int, channels: int, wanted: bool) -> nn.Module | None:
    """The 1×1 convolution of the uncertainty head, or None where it is not wanted.

    Parameters
    ----------
    dimensions : {2, 3}
    features, channels : int
        Of the network's last features, and of σ.
    wanted : bool
    """
    return convolve(dimensions, features, channels, 1) if wanted else None
