"""A network that is built when it is first needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gvtzoo.networks import Network
    from gvtzoo.packages.reader import ModelPackage

AS_PACKAGED = "as packaged"


class LazyNetwork:
    """A network, built when it is first asked for, and its graph, which needs no building.

    Parameters
    ----------
    build : callable
        Gives the network.
    read_graph : callable, optional
        Gives the same network as ONNX; None where it has none that takes whole images.
    softmax : bool, optional
        Of a GVTNet, whether it has attention with softmax; without it, the network is looked at.
    """

    def __init__(
        self,
        build: Callable[[], Network],
        read_graph: Callable[[], bytes | None] | None = None,
        softmax: bool | None = None,
    ) -> None:
        self._build = build
        self._read_graph = read_graph
        self._softmax = softmax
        self._as_built: str | None = None

    @classmethod
    def of(cls, network: Network) -> LazyNetwork:
        """A network that is there."""
        made = cls(type(network))
        made.network = network
        return made

    @classmethod
    def of_package(cls, package: ModelPackage) -> LazyNetwork:
        """The network of a package."""
        softmax = getattr(package.config.network, "has_softmax", None)
        return cls(package.build_network, package.read_graph, softmax)

    @cached_property
    def network(self) -> Network:
        """The network, in evaluation mode on the CPU."""
        network: Network = self._build()
        self._as_built = digest(network)
        return network

    @property
    def state(self) -> str:
        """What tells the network from itself with other weights."""
        if "network" not in vars(self):
            return AS_PACKAGED
        found = digest(self.network)
        return AS_PACKAGED if found == self._as_built else found

    def graph(self) -> bytes | None:
        """The network as ONNX; None if it has none, or other weights by now."""
        if self._read_graph is None or self.state != AS_PACKAGED:
            return None
        return self._read_graph()

    @property
    def has_ceil_pooling(self) -> bool:
        """Whether windows of pooling reach beyond the map; GVTNets have none of these."""
        if self._softmax is not None:
            return False
        return any(getattr(module, "ceil_mode", False) for module in self.network.modules())

    @property
    def has_softmax(self) -> bool:
        """Whether there is attention with softmax."""
        if self._softmax is not None:
            return self._softmax
        from gvtzoo.networks.operators import SoftmaxAttention

        return any(isinstance(module, SoftmaxAttention) for module in self.network.modules())


def digest(network: Network) -> str:
    """Of all weights."""
    import torch

    found = hashlib.blake2b(digest_size=16)
    for tensor in network.state_dict().values():
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
