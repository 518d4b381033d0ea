"""What makes networks faster on a CPU at equal results; measured by ``benchmarks/engines.py``."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


class _Convolution2d(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.dtype != torch.float32:
            return super()._conv_forward(input, weight, bias)
        return _by_onednn(self, input, weight, bias)


class _Convolution3d(nn.Conv3d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.dtype != torch.float32:
            return super()._conv_forward(input, weight, bias)
        return _by_onednn(self, input, weight, bias)


def _by_onednn(
    layer: nn.Conv2d | nn.Conv3d, x: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """What the layer computes, always by oneDNN.

    PyTorch (2.13) gives single images with few rows (channels × z × y up to 20,480) to a plain loop
    that takes three to eight times longer: the coarse levels, and the tiles of exact prediction.
    """
    assert not isinstance(layer.padding, str)
    return torch.mkldnn_convolution(
        x, weight, bias, layer.padding, layer.stride, layer.dilation, layer.groups
    )


ONEDNN: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: _Convolution2d,
    nn.Conv3d: _Convolution3d,
}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def with_channels_last(network: AnyNetwork) -> AnyNetwork:
    """Give weights the memory layout with the channels last, in place; activations follow."""
    for parameter in network.parameters():
        if parameter.dim() in CHANNELS_LAST:
            layout = CHANNELS_LAST[parameter.dim()]
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return network


def accelerate(network: AnyNetwork) -> AnyNetwork:
    """Make a float network faster on the CPU, in place; its parameters stay the same.

    Weights get the memory layout with the channels last, which activations then have too, and
    convolutions go to oneDNN, where PyTorch has it.
    """
    network = with_channels_last(network)
    if torch.backends.mkldnn.is_available():
        for module in network.modules():
            # Only how it computes changes; a new module would need all its attributes.
            module.__class__ = ONEDNN.get(type(module), type(module))
    return network
