"""Networks whose operators have been given their matrices, and look at a neighbourhood only.

A GVTO without softmax computes Y = (V Kᵀ / N) Q: of the whole image it needs one matrix of
(V Kᵀ) / N for each head. With the matrix M given, what follows it is linear in the activated input
a. For queries q = W_q a + b_q, scaled by s, and the output's convolution W_o, b_o:

    y = W_o M s (W_q a + b_q) + b_o + residual  =  A W_q a + (A b_q + b_o) + residual,   A = W_o M s

so the operator is one convolution of the shape of W_q. The residual of the operators that change
the size is linear as well: the queries themselves (v2, A + 1 instead of A), or another convolution
of the same shape (v1, which is added to A W_q).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks.baseline_config import AnyNetworkConfig
from gvtzoo.networks.gvtnet import GVTNet
from gvtzoo.networks.operators import (
    GVTO,
    InPlaneUpSamplingGVTO,
    Interpolation,
    ResamplingGVTO,
    TransposedConvolution,
)
from gvtzoo.networks.projection import ProjectionGVTNet

PROBE = 64  # multiples of the network's grid, wider than any looks


@dataclass(frozen=True)
class Constants:
    """What a network that looks at the whole image needs to know of it, for given images.

    Attributes
    ----------
    images : tuple of str
        Their names.
    offset, scale : float
        Of the normalization, (image − offset) / scale.
    front, back : tuple of int
        What the images are padded by before their first and behind their last voxel, (z,) y, x, or
        0 where they differ.
    matrices : dict of str to Tensor
        V Kᵀ / N, (heads, value channels per head, key channels per head), for each of `operators`.
    weights : str
        `digest` of the network whose matrices these are.
    losses : tuple of dict
        What was measured with these constants on other images, for the package's card.
    """

    images: tuple[str, ...]
    offset: float
    scale: float
    front: tuple[int, ...]
    back: tuple[int, ...]
    matrices: dict[str, Tensor]
    weights: str = ""
    losses: tuple[dict[str, Any], ...] = ()


def digest(network: nn.Module) -> str:
    """SHA-256 of a network's weights, in hexadecimal."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def save_constants(constants: Constants, path: Path) -> None:
    """As safetensors: the matrices in single precision, the rest as text in its head."""
    from safetensors.torch import save_file

    rest = {key: value for key, value in asdict(constants).items() if key != "matrices"}
    matrices = {name: matrix.float().contiguous() for name, matrix in constants.matrices.items()}
    save_file(matrices, path, metadata={"constants": json.dumps(rest)})


def load_constants(path: Path) -> Constants:
    """What `save_constants` wrote.

    Raises
    ------
    GvtzooError
        When there is none, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            rest = json.loads((file.metadata() or {})["constants"])
            matrices = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sizes: dict[str, Any] = {
            name: tuple(rest.get(name, ())) for name in ("images", "front", "back", "losses")
        }
        numbers: dict[str, Any] = {name: rest[name] for name in ("offset", "scale", "weights")}
        return Constants(matrices=matrices, **numbers, **sizes)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise GvtzooError(f"{path} holds no attention of images: {error}") from error


def operators(network: nn.Module) -> dict[str, GVTO]:
    """A network's operators by name."""
    return {name: part for name, part in network.named_modules() if isinstance(part, GVTO)}


def fix(
    network: GVTNet | ProjectionGVTNet,
    fixed: GVTNet | ProjectionGVTNet,
    matrices: Mapping[str, Tensor],
) -> None:
    """Load into a network with fixed attention the weights of one without, and its matrices.

    Parameters
    ----------
    network : GVTNet or ProjectionGVTNet
    fixed : GVTNet or ProjectionGVTNet
        Of the same configuration, save for ``fixed_attention=True``.
    matrices : mapping of str to Tensor
        (heads, value channels per head, key channels per head) for each of `operators`: V Kᵀ / N,
        with N the number of queries.
    """
    found = operators(network)
    state = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not any(name.startswith(f"{prefix}.") for prefix in found)
    }
    for name, operator in found.items():
        for key, tensor in operator.activation.state_dict().items():
            state[f"{name}.activation.{key}"] = tensor
        inner = "convolution"
        if isinstance(operator, InPlaneUpSamplingGVTO):
            inner = "0.convolution"
        elif isinstance(operator.query, Interpolation):
            inner = "convolution.convolution"
        weight, bias = folded(operator, matrices[name])
        state[f"{name}.convolution.{inner}.weight"] = weight
        state[f"{name}.convolution.{inner}.bias"] = bias
    fixed.load_state_dict(state)


