"""GVTNet: a U-Net with global voxel transformer operators (paper, Fig. 1 and Methods).

Tensors are (batch, channel, y, x) or (batch, channel, z, y, x). Level i of the U-Net has
``features · 2^(i-1)`` features and voxels 2^(i-1) times as wide as those of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gvtzoo.networks.blocks import DownSamplingResidualBlock, ResidualBlock
from gvtzoo.networks.operators import (
    Activation,
    Convolution,
    DownSamplingGVTO,
    Interpolation,
    KeepGrain,
    SizePreservingGVTO,
    TransposedConvolution,
    UpSamplingGVTO,
    Version,
    fixed_operator,
)
from gvtzoo.networks.shared import check_sizes, positive

Attention = Mapping[str, Mapping[str, Any]]


class EncoderLevel(nn.Module):
    """Down-sampling (none at the first level), then residual blocks."""

    def __init__(self, downsampling: nn.Module, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.downsampling = downsampling
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """The level above, (batch, channel, …), at this level's features and sizes."""
        return self.blocks(self.downsampling(x))


class DecoderLevel(nn.Module):
    """Up-sampling, the encoder's output at this level added or concatenated, residual blocks."""

    def __init__(
        self,
        upsampling: nn.Module,
        blocks: Sequence[nn.Module],
        skip: Literal["add", "concatenate"],
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.blocks = nn.Sequential(*blocks)
        self.skip = skip

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        """From the level below and the encoder's at this level, (batch, channel, …)."""
        return self.blocks(self.merge(self.upsampling(x), encoded))

    def merge(self, upsampled: Tensor, encoded: Tensor) -> Tensor:
        """Join the up-sampled features with the encoder's at this level."""
        if self.skip == "add":
            return upsampled + encoded
        return torch.cat([upsampled, encoded], dim=1)


class GVTNet(nn.Module):
    """U-Net whose bottom, down- and up-sampling may be global voxel transformer operators.

    Parameters
    ----------
    dimensions : {2, 3}
        Number of spatial axes.
    input_channels, output_channels : int
    depth : int
        Number of levels, the bottom one included. Spatial sizes have to be multiples of
        ``2^(depth-1)``.
    features : int
        Features at the first level; they double with each level.
    encoder_blocks : sequence of int
        Residual blocks at each level, from the image down to the bottom (``depth`` numbers).
    downsampling : sequence of {"convolution", "residual", "gvto_v1", "gvto_v2"}
        From the image down (``depth - 1`` names).
    bottom : sequence of {"gvto", "residual"}
    upsampling : sequence of str
        From the bottom up (``depth - 1`` names): "transposed_convolution", "gvto_v1", "gvto_v2", or
        "interpolation" and "gvto_v2_interpolation", which draw no grid into flat background.
    decoder_blocks : sequence of int
        Residual blocks at each level, from the bottom up (``depth - 1`` numbers).
    skip : {"add", "concatenate"}
        How the encoder's features join the up-sampled ones.
    activation : {"relu", "relu6"}
    batch_norm : bool
    attention : mapping
        Arguments of the GVTOs (`heads`, `key_ratio`, `value_ratio`, `softmax`, `bias`,
        `dropout`) under the keys ``"same"``, ``"down"`` and ``"up"``.
    output_kernel_size : int
        Of the last convolution.
    output_bias : bool
    add_input : bool
        Whether the input is added to the output (then their channels have to agree).
    uncertainty : bool
        Whether there is a second head that gives σ, the scale of a Laplace distribution around
        the output, in the output's units.
    sigma_input : {"features", "activated"}
        What that head reads: the last features, as in the authors' repository, or these behind
        the last activation (which the output convolution reads too), as in the graphs of the
        published Planaria and Tribolium models. Both have the same weights.
    fixed_attention : bool
        Whether the operators are convolutions, made for given matrices by
        `gvtzoo.networks.fixed_attention`.
    grain : float
        Of networks that add their input: standard deviation of the noise that truths have, in
        units of the input (`gvtzoo.networks.operators.KeepGrain`).

    Examples
    --------
    >>> network = GVTNet(dimensions=2, features=8)
    >>> network(torch.zeros(1, 1, 32, 64)).shape
    torch.Size([1, 1, 32, 64])
    """

    def __init__(
        self,
        *,
        dimensions: int = 3,
        input_channels: int = 1,
        output_channels: int = 1,
        depth: int = 4,
        features: int = 32,
        encoder_blocks: Sequence[int] = (1, 0, 0, 0),
        downsampling: Sequence[str] = ("residual", "residual", "residual"),
        bottom: Sequence[str] = ("gvto",),
        upsampling: Sequence[str] = ("transposed_convolution",) * 3,
        decoder_blocks: Sequence[int] = (1, 1, 1),
        skip: Literal["add", "concatenate"] = "add",
        activation: Literal["relu", "relu6"] = "relu6",
        batch_norm: bool = True,
        attention: Attention | None = None,
        output_kernel_size: int = 3,
        output_bias: bool = True,
        add_input: bool = False,
        uncertainty: bool = False,
        sigma_input: Literal["features", "activated"] = "features",
        fixed_attention: bool = False,
        grain: float = 0.0,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.depth = depth
        self.add_input = add_input
        self.sigma_input = sigma_input
        attention = attention or {}
        style: dict[str, Any] = {"batch_norm": batch_norm, "activation": activation}
        widths = [features * 2**level for level in range(depth)]

        def residual_blocks(count: int, in_channels: int, out_channels: int) -> list[nn.Module]:
            sources = [in_channels] + [out_channels] * (count - 1)
            return [
                ResidualBlock(dimensions, sources[n], out_channels, **style) for n in range(count)
            ]

        self.first_convolution = Convolution(dimensions, input_channels, features, 3)
        self.encoder = nn.ModuleList(
            [EncoderLevel(nn.Identity(), residual_blocks(encoder_blocks[0], features, features))]
        )
        for level in range(1, depth):
            fine, coarse = widths[level - 1], widths[level]
            self.encoder.append(
                EncoderLevel(
                    down_sampling(
                        downsampling[level - 1],
                        dimensions,
                        fine,
                        coarse,
                        style,
                        attention,
                        fixed_attention,
                    ),
                    residual_blocks(encoder_blocks[level], coarse, coarse),
                )
            )
        self.bottom = nn.Sequential(
            *[
                bottom_block(name, dimensions, widths[-1], style, attention, fixed_attention)
                for name in bottom
            ]
        )
        self.decoder = nn.ModuleList()
        for step in range(depth - 1):
            coarse, fine = widths[depth - 1 - step], widths[depth - 2 - step]
            merged = 2 * fine if skip == "concatenate" else fine
            if skip == "concatenate" and decoder_blocks[step] == 0:
                raise ValueError(
                    "skips by concatenation need a residual block at each decoder level, "
                    f"not decoder_blocks {tuple(decoder_blocks)}"
                )
            self.decoder.append(
                DecoderLevel(
                    up_sampling(
                        upsampling[step],
                        dimensions,
                        coarse,
                        fine,
                        style,
                        attention,
                        fixed_attention,
                    ),
                    residual_blocks(decoder_blocks[step], merged, fine),
                    skip,
                )
            )
        self.output_activation = Activation(dimensions, features, batch_norm, activation)
        self.output_convolution = Convolution(
            dimensions, features, output_channels, output_kernel_size, bias=output_bias
        )
        self.sigma_convolution = (
            Convolution(dimensions, features, output_channels, 1) if uncertainty else None
        )
        self.keep_grain = KeepGrain(grain) if grain else None

    @property
    def multiple(self) -> tuple[int, ...]:
        """What each spatial size of an input has to be a multiple of."""
        return (2 ** (self.depth - 1),) * self.dimensions

    def forward(self, x: Tensor) -> Tensor:
        """(batch, input channel, …) → (batch, output channel, …), the same sizes."""
        return self.output(self.output_activation(self.decode(self.encode(x))), x)

    def forward_with_sigma(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, and σ > 0, both (batch, output channel, …)."""
        return self.output_and_sigma(self.decode(self.encode(x)), x)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The encoder's output at each level, from the image's size to the bottom's."""
        check_sizes(x, self.multiple)
        encoded = []
        features = self.first_convolution(x)
        for level in self.encoder:
            features = level(features)
            encoded.append(features)
        return encoded

    def decode(self, encoded: list[Tensor]) -> Tensor:
        """From the encoder's outputs to the features in front of the last activation."""
        features = self.bottom(encoded[-1])
        for level, skipped in zip(self.decoder, reversed(encoded[:-1]), strict=True):
            features = level(features, skipped)
        return features

    def output_and_sigma(self, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image and σ, from the last features and the network's input.

        Raises
        ------
        ValueError
            When there is no uncertainty head.
        """
        if self.sigma_convolution is None:
            raise ValueError("this network has no uncertainty head: build it with uncertainty=True")
        activated = self.output_activation(features)
        read = activated if self.sigma_input == "activated" else features
        return self.output(activated, x), positive(self.sigma_convolution(read))

    def output(self, activated: Tensor, x: Tensor) -> Tensor:
        """The image, from the activated last features and the network's input."""
        y = self.output_convolution(activated)
        if self.keep_grain is not None:
            y = self.keep_grain(y)
        return y + x if self.add_input else y


def down_sampling(
    name: str,
    dimensions: int,
    in_channels: int,
    out_channels: int,
    style: Mapping[str, Any],
    attention: Attention,
    fixed: bool = False,
) -> nn.Module:
    """The module that halves the sizes, by its name in the configuration.

    Parameters
    ----------
    name : {"convolution", "residual", "gvto_v1", "gvto_v2"}
    dimensions : {2, 3}
    in_channels, out_channels : int
    style : mapping
        ``batch_norm`` and ``activation``.
    attention : mapping
        By "down", "same" and "up", further arguments of the operators.
    fixed : bool
        Whether operators are those whose matrices are known.

    Raises
    ------
    ValueError
        For another name.
    """
    if name == "convolution":
        return Convolution(dimensions, in_channels, out_channels, 3, stride=2)
    if name == "residual":
        return DownSamplingResidualBlock(dimensions, in_channels, out_channels, **style)
    if name in ("gvto_v1", "gvto_v2"):
        if fixed:
            return fixed_operator("down", dimensions, in_channels, out_channels, **style)
        version: Version = "v1" if name == "gvto_v1" else "v2"
        return DownSamplingGVTO(
            dimensions, in_channels, out_channels, version, **style, **attention.get("down", {})
        )
    raise ValueError(f"unknown down-sampling {name!r}")


def bottom_block(
    name: str,
    dimensions: int,
    channels: int,
    style: Mapping[str, Any],
    attention: Attention,
    fixed: bool = False,
) -> nn.Module:
    """A block of the bottom level, by its name in the configuration.

    Parameters
    ----------
    name : {"gvto", "residual"}
    dimensions : {2, 3}
    channels : int
    style, attention, fixed
        As of `down_sampling`.

    Raises
    ------
    ValueError
        For another name.
    """
    if name == "gvto":
        if fixed:
            return fixed_operator("same", dimensions, channels, channels, **style)
        return SizePreservingGVTO(dimensions, channels, **style, **attention.get("same", {}))
    if name == "residual":
        return ResidualBlock(dimensions, channels, channels, **style)
    raise ValueError(f"unknown bottom block {name!r}")


def up_sampling(
    name: str,
    dimensions: int,
    in_channels: int,
    out_channels: int,
    style: Mapping[str, Any],
    attention: Attention,
    fixed: bool = False,
) -> nn.Module:
    """The module that doubles the sizes, by its name in the configuration.

    Parameters
    ----------
    name : str
        "transposed_convolution", "interpolation", "gvto_v1", "gvto_v2", "gvto_v2_interpolation".
    dimensions, in_channels, out_channels, style, attention, fixed
        As of `down_sampling`.

    Raises
    ------
    ValueError
        For another name.
    """
    if name == "transposed_convolution":
        return TransposedConvolution(dimensions, in_channels, out_channels)
    if name == "interpolation":
        return Interpolation(dimensions, in_channels, out_channels)
    if name == "gvto_v2_interpolation":
        if fixed:
            return fixed_operator("interpolation", dimensions, in_channels, out_channels, **style)
        return UpSamplingGVTO(
            dimensions,
            in_channels,
            out_channels,
            resampling=Interpolation,
            **style,
            **attention.get("up", {}),
        )
    if name in ("gvto_v1", "gvto_v2"):
        if fixed:
            return fixed_operator("up", dimensions, in_channels, out_channels, **style)
        version: Version = "v1" if name == "gvto_v1" else "v2"
        return UpSamplingGVTO(
            dimensions, in_channels, out_channels, version, **style, **attention.get("up", {})
        )
    raise ValueError(f"unknown up-sampling {name!r}")
