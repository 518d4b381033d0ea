"""Networks computed by PyTorch, on any device."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.networks.operators import InPlaneUpSamplingGVTO, UpSamplingGVTO
from gvtzoo.prediction.cpu_kernels import accelerate, with_channels_last
from gvtzoo.prediction.exact.execution import Compile, LayerByLayer

if TYPE_CHECKING:
    from gvtzoo.networks import Network


class TorchEngine:
    """The network in PyTorch (an `Engine`).

    Parameters
    ----------
    network : Network
        Left as it is.
    device : str
    dtype : {"float32", "bfloat16", "float16"}
    """

    compiled: Compile = LayerByLayer()

    def __init__(self, network: Network, device: str, dtype: str) -> None:
        moved = copy.deepcopy(network).to(device=device, dtype=getattr(torch, dtype))
        if device.startswith("cuda") and not has_upsampling_operators(moved):
            moved = with_channels_last(moved)
        self.device = device
        self.network = accelerate(moved) if device == "cpu" else moved

    def run(self, image: np.ndarray, uncertainty: bool) -> tuple[np.ndarray, ...]:
        """As `Engine.run`."""
        return run_network(self.network, image, uncertainty)


def has_upsampling_operators(network: nn.Module) -> bool:
    """Whether operators double sizes at the fine levels.

    They see voxels as one axis, and so copy maps that have the channels last: the denoising network
    takes 1.4 times as long on an H100 that way, the label-free one half as long.
    """
    return any(isinstance(m, UpSamplingGVTO | InPlaneUpSamplingGVTO) for m in network.modules())


def run_network(network: Network, image: np.ndarray, uncertainty: bool) -> tuple[np.ndarray, ...]:
    """The output of a PyTorch module, and σ where wanted, for an image (channel, …), float32.

    Parameters
    ----------
    network : Network
    image : ndarray
        (channel, (z,) y, x), normalized, of sizes that the network takes.
    uncertainty : bool

    Returns
    -------
    tuple of ndarray
        (channel, …), float32.
    """
    parameter = next(network.parameters())
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None].to(parameter)
    with torch.inference_mode():
        outputs = network.forward_with_sigma(tensor) if uncertainty else (network(tensor),)
    return tuple(output[0].float().cpu().numpy() for output in outputs)


class WithSigma(nn.Module):
    """A network whose output is the prediction and σ."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, channel, …) → the prediction and σ."""
        prediction, sigma = self.network.forward_with_sigma(x)
        return prediction, sigma