def folded(operator: GVTO, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that an operator is with a given matrix.

    Parameters
    ----------
    operator : GVTO
    matrix : Tensor
        (heads, value channels per head, key channels per head).
    """
    output = operator.output.convolution
    channels = output.out_channels
    after = output.weight.detach().double().reshape(channels, -1)
    mixing = after @ torch.block_diag(*matrix.double()) * operator.query_scale
    bias = _bias(output)
    if isinstance(operator, InPlaneUpSamplingGVTO):
        mixing = mixing + torch.eye(channels, dtype=torch.float64)
        weight = mixing.reshape(channels, channels, 1, 1, 1)
        return weight.to(output.weight.dtype), bias.to(output.weight.dtype)
    shortcut: Any = None
    if isinstance(operator, ResamplingGVTO):
        shortcut = operator.shortcut
        if shortcut is None:
            mixing = mixing + torch.eye(channels, dtype=torch.float64)
    query: Any = operator.query.convolution
    if isinstance(operator.query, Interpolation):
        query = query.convolution  # what it mixes may be mixed before it interpolates, too
    transposed = isinstance(operator.query, TransposedConvolution)
    pattern = "ok,ik...->io..." if transposed else "ok,ki...->oi..."
    weight = torch.einsum(pattern, mixing, query.weight.detach().double())
    if shortcut is not None:
        weight = weight + shortcut.convolution.weight.detach().double()
    bias = bias + mixing @ _bias(query)
    return weight.to(output.weight.dtype), bias.to(output.weight.dtype)


def _bias(convolution: Any) -> Tensor:
    if convolution.bias is None:
        return torch.zeros(convolution.out_channels, dtype=torch.float64)
    bias: Tensor = convolution.bias.detach().double()
    return bias


def measured_radius(config: AnyNetworkConfig) -> tuple[int, ...]:
    """How far a network looks, (z,) y, x in voxels; along z, 0 for a projection, which sees all.

    Measured: of an image with one voxel that is not a number, the output is not a number wherever
    it looks at that voxel. How far it looks depends on where the voxel lies in the network's grid;
    the farthest counts. The number of features does not matter, so the network that is measured has
    few.

    Parameters
    ----------
    config : NetworkConfig or BaselineConfig
        Of a network that looks at a neighbourhood.
    """
    few = config.model_copy(update={"features": 1})
    with torch.random.fork_rng(devices=[]):
        network = few.build().eval()
    flat = config.output_dimensions < config.dimensions
    return tuple(
        0 if flat and axis == 0 else _radius(network, few, axis)
        for axis in range(config.dimensions)
    )


def _radius(network: nn.Module, config: AnyNetworkConfig, axis: int) -> int:
    multiple = config.multiple[axis]
    sizes = list(config.multiple)
    sizes[axis] = PROBE * multiple
    farthest = 0
    for phase in range(multiple):
        place = sizes[axis] // 2 // multiple * multiple + phase
        image = torch.zeros(1, config.input_channels, *sizes)
        image.select(axis + 2, place)[:] = torch.nan
        with torch.no_grad():
            output = network(image)
        along = axis + 2 - (config.dimensions - config.output_dimensions)
        others = [n for n in range(output.ndim) if n != along]
        seen = torch.nonzero(output.isnan().sum(dim=others))
        farthest = max(farthest, int((seen - place).abs().max()))
    return farthest
