"""Exports of a network, each checked by running it at a size that the export has not seen.

TorchScript is traced and ONNX written by PyTorch's tracing exporter, both with the operators and
versions that Fiji and ilastik run: PyTorch 2.0, ONNX opset 17 and intermediate representation 8.
What is exported takes images of any size (`gvtzoo.networks.any_size`).
"""

from __future__ import annotations

import ast
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gvtzoo.networks import Network
    from gvtzoo.networks.any_size import AnySize

OPSET = 17
NEWEST_IR = 8
TOLERANCE = 1e-4  # of the output's range
ROUNDINGS = 4  # steps between floats that results may differ by anyway
DEBUG_SUFFIX = ".debug_pkl"  # of the lines of Python that TorchScript came from

GVTNET_MODULES = ("shared", "operators", "blocks", "gvtnet", "projection")
BASELINE_MODULES = ("shared", "baselines.base")  # and the baseline's own
ANY_SIZE = """\
def {function}(
    *,
    tiles: dict[str, Sequence[int]] | None = None,
    sigma: bool = False,
    **settings: Any,
) -> AnySize:
    \"\"\"The network, for images of any size.\"\"\"
    return AnySize({network}(**settings), tiles, sigma)
"""
ARCHITECTURE_HEADER = """\
# {title}, the architecture of this package's weights, in one file that needs PyTorch only.
# Made from gvtzoo {version} (gvtzoo/networks).
# SPDX-License-Identifier: BSD-3-Clause
"""

# Every operator that a traced network uses; all are older than PyTorch 2.0, the newest that Fiji
# runs. Attention in its fused form, for one, is not among them.
TORCHSCRIPT_OPERATORS = frozenset(
    f"aten::{name}"
    for name in [
        "Int",
        "ScalarImplicit",
        "__and__",
        "__or__",
        "_convolution",
        "add",
        "amax",
        "amin",
        "arange",
        "batch_norm",
        "cat",
        "cumsum",
        "div",
        "dropout",
        "flatten",
        "eq",
        "floor_divide",
        "ge",
        "gt",
        "hardtanh",
        "index",
        "index_select",
        "lt",
        "matmul",
        "max_pool2d",
        "max_pool3d",
        "maximum",
        "mean",
        "minimum",
        "mul",
        "neg",
        "pad",
        "relu",
        "remainder",
        "reshape",
        "rsub",
        "select",
        "size",
        "slice",
        "softmax",
        "stack",
        "softplus",
        "sub",
        "sum",
        "to",
        "transpose",
        "type_as",
        "upsample_bilinear2d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "upsample_trilinear3d",
    ]
)


def architecture_source(network_class: type[nn.Module] | None = None) -> str:
    """A network's source in one Python file that imports nothing but torch.

    For environments without gvtzoo, such as ilastik's: the modules of ``gvtzoo.networks`` that it
    needs one after the other, with their imports of each other left out.

    Parameters
    ----------
    network_class : type, optional
        Such as `gvtzoo.networks.baselines.FNet`; by default a GVTNet.
    """
    from gvtzoo.core.version import __version__

    imports: dict[str, set[str]] = {}
    bodies = []
    title, modules = _architecture(network_class)
    for name in modules:
        path = f"{name.replace('.', '/')}.py"
        source = files("gvtzoo.networks").joinpath(path).read_text(encoding="utf-8")
        module = ast.parse(source)
        lines = source.splitlines()
        for statement in module.body:
            is_docstring = isinstance(statement, ast.Expr) and statement is module.body[0]
            if not is_docstring and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                continue
            first, last = statement.lineno - 1, statement.end_lineno or statement.lineno
            lines[first:last] = [""] * (last - first)
            if isinstance(statement, ast.ImportFrom):
                names = {alias.name for alias in statement.names}
                imports.setdefault(statement.module or "", set()).update(names)
        bodies.append("\n".join(lines).strip())
    future = imports.pop("__future__")
    external = [
        f"from {module} import {', '.join(sorted(names))}"
        for module, names in sorted(imports.items())
        if not module.startswith("gvtzoo")
    ]
    network = title if network_class is None else network_class.__name__
    bodies.append(ANY_SIZE.format(function=architecture_callable(network_class), network=network))
    parts = [
        ARCHITECTURE_HEADER.format(title=title, version=__version__).strip(),
        f"from __future__ import {', '.join(future)}",
        "\n".join(["import torch", *external]),
        *bodies,
    ]
    return "\n\n".join(parts) + "\n"


def _architecture(network_class: type[nn.Module] | None) -> tuple[str, tuple[str, ...]]:
    """What the architecture is called, and the modules that it is made of."""
    own = "" if network_class is None else network_class.__module__.partition("networks.")[2]
    if network_class is None or own in (*GVTNET_MODULES, "pretrained"):
        return "GVTNet", (*GVTNET_MODULES, "any_size")
    return network_class.__name__, (*BASELINE_MODULES, own, "any_size")


def architecture_callable(network_class: type[nn.Module] | None = None) -> str:
    """The function of `architecture_source` that makes the network."""
    name = "GVTNet" if network_class is None else network_class.__name__
    return f"any_size_{name.lower()}"


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode and without gradients, and back to its mode afterwards."""
    import torch

    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)


def save_state_dict(network: nn.Module, path: Path) -> None:
    """The network's state dict, such that ``torch.load(path, weights_only=True)`` reads it."""
    import torch

    torch.save(_state(network), path)
    stored = torch.load(path, weights_only=True)
    _check_state(network, stored, path)


def save_safetensors(network: nn.Module, path: Path) -> None:
    """The network's state dict as safetensors."""
    from safetensors.torch import load_file, save_file

    save_file(_state(network), path)
    _check_state(network, load_file(path), path)


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }


