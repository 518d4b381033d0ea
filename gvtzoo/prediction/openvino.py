"""Networks and parts of them as graphs that OpenVINO computes on the CPU.

PyTorch computes one layer after the other, and each reads and writes its whole map. OpenVINO fuses
activations and additions into the convolutions, plans the memory, and uses a processor's matrix
instructions (AVX-512, AMX). Results equal PyTorch's up to rounding; ``benchmarks/engines.py``
measures both.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gvtzoo.prediction.rewrites import rewrite

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
OPSET = 17
INPUT = "input_"

Sizes = list[tuple[int, ...]]


def is_available() -> bool:
    """Whether OpenVINO is installed: it has wheels for x86-64 and Arm."""
    return find_spec("openvino") is not None


class Graph:
    """An ONNX graph, compiled where and when it is first run; pickled as its ONNX.

    Parameters
    ----------
    onnx : bytes or Path
        The graph, with axes of any size.
    dtype : {"float32", "bfloat16"}
        Of its arithmetic; inputs and outputs are float32.

    Notes
    -----
    It is compiled for the sizes of its inputs, and anew for others, which takes 0.1 to 0.2 s: with
    sizes left open it would take half as much memory more.
    """

    def __init__(self, onnx: bytes | Path, dtype: str = "float32") -> None:
        self.onnx = onnx
        self.dtype = dtype
        self._compiled: Any = None
        self._request: Any = None
        self._compiled_for: Sizes = []

    def __call__(self, *inputs: np.ndarray, lent: bool = False) -> list[np.ndarray]:
        """The graph's outputs for its inputs, all float32.

        Parameters
        ----------
        *inputs : ndarray
        lent : bool
            Whether outputs may be the graph's own memory, which the next run changes.
        """
        sizes = [part.shape for part in inputs]
        if self._compiled is None or sizes != self._compiled_for:
            self._request = self._compiled = None  # its memory is free for the next
            self._compiled = _compile(self.onnx, self.dtype, sizes)
            self._compiled_for = sizes
        if self._request is None:
            # The graph's own: of one that a compiled model makes for itself, neither is ever freed.
            self._request = self._compiled.create_infer_request()
        # By number: what a module does not use is no input of its graph.
        taken = {
            port: np.ascontiguousarray(inputs[_number(port)], np.float32)
            for port in self._request.model_inputs
        }
        results = self._request.infer(taken, share_inputs=True, share_outputs=lent)
        return [results[output] for output in self._request.model_outputs]

    def release(self) -> None:
        """Give back the memory for what is between inputs and outputs, until the next run."""
        self._request = None
        if self._compiled is not None:
            self._compiled.release_memory()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_compiled": None, "_request": None}


def _number(port: Any) -> int:
    """Which of a graph's inputs a port is; a model's own graph has one."""
    # A port has the names of what only passes its values on, too.
    numbers = [name.removeprefix(INPUT) for name in port.get_names() if name.startswith(INPUT)]
    return int(numbers[0]) if numbers and numbers[0].isdigit() else 0


def _compile(onnx: bytes | Path, dtype: str, sizes: Sizes) -> Any:
    """The graph for inputs of these sizes."""
    from openvino import Core

    core = Core()
    model = core.read_model(str(onnx)) if isinstance(onnx, Path) else core.read_model(onnx)
    model.reshape({port: list(sizes[_number(port)]) for port in model.inputs})
    rewrite(model)
    options = {
        # Without it, processors that have bfloat16 compute float32 graphs in bfloat16.
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": number_of_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        # Else processes beside each other, such as Dask's workers, share the first processors.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(model, "CPU", options)


def number_of_threads() -> int:
    """As many as PyTorch takes: `OMP_NUM_THREADS`, or else this process's processors."""
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if text.isdigit() and int(text) > 0:
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def export(module: Any, examples: Sequence[Any], constants: Sequence[Any] = ()) -> bytes:
    """A module as ONNX, with batch and spatial axes of any size.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, in float32; it is switched to evaluation.
    examples : sequence of Tensor
        Inputs (batch, channel, (z,) y, x), of sizes that the module takes.
    constants : sequence of Tensor
        Further inputs, which always have these sizes, such as weights.
    """
    import torch

    # Afterwards PyTorch gives all parts the mode that the outermost had: a network inside a new
    # module would be left in training, with dropout and without its batch statistics.
    module.eval()
    names = [f"{INPUT}{number}" for number in range(len(examples) + len(constants))]
    spatial = {0: "batch"} | {axis: "zyx"[axis - 2] for axis in range(2, 5)}
    axes = {
        name: {axis: f"{label}_{name}" for axis, label in spatial.items() if axis < example.ndim}
        for name, example in zip(names, examples, strict=False)
    }
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer; results are compared in the tests
        torch.onnx.export(
            module,
            (*examples, *constants),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            dynamic_axes=axes,
        )
    return buffer.getvalue()
