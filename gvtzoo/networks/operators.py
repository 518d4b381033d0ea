"""Global voxel transformer operators (GVTOs): attention over every voxel of the image.

Paper: Z. Wang, Y. Xie, S. Ji, *Global voxel transformer networks for augmented microscopy*,
Nature Machine Intelligence 3, 161-171 (2021), doi 10.1038/s42256-020-00283-x, Methods.

A GVTO makes queries Q, keys K and values V from its input, lets every query look at every key,

    Y = V softmax(Kᵀ Q)      or, without softmax,      Y = V (Kᵀ Q) / N = (V Kᵀ) Q / N

(N: the number of queries; columns are voxels, rows are channels), applies a 1×1 convolution and
adds a residual. What makes the queries decides the size of the output: a 1×1 convolution keeps
it, a convolution with stride 2 halves it, a transposed one doubles it.

All tensors are (batch, channel, y, x) or (batch, channel, z, y, x).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gvtzoo.networks.shared import is_exporting

Version = Literal["v1", "v2"]

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 1 - 0.997  # PyTorch's momentum is the weight of the new batch


class Convolution(nn.Module):
    """Convolution that pads with zeros as TensorFlow's ``SAME`` does.

    With stride 2 on an even size the one padded row stands at the *end* of each axis, where
    PyTorch's symmetric padding would put it in front, and shift the image by a voxel.

    Parameters
    ----------
    dimensions : int
        2 or 3 spatial axes.
    in_channels, out_channels : int
    kernel_size : int or tuple of int
        Odd.
    stride : int
        1, or 2; with stride 2 every spatial size has to be even.
    bias : bool
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        convolution: Any = nn.Conv2d if dimensions == 2 else nn.Conv3d
        kernel = (kernel_size,) * dimensions if isinstance(kernel_size, int) else kernel_size
        self.pad_end = [0, 1] * dimensions if stride == 2 and max(kernel) > 1 else None
        padding = 0 if stride == 2 else tuple(size // 2 for size in kernel)
        self.convolution = convolution(
            in_channels, out_channels, kernel, stride=stride, padding=padding, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, …) → (batch, out_channels, …), sizes divided by the stride."""
        if self.pad_end is not None:
            x = functional.pad(x, self.pad_end)
        return self.convolution(x)


class TransposedConvolution(nn.Module):
    """Transposed convolution, kernel 3, stride 2: the adjoint of `Convolution` with stride 2.

    Sizes double: (…, y, x) → (…, 2y, 2x).
    """

    def __init__(
        self, dimensions: int, in_channels: int, out_channels: int, bias: bool = False
    ) -> None:
        super().__init__()
        convolution = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose3d
        self.convolution = convolution(in_channels, out_channels, 3, stride=2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, …) → (batch, out_channels, …), twice the sizes."""
        # The full result has 2n + 1 rows; the last one would land on the padding at the end.
        y = self.convolution(x)
        return y[..., :-1, :-1] if y.ndim == 4 else y[..., :-1, :-1, :-1]


class Interpolation(nn.Module):
    """1×1 convolution, then linear interpolation to twice the size.

    Every voxel of the result is made in the same way, so that what is flat stays flat. A
    transposed convolution of width 3 with stride 2 reaches voxels of even and of odd places with
    different numbers of its weights: a grid, which is seen in flat background.

    Sizes double: (…, y, x) → (…, 2y, 2x). At the image's border the last voxel is repeated.
    """

    def __init__(
        self, dimensions: int, in_channels: int, out_channels: int, bias: bool = False
    ) -> None:
        super().__init__()
        self.convolution = Convolution(dimensions, in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, …) → (batch, out_channels, …), twice the sizes."""
        y = self.convolution(x)
        for axis in range(2, x.ndim):
            y = double_axis(y, axis)
        return y


class KeepGrain(nn.Module):
    """Gives back a share of what a denoiser removed, as large as truths have noise of their own.

    What is removed, r, is the image's noise and the truth's; if the truth's has the standard
    deviation g, the best linear guess of it is g² / (g² + ⟨r²⟩) of what was removed (Wiener), with
    the mean over a neighbourhood. In little light that is next to nothing; in much light, where
    there is little to gain, the image stays nearly as it is.

    Parameters
    ----------
    grain : float
        g, in units of the network's input.

    Examples
    --------
    >>> float(KeepGrain(0.02)(torch.full((1, 1, 8, 8), 0.02)).mean().round(decimals=4))
    0.01
    """

    passes = 4  # of the mean over three voxels along each axis; stacks may have few planes

    def __init__(self, grain: float) -> None:
        super().__init__()
        self.variance = grain**2

    def forward(self, removed: Tensor) -> Tensor:
        """(batch, channel, …) → what is still removed."""
        energy = removed * removed
        for _ in range(self.passes):
            for axis in range(2, energy.ndim):
                before, after = neighbours(energy, axis)
                energy = (before + energy + after) / 3
        return removed * (energy / (energy + self.variance))


def double_axis(x: Tensor, axis: int) -> Tensor:
    """Linear interpolation at ¼ and ¾ of the way between voxels, along one axis."""
    before, after = neighbours(x, axis)
    pair = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim=axis + 1)
    return pair.flatten(axis, axis + 1)


def neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """For each voxel the one before it and the one after it, at the border itself."""

    def part(start: int | None, stop: int | None) -> Tensor:
        # Slices, since exported graphs have no sizes of their own.
        return x[(slice(None),) * axis + (slice(start, stop),)]

    before = torch.cat([part(None, 1), part(None, -1)], dim=axis)
    after = torch.cat([part(1, None), part(-1, None)], dim=axis)
    return before, after


class Activation(nn.Module):
    """Batch norm (where wanted), then ReLU or ReLU6: what stands in front of convolutions here."""

    def __init__(
        self,
        dimensions: int,
        channels: int,
        batch_norm: bool,
        function: Literal["relu", "relu6"] = "relu6",
    ) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d
        self.norm = (
            norm(channels, eps=BATCH_NORM_EPSILON, momentum=BATCH_NORM_MOMENTUM)
            if batch_norm
            else nn.Identity()
        )
        self.function = nn.ReLU6() if function == "relu6" else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, …) → the same shape."""
        return self.function(self.norm(x))


def attention_matrix(key: Tensor, value: Tensor) -> Tensor:
    """V Kᵀ: the only thing that attention without softmax needs to know of the whole image.

    Parameters
    ----------
    key, value : Tensor
        (batch, heads, channels per head, voxels).

    Returns
    -------
    Tensor
        (batch, heads, value channels per head, key channels per head), float32 or wider: the sum
        runs over every voxel of the image, more than half precision can count.
    """
    if key.dtype in (torch.float16, torch.bfloat16):
        key, value = key.float(), value.float()
    with torch.autocast(key.device.type, enabled=False):
        return value @ key.transpose(-1, -2)


class LinearAttention(nn.Module):
    """Attention without softmax: Y = (V Kᵀ) Q / N, with N the number of queries.

    Linear in the number of voxels, since V Kᵀ is computed first.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What every query finds, (…, heads, v, N).

        Parameters
        ----------
        query : Tensor
            (…, heads, k, N), scaled.
        key, value : Tensor
            (…, heads, k, M) and (…, heads, v, M).
        """
        matrix = attention_matrix(key, value) / query.shape[-1]
        return matrix.to(query.dtype) @ query


class SoftmaxAttention(nn.Module):
    """Attention with softmax over the keys: Y = V softmax(Kᵀ Q).

    PyTorch's fused attention, which never holds the N×M weights. Exported graphs spell it out,
    since consumers run on older PyTorch, and there it does need the N×M weights.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As `LinearAttention.forward`, with its arguments."""
        if is_exporting():
            return value @ torch.softmax(key.transpose(-1, -2) @ query, dim=-2)
        attended = functional.scaled_dot_product_attention(
            query.transpose(-1, -2),
            key.transpose(-1, -2),
            value.transpose(-1, -2),
            scale=1.0,  # the queries come scaled
        )
        return attended.transpose(-1, -2)


class GVTO(nn.Module):
    """Global voxel transformer operator; see the size-preserving, down- and up-sampling ones below.

    Parameters
    ----------
    dimensions : int
        2 or 3 spatial axes.
    in_channels, out_channels : int
        Features of the input and of the output.
    heads : int
        Channels are split evenly, the first to the first head.
    key_ratio, value_ratio : int
        Queries and keys have ``out_channels / key_ratio`` channels, values
        ``out_channels / value_ratio``.
    softmax : bool
        Attention with softmax over the keys instead of the linear one.
    bias : bool
        Bias in the 1×1 and strided convolutions of the attention.
    dropout : float
        Probability at which a feature of the attended voxels is zeroed in training.
    batch_norm : bool
    activation : {"relu", "relu6"}

    Raises
    ------
    ValueError
        When the channels cannot be divided by the ratios and the heads.
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        *,
        heads: int = 1,
        key_ratio: int = 1,
        value_ratio: int = 1,
        softmax: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        batch_norm: bool = True,
        activation: Literal["relu", "relu6"] = "relu6",
    ) -> None:
        super().__init__()
        for name, ratio in (("key_ratio", key_ratio), ("value_ratio", value_ratio)):
            if out_channels % (ratio * heads):
                raise ValueError(
                    f"{out_channels} channels cannot be divided by {name} {ratio} × {heads} heads"
                )
        key_channels, value_channels = out_channels // key_ratio, out_channels // value_ratio
        self.heads = heads
        self.query_scale = (key_channels // heads) ** -0.5
        self.activation = Activation(dimensions, in_channels, batch_norm, activation)
        self.query: nn.Module = Convolution(dimensions, in_channels, key_channels, 1, bias=bias)
        self.key = Convolution(dimensions, in_channels, key_channels, 1, bias=bias)
        self.value = Convolution(dimensions, in_channels, value_channels, 1, bias=bias)
        self.attention = SoftmaxAttention() if softmax else LinearAttention()
        self.dropout = nn.Dropout(dropout)
        self.output = Convolution(dimensions, value_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, …) → (batch, out_channels, …), at the sizes of the queries."""
        activated = self.activation(x)
        key, value = self.keys_and_values(activated)
        return self.attend(x, activated, lambda query: self.attention(query, key, value))

    def keys_and_values(self, activated: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of every voxel, (batch, heads, channels per head, voxels)."""
        return self.split_heads(self.key(activated)), self.split_heads(self.value(activated))

    def attend(self, x: Tensor, activated: Tensor, attention: Callable[[Tensor], Tensor]) -> Tensor:
        """The operator's output, given what answers its queries.

        Parameters
        ----------
        x, activated : Tensor
            The input, before and after the activation.
        attention : callable
            From scaled queries (batch, heads, channels per head, voxels) to attended voxels.
        """
        query = self.query(activated)
        attended = attention(self.split_heads(query) * self.query_scale)
        attended = attended.reshape(x.shape[0], -1, *query.shape[2:])
        return self.output(self.dropout(attended)) + self.residual(x, activated, query)

    def residual(self, x: Tensor, activated: Tensor, query: Tensor) -> Tensor:
        """What the attended voxels are added to: here the raw input.

        Parameters
        ----------
        x, activated : Tensor
            The input, (batch, in_channels, …), before and after the activation.
        query : Tensor
            The queries, before they are scaled and split into heads.
        """
        return x

    def split_heads(self, x: Tensor) -> Tensor:
        """(batch, channels, …voxels) → (batch, heads, channels per head, number of voxels)."""
        return x.reshape(x.shape[0], self.heads, x.shape[1] // self.heads, -1)


class SizePreservingGVTO(GVTO):
    """GVTO that keeps size and features; residual: the raw input.

    Examples
    --------
    >>> SizePreservingGVTO(3, 64, heads=2)(torch.zeros(1, 64, 4, 16, 16)).shape
    torch.Size([1, 64, 4, 16, 16])
    """

    def __init__(self, dimensions: int, channels: int, **attention: Any) -> None:
        super().__init__(dimensions, channels, channels, **attention)


class ResamplingGVTO(GVTO):
    """Base of the down- and up-sampling GVTOs.

    Version 1 adds a strided (transposed) convolution of the activated input as the residual,
    version 2 the queries themselves, before they are scaled and split into heads; so version 2
    needs a key ratio of 1.

    Parameters
    ----------
    dimensions, in_channels, out_channels
        As of `GVTO`.
    resampling : callable
        ``resampling(dimensions, in_channels, out_channels, bias=…)`` makes the convolution that
        changes the size.
    version : {"v1", "v2"}
    **attention
        The other arguments of `GVTO`.

    Raises
    ------
    ValueError
        When version 2 is wanted with another key ratio.
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        resampling: Callable[..., nn.Module],
        version: Version,
        **attention: Any,
    ) -> None:
        super().__init__(dimensions, in_channels, out_channels, **attention)
        key_ratio = attention.get("key_ratio", 1)
        if version == "v2" and key_ratio != 1:
            raise ValueError(f"a GVTO v2 adds its queries: key_ratio has to be 1, not {key_ratio}")
        bias = attention.get("bias", True)
        self.query = resampling(dimensions, in_channels, out_channels // key_ratio, bias=bias)
        self.shortcut = (
            resampling(dimensions, in_channels, out_channels, bias=False)
            if version == "v1"
            else None
        )

    def residual(self, x: Tensor, activated: Tensor, query: Tensor) -> Tensor:
        """As `GVTO.residual`: here by the version."""
        return query if self.shortcut is None else self.shortcut(activated)


class DownSamplingGVTO(ResamplingGVTO):
    """GVTO whose queries come from a convolution with stride 2: sizes halve.

    Examples
    --------
    >>> DownSamplingGVTO(2, 32, 64, version="v1")(torch.zeros(1, 32, 16, 16)).shape
    torch.Size([1, 64, 8, 8])
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        version: Version = "v2",
        **attention: Any,
    ) -> None:
        strided = partial(Convolution, kernel_size=3, stride=2)
        super().__init__(dimensions, in_channels, out_channels, strided, version, **attention)


class UpSamplingGVTO(ResamplingGVTO):
    """GVTO whose queries come from a transposed convolution with stride 2: sizes double.

    `resampling` may be `Interpolation` instead.

    Examples
    --------
    >>> UpSamplingGVTO(2, 64, 32, version="v2")(torch.zeros(1, 64, 8, 8)).shape
    torch.Size([1, 32, 16, 16])
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        version: Version = "v2",
        resampling: Callable[..., nn.Module] = TransposedConvolution,
        **attention: Any,
    ) -> None:
        super().__init__(dimensions, in_channels, out_channels, resampling, version, **attention)


class Repeat(nn.Module):
    """Repeats every voxel in y and x: (…, z, y, x) → (…, z, factor·y, factor·x)."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, z, y, x) → (batch, channel, z, factor·y, factor·x)."""
        return functional.interpolate(x, scale_factor=(1, self.factor, self.factor))


class InPlaneUpSamplingGVTO(GVTO):
    """GVTO of the projection network: ×4 in y and x, z kept.

    The queries are the activated input, repeated, without a convolution, and they are the
    residual too (version 2).

    Examples
    --------
    >>> InPlaneUpSamplingGVTO(8)(torch.zeros(1, 8, 10, 4, 4)).shape
    torch.Size([1, 8, 10, 16, 16])
    """

    def __init__(self, channels: int, factor: int = 4, **attention: Any) -> None:
        super().__init__(3, channels, channels, **attention)
        key_ratio = attention.get("key_ratio", 1)
        if key_ratio != 1:
            raise ValueError(
                f"this GVTO's queries are its input: key_ratio has to be 1, not {key_ratio}"
            )
        self.query = Repeat(factor)

    def residual(self, x: Tensor, activated: Tensor, query: Tensor) -> Tensor:
        """As `GVTO.residual`: here the queries."""
        return query


class FixedGVTO(nn.Module):
    """A GVTO whose matrix (V Kᵀ) / N is known: one convolution of the activated input.

    Query, matrix and output are linear, and so is the residual of the operators that change the
    size; `gvtzoo.networks.fixed_attention` multiplies them.

    Parameters
    ----------
    activation, convolution : Module
    add_input : bool
        Whether the raw input is the residual.
    """

    def __init__(self, activation: nn.Module, convolution: nn.Module, add_input: bool) -> None:
        super().__init__()
        self.activation = activation
        self.convolution = convolution
        self.add_input = add_input

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, …) → (batch, out_channels, …), at the convolution's sizes."""
        y: Tensor = self.convolution(self.activation(x))
        return x + y if self.add_input else y