def _check_state(network: nn.Module, stored: dict[str, torch.Tensor], path: Path) -> None:
    expected = _state(network)
    if stored.keys() != expected.keys() or not all(
        bool((stored[name] == tensor).all()) for name, tensor in expected.items()
    ):
        raise GvtzooError(f"{path} does not hold the network's weights after writing: try again")


def save_torchscript(network: AnySize | Network, example: torch.Tensor, path: Path) -> None:
    """The network as TorchScript: traced in evaluation mode, any batch and spatial size.

    Parameters
    ----------
    network : AnySize or Network
        On the CPU.
    example : Tensor
        (batch, channel, (z,) y, x), sizes that the network takes.
    path : Path

    Raises
    ------
    GvtzooError
        When the file computes something else than the network at another size, or uses an
        operator that PyTorch 2.0 does not know.
    """
    import torch

    # Not frozen: a frozen graph does not load in older PyTorch.
    with evaluating(network), _without_exporter_warnings():
        torch.jit.trace(network, example, check_trace=False).save(str(path))
        _leave_out_sources(path)
        loaded = torch.jit.load(str(path))
        unknown = torchscript_operators(loaded) - TORCHSCRIPT_OPERATORS
        if unknown:
            names = ", ".join(sorted(unknown))
            raise GvtzooError(f"TorchScript needs operators that PyTorch 2.0 may lack: {names}")
    _check_export(network, loaded, example, "TorchScript")


def _leave_out_sources(path: Path) -> None:
    """Write TorchScript again without where its code came from: paths of the maker's computer."""
    with (
        write_atomically(path) as temporary,
        zipfile.ZipFile(path) as traced,
        zipfile.ZipFile(temporary, "w") as kept,
    ):
        for member in traced.infolist():
            if not member.filename.endswith(DEBUG_SUFFIX):
                kept.writestr(member.filename, traced.read(member))


def torchscript_operators(module: torch.jit.ScriptModule) -> set[str]:
    """The ``aten`` operators of a TorchScript module and of everything that it calls."""
    return _operators(module.inlined_graph)


def _operators(block: torch.Graph | torch.Block) -> set[str]:
    found = set()
    for node in block.nodes():
        if node.kind().startswith("aten::"):
            found.add(node.kind())
        for inner in node.blocks():
            found |= _operators(inner)
    return found


def save_onnx(network: AnySize | Network, example: torch.Tensor, path: Path) -> None:
    """The network as one ONNX file: opset 17, any batch and spatial size.

    Parameters
    ----------
    network : AnySize or Network
        On the CPU.
    example : Tensor
        (batch, channel, (z,) y, x), sizes that the network takes.
    path : Path

    Raises
    ------
    GvtzooError
        When the file computes something else than the network at another size, or is of a newer
        version than Fiji reads.
    """
    import onnx
    import onnxruntime
    import torch

    with evaluating(network), _without_exporter_warnings():
        outputs = network(example).ndim
        # The newer exporter (dynamo=True) writes representation 10, which Fiji does not read.
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": _dynamic(example.ndim), "output": _dynamic(outputs)},
        )
    representation = onnx.load(str(path), load_external_data=False).ir_version
    if representation > NEWEST_IR:
        raise GvtzooError(
            f"ONNX is written in representation {representation}, Fiji reads up to {NEWEST_IR}: "
            "install an onnx release that PyTorch's exporter supports"
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    _check_export(
        network,
        lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0]),
        example,
        "ONNX",
    )


def _dynamic(dimensions: int) -> dict[int, str]:
    """Names of the axes of any size: batch, and (z,) y, x behind the channel."""
    spatial = dimensions - 2
    return {0: "batch"} | dict(enumerate("zyx"[-spatial:], start=2))


@contextmanager
def _without_exporter_warnings() -> Iterator[None]:
    """Silence tracer and deprecation warnings: what they warn of is checked afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_export(
    network: AnySize | Network,
    exported: Callable[[torch.Tensor], torch.Tensor],
    example: torch.Tensor,
    kind: str,
) -> None:
    """Compare an export with the network, at other batch and spatial sizes than the example's."""
    import torch

    from gvtzoo.networks.any_size import AnySize

    generator = torch.Generator().manual_seed(0)
    steps: Sequence[int] = (3,) * (example.ndim - 2)
    tiles = network.tiles if isinstance(network, AnySize) else None
    if not isinstance(network, AnySize):
        steps = network.multiple
    for batch, more in ((2, 1), (1, 0)):
        sizes = [
            size + step * (axis + 1) * more
            for axis, (size, step) in enumerate(zip(example.shape[2:], steps, strict=True))
        ]
        unseen = torch.rand((batch, example.shape[1], *sizes), generator=generator)
        if tiles is not None:
            # As a program hands over a whole image: mirrored around it.
            halos = [(0, 0), (0, 0), *((halo, halo) for halo in tiles["halo"])]
            unseen = torch.from_numpy(np.pad(unseen.numpy(), halos, mode="symmetric"))
        with evaluating(network):
            expected, actual = network(unseen), exported(unseen)
        if actual.shape != expected.shape:
            raise GvtzooError(
                f"{kind}: the export gives {tuple(actual.shape)} for an input of "
                f"{tuple(unseen.shape)}, the network {tuple(expected.shape)}"
            )
        difference = float((actual - expected).abs().max())
        # Values that are nearly alike differ by rounding, which goes with their size.
        rounding = ROUNDINGS * torch.finfo(expected.dtype).eps * float(expected.abs().max())
        allowed = max(TOLERANCE * float(np.ptp(expected.numpy())), rounding)
        if not difference <= allowed:
            raise GvtzooError(
                f"{kind}: the export differs from the network by {difference:.2g} at another "
                f"size, more than {allowed:.2g}"
            )
