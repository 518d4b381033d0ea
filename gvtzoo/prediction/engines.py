"""What computes a network: PyTorch on any device, or OpenVINO on the CPU.

PyTorch is the reference. OpenVINO computes the same graph in a third to a half of the time there,
and is taken where it is installed; see `gvtzoo.prediction.openvino` and ``docs/speed.md``.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks.operators import InPlaneUpSamplingGVTO, SoftmaxAttention, UpSamplingGVTO
from gvtzoo.prediction import openvino
from gvtzoo.prediction.cpu_kernels import accelerate, with_channels_last
from gvtzoo.prediction.settings import DTYPES, Settings, choose_device

if TYPE_CHECKING:
    from gvtzoo.networks import Network
    from gvtzoo.prediction.exact.maps import FeatureMap

Results = tuple[np.ndarray, ...]


class Engine(Protocol):
    """A network that is ready to predict."""

    @property
    def network(self) -> Network:
        """The PyTorch module, which exact prediction takes apart."""

    @property
    def compiled(self) -> Callable[[FeatureMap], FeatureMap] | None:
        """From a map of an exact prediction to the same, computed by the engine; None: PyTorch."""

    def run(self, image: np.ndarray, uncertainty: bool) -> Results:
        """The network's output for an image (channel, (z,) y, x), and σ where wanted; float32."""


def make_engine(network: Network, settings: Settings) -> Engine:
    """The engine that the settings ask for.

    Raises
    ------
    GvtzooError
        When OpenVINO is asked for, and is not installed or cannot compute this.
    """
    device = choose_device(settings.device)
    reason = _why_not_openvino(network, device, settings)
    if settings.engine == "openvino" and reason is not None:
        raise GvtzooError(f"{reason}: use --engine torch")
    if settings.engine == "torch" or reason is not None:
        return TorchEngine(network, device, settings.dtype)
    return OpenVINOEngine(network, settings.dtype)


def _why_not_openvino(network: Network, device: torch.device, settings: Settings) -> str | None:
    if not openvino.is_available():
        return "OpenVINO is not installed (pip install openvino)"
    if device.type != "cpu":
        return f"OpenVINO computes on the CPU here, not on {device}"
    if settings.dtype not in openvino.PRECISIONS:
        return f"OpenVINO does not compute in {settings.dtype}"
    if any(getattr(module, "ceil_mode", False) for module in network.modules()):
        return "OpenVINO refuses pooling windows that reach beyond a small map"
    if any(isinstance(module, SoftmaxAttention) for module in network.modules()):
        return "OpenVINO would hold all weights of attention with softmax in memory"
    return None


class TorchEngine:
    """The network in PyTorch.

    Parameters
    ----------
    network : Network
        Left as it is.
    device : torch.device
    dtype : {"float32", "bfloat16", "float16"}
    """

    compiled: Callable[[FeatureMap], FeatureMap] | None = None

    def __init__(self, network: Network, device: torch.device, dtype: str) -> None:
        moved = copy.deepcopy(network).to(device=device, dtype=DTYPES[dtype])
        if device.type == "cuda" and not has_upsampling_operators(moved):
            moved = with_channels_last(moved)
        self.network = accelerate(moved) if device.type == "cpu" else moved

    def run(self, image: np.ndarray, uncertainty: bool) -> Results:
        """As `Engine.run`."""
        return run_network(self.network, image, uncertainty)


def has_upsampling_operators(network: nn.Module) -> bool:
    """Whether operators double sizes at the fine levels.

    They see voxels as one axis, and so copy maps that have the channels last: the denoising network
    takes 1.4 times as long on an H100 that way, the label-free one half as long.
    """
    return any(isinstance(m, UpSamplingGVTO | InPlaneUpSamplingGVTO) for m in network.modules())


class OpenVINOEngine:
    """The network in OpenVINO, on the CPU; exported when it is first run.

    Parameters
    ----------
    network : Network
        Left as it is.
    dtype : {"float32", "bfloat16"}
    """

    def __init__(self, network: Network, dtype: str) -> None:
        self.network = copy.deepcopy(network).float().cpu().requires_grad_(False)
        self.dtype = dtype
        self._graphs: dict[bool, openvino.Graph] = {}

    def compiled(self, wanted: FeatureMap) -> FeatureMap:
        """As `Engine.compiled`."""
        from gvtzoo.prediction.exact.graphs import compiled

        return compiled(self.dtype)(wanted)

    def run(self, image: np.ndarray, uncertainty: bool) -> Results:
        """As `Engine.run`."""
        if uncertainty not in self._graphs:
            self._graphs[uncertainty] = self._export(image.shape[0], uncertainty)
        return tuple(result[0] for result in self._graphs[uncertainty](image[None]))

    def _export(self, channels: int, uncertainty: bool) -> openvino.Graph:
        example = torch.zeros(1, channels, *(2 * m for m in self.network.multiple))
        module = _WithSigma(self.network) if uncertainty else self.network
        return openvino.Graph(openvino.export(module, [example]), self.dtype)


class _WithSigma(nn.Module):
    """A network whose output is the prediction and σ."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        prediction, sigma = self.network.forward_with_sigma(x)
        return prediction, sigma


class Engines:
    """The engines of one model, made once for each setting and each state of its weights."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], Engine] = {}

    def of(self, network: Network, settings: Settings) -> Engine:
        """As `make_engine`."""
        key = (settings.engine, settings.device, settings.dtype, _digest(network))
        if key not in self._made:
            self._made = {key: make_engine(network, settings)}  # one at a time is held
        return self._made[key]


def _digest(network: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def run_network(network: Network, image: np.ndarray, uncertainty: bool) -> Results:
    """The output of a PyTorch module, and σ where wanted, for an image (channel, …), float32."""
    parameter = next(network.parameters())
    tensor = torch.from_numpy(np.ascontiguousarray(image))[None].to(parameter)
    with torch.inference_mode():
        outputs = network.forward_with_sigma(tensor) if uncertainty else (network(tensor),)
    return tuple(output[0].float().cpu().numpy() for output in outputs)
