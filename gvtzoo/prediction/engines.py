"""What computes a network: PyTorch on any device, or OpenVINO on the CPU.

PyTorch is the reference. OpenVINO computes the same graph in a third to a half of the time there,
and is taken where it is installed; see `gvtzoo.prediction.openvino` and ``docs/speed.md``. It reads
the graph of a package, so that a whole image is predicted without PyTorch ever being imported.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.prediction import openvino
from gvtzoo.prediction.lazy_network import LazyNetwork
from gvtzoo.prediction.settings import Settings, choose_device

if TYPE_CHECKING:
    from gvtzoo.networks import Network
    from gvtzoo.prediction.exact.execution import Compile

Results = tuple[np.ndarray, ...]


class Engine(Protocol):
    """A network that is ready to predict."""

    device: str

    @property
    def network(self) -> Network:
        """The PyTorch module, which exact prediction takes apart."""

    @property
    def compiled(self) -> Compile:
        """How the engine computes the maps of an exact prediction."""

    def run(self, image: np.ndarray, uncertainty: bool) -> Results:
        """The network's output for an image (channel, (z,) y, x), and σ where wanted; float32."""


def make_engine(network: Network | LazyNetwork, settings: Settings) -> Engine:
    """The engine that the settings ask for.

    Raises
    ------
    GvtzooError
        When OpenVINO is asked for, and is not installed or cannot compute this.
    """
    lazy = network if isinstance(network, LazyNetwork) else LazyNetwork.of(network)
    device = choose_device(settings.device)
    reason = _why_not_openvino(lazy, device, settings)
    if settings.engine == "openvino" and reason is not None:
        raise GvtzooError(f"{reason}: use --engine torch")
    if settings.engine == "torch" or reason is not None:
        from gvtzoo.prediction.pytorch import TorchEngine

        return TorchEngine(lazy.network, device, settings.dtype)
    return OpenVINOEngine(lazy, settings.dtype)


def _why_not_openvino(network: LazyNetwork, device: str, settings: Settings) -> str | None:
    if not openvino.is_available():
        return "OpenVINO is not installed (pip install openvino)"
    if device != "cpu":
        return f"OpenVINO computes on the CPU here, not on {device}"
    if settings.dtype not in openvino.PRECISIONS:
        return f"OpenVINO does not compute in {settings.dtype}"
    if network.has_ceil_pooling:
        return "OpenVINO refuses pooling windows that reach beyond a small map"
    if network.has_softmax:
        return "OpenVINO would hold all weights of attention with softmax in memory"
    return None


class OpenVINOEngine:
    """The network in OpenVINO, on the CPU, from its package's graph or exported when it is run.

    Parameters
    ----------
    network : Network or LazyNetwork
        Left as it is.
    dtype : {"float32", "bfloat16"}
    """

    device = "cpu"

    def __init__(self, network: Network | LazyNetwork, dtype: str) -> None:
        self._given = network if isinstance(network, LazyNetwork) else LazyNetwork.of(network)
        self.dtype = dtype
        self._graphs: dict[bool, openvino.Graph] = {}

    @cached_property
    def network(self) -> Network:
        """As `Engine.network`."""
        return copy.deepcopy(self._given.network).float().cpu().requires_grad_(False)

    @cached_property
    def compiled(self) -> Compile:
        """As `Engine.compiled`; the graphs are kept for the next prediction."""
        from gvtzoo.prediction.exact.graphs import Graphs

        return Graphs(self.dtype)

    def run(self, image: np.ndarray, uncertainty: bool) -> Results:
        """As `Engine.run`."""
        if uncertainty not in self._graphs:
            onnx = None if uncertainty else self._given.graph()
            onnx = self._export(image.shape[0], uncertainty) if onnx is None else onnx
            self._graphs[uncertainty] = openvino.Graph(onnx, self.dtype)
        return tuple(result[0] for result in self._graphs[uncertainty](image[None]))

    def _export(self, channels: int, uncertainty: bool) -> bytes:
        import torch

        from gvtzoo.prediction.pytorch import WithSigma

        example = torch.zeros(1, channels, *(2 * m for m in self.network.multiple))
        module = WithSigma(self.network) if uncertainty else self.network
        return openvino.export(module, [example])


class Engines:
    """The engines of one model, made once for each setting and each state of its weights."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], Engine] = {}

    def of(self, network: Network | LazyNetwork, settings: Settings) -> Engine:
        """As `make_engine`."""
        lazy = network if isinstance(network, LazyNetwork) else LazyNetwork.of(network)
        key = (settings.engine, settings.device, settings.dtype, lazy.state)
        if key not in self._made:
            self._made = {key: make_engine(lazy, settings)}  # one at a time is held
        return self._made[key]