def fixed_operator(
    kind: Literal["same", "down", "up", "interpolation", "in_plane"],
    dimensions: int,
    in_channels: int,
    out_channels: int,
    *,
    batch_norm: bool = True,
    activation: Literal["relu", "relu6"] = "relu6",
    factor: int = 4,
) -> FixedGVTO:
    """What stands in for a GVTO of a kind once its matrix is known.

    Parameters
    ----------
    kind : {"same", "down", "up", "interpolation", "in_plane"}
        What makes the operator's queries.
    dimensions : {2, 3}
    in_channels, out_channels : int
    batch_norm : bool
    activation : {"relu", "relu6"}
    factor : int
        By which "in_plane" enlarges y and x.
    """
    sizes = (dimensions, in_channels, out_channels)
    convolution: nn.Module
    if kind == "down":
        convolution = Convolution(*sizes, kernel_size=3, stride=2, bias=True)
    elif kind == "up":
        convolution = TransposedConvolution(*sizes, bias=True)
    elif kind == "interpolation":
        convolution = Interpolation(*sizes, bias=True)
    elif kind == "in_plane":
        convolution = nn.Sequential(Convolution(*sizes, 1, bias=True), Repeat(factor))
    else:
        convolution = Convolution(*sizes, 1, bias=True)
    activate = Activation(dimensions, in_channels, batch_norm, activation)
    return FixedGVTO(activate, convolution, add_input=kind == "same")
