"""What passes compute that is no layer of the networks; equal where they compute the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gvtzoo.networks.gvtnet import GVTNet
from gvtzoo.networks.operators import (
    GVTO,
    InPlaneUpSamplingGVTO,
    Interpolation,
    ResamplingGVTO,
    TransposedConvolution,
    double_axis,
)


@dataclass(frozen=True)
class KeysAndValues:
    """An operator's keys and values, one behind the other, of its input."""

    operator: GVTO

    def __call__(self, x: Tensor) -> Tensor:
        activated = self.operator.activation(x)
        return torch.cat([self.operator.key(activated), self.operator.value(activated)], dim=1)


@dataclass(frozen=True)
class WithMatrix:
    """An operator whose matrix is known: one convolution of its activated input.

    Weight and bias are those of `gvtzoo.networks.fixed_attention.folded`.
    """

    operator: GVTO

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        operator, activated = self.operator, self.operator.activation(x)
        if isinstance(operator, InPlaneUpSamplingGVTO):
            mixed = _convolve(operator.output, activated, weight, bias)
            repeated: Tensor = operator.query(mixed)
            return repeated
        y = _convolve(operator.query, activated, weight, bias)
        return y if isinstance(operator, ResamplingGVTO) else y + x


@dataclass(frozen=True)
class Outputs:
    """The network's output, and σ behind it, from its last features and its input."""

    network: GVTNet
    sigma: bool

    def __call__(self, last: Tensor, x: Tensor) -> Tensor:
        if self.sigma:
            return torch.cat(self.network.output_and_sigma(last, x), dim=1)
        return self.network.output(self.network.output_activation(last), x)


def _convolve(layer: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What a layer computes with another weight and bias."""
    weight, bias = weight.to(x.device), bias.to(x.device)
    if isinstance(layer, Interpolation):
        y = _convolve(layer.convolution, x, weight, bias)
        for axis in range(2, x.ndim):
            y = double_axis(y, axis)
        return y
    if isinstance(layer, TransposedConvolution):
        if x.ndim == 4:
            return functional.conv_transpose2d(x, weight, bias, stride=2)[..., :-1, :-1]
        return functional.conv_transpose3d(x, weight, bias, stride=2)[..., :-1, :-1, :-1]
    if layer.pad_end is not None:
        x = functional.pad(x, layer.pad_end)
    convolved: Tensor = layer.convolution._conv_forward(x, weight, bias)
    return convolved
