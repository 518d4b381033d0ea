"""What every network has: the check of its input's sizes, and the form of its σ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_SIGMA = 1e-3


def is_exporting() -> bool:
    """Whether the network is being traced into TorchScript or ONNX."""
    return torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()


def check_sizes(x: Tensor, multiple: Sequence[int]) -> None:
    """Refuse an input whose spatial sizes the network cannot halve.

    Raises
    ------
    ValueError
    """
    if is_exporting():
        return
    sizes = tuple(x.shape[2:])
    if len(sizes) != len(multiple) or any(
        size % m for size, m in zip(sizes, multiple, strict=True)
    ):
        raise ValueError(
            f"spatial sizes {sizes} have to be multiples of {tuple(multiple)}: pad the image"
        )


def positive(x: Tensor) -> Tensor:
    """The scale σ of a Laplace distribution from any number: softplus(x) + 0.001."""
    return functional.softplus(x) + SMALLEST_SIGMA
