"""How a prediction is computed: device, arithmetic, tiles; and the image with its axes."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import read_image
from gvtzoo.images.lazy import labelled
from gvtzoo.prediction.memory import BYTES, parse_memory

Tiling = Literal["auto", "whole", "exact", "blocks"]

# What drivers of GPUs make on Linux: NVIDIA's, AMD's, and that of the subsystem on Windows.
GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Settings:
    """How a prediction is computed; what is computed is the model's.

    Attributes
    ----------
    device : str
        ``"auto"`` (CUDA, else MPS, else CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    dtype : {"float32", "bfloat16", "float16"}
        Of the network's arithmetic; sums over the whole image are float32 or wider.
    engine : {"auto", "torch", "openvino"}
        What computes the network. "auto": OpenVINO on the CPU where it is installed, else PyTorch.
    tiling : {"auto", "whole", "exact", "blocks"}
        "whole": the network sees the image at once. "exact": the same result, tile by tile.
        "blocks": overlapping blocks, averaged; another result, with seams. "auto": whole where it
        fits the memory, else exact, or in blocks for networks that are no GVTNets.
    memory : int or str, optional
        Bytes that the prediction may take beyond the image and the result; also as ``"4GB"``.
    block, overlap : sequence of int or str, optional
        Of "blocks", (z,) y, x; also as ``"32,128,128"``.
    pixel_size : float, optional
        Of the image in plane, in µm, whatever it states itself.
    resample : bool
        Whether an image is resampled to the pixel size that the model was trained at, and the
        prediction back, where the model's training images were resampled too.

    Raises
    ------
    GvtzooError
        When a setting is none of these.
    """

    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    engine: Literal["auto", "torch", "openvino"] = "auto"
    tiling: Tiling = "auto"
    memory: int | None = None
    block: tuple[int, ...] | None = None
    overlap: tuple[int, ...] | None = None
    pixel_size: float | None = None
    resample: bool = True

    def __post_init__(self) -> None:
        if self.pixel_size is not None and not 0 < self.pixel_size < math.inf:
            raise GvtzooError(f"a pixel size of {self.pixel_size:g} µm cannot be: give it in µm")
        _check_choice("dtype", self.dtype, tuple(BYTES))
        _check_choice("tiling", self.tiling, get_args(Tiling))
        _check_choice("engine", self.engine, ("auto", "torch", "openvino"))
        read = {
            "memory": _read_memory(self.memory),
            "block": _read_sizes("block", self.block, smallest=1),
            "overlap": _read_sizes("overlap", self.overlap, smallest=0),
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise GvtzooError(f"{name} is {value!r}: choose one of {', '.join(choices)}{hint}")


def _read_memory(value: Any) -> int | None:
    if value is None or isinstance(value, str):
        return None if value is None else parse_memory(value)
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not 1 <= value < math.inf:
        raise GvtzooError(f"memory is {value!r}: give bytes, or an amount like '4GB'")
    return int(value)


def _read_sizes(name: str, value: Any, smallest: int) -> tuple[int, ...] | None:
    if value is None:
        return None
    parts = value.replace("x", ",").split(",") if isinstance(value, str) else value
    try:
        sizes = tuple(int(part) if isinstance(part, str) else index(part) for part in parts)
    except (TypeError, ValueError):
        sizes = ()
    if not sizes or min(sizes) < smallest:
        raise GvtzooError(f"{name} is {value!r}: write its sizes like 32,128,128")
    return sizes


def as_data_array(
    image: str | Path | np.ndarray | xr.DataArray, axes: str | None, expected: Sequence[str]
) -> xr.DataArray:
    """An image, or that of a file, with named axes: those given, else its own, else the expected.

    Parameters
    ----------
    image : str, path, ndarray or DataArray
    axes : str, optional
        Such as ``"TZYX"``.
    expected : sequence of str
        Of an array that has no names.

    Raises
    ------
    GvtzooError
        When there are not as many names as axes, or the file cannot be read.
    """
    if isinstance(image, (str, Path)):
        return read_image(image, axes=axes, keep_channels="c" in expected)
    own = image.dims if isinstance(image, xr.DataArray) else expected
    names = tuple(str(axis).lower() for axis in own) if axes is None else tuple(axes.lower())
    if len(names) != len(image.shape) or len(set(names)) < len(names):
        raise GvtzooError(
            f"the image has {len(image.shape)} axes of sizes {tuple(image.shape)}, but the axes "
            f"are {''.join(names).upper()}: name each, such as axes='ZYX'"
        )
    if isinstance(image, xr.DataArray):
        # Under other names, coordinates would mean something else.
        renamed = {old: new for old, new in zip(image.dims, names, strict=True) if old != new}
        kept = image.drop_vars([axis for axis in renamed if axis in image.coords])
        return kept.rename(renamed) if axes is not None else image.rename(renamed)
    if isinstance(image, np.ma.MaskedArray):
        image = _with_holes(image)
    return labelled(np.asarray(image), names)


def _with_holes(image: np.ma.MaskedArray) -> np.ndarray:
    """A masked array with NaN where it is masked."""
    if not np.ma.is_masked(image):
        return np.asarray(image.data)
    exact = image.dtype.kind == "f" or image.dtype.itemsize <= 2
    dtype = np.result_type(image.dtype, np.float32) if exact else np.dtype(np.float64)
    return np.asarray(np.ma.filled(image.astype(dtype), np.nan))


def choose_device(name: str) -> str:
    """A device by name, as PyTorch calls it; ``"auto"`` is the fastest that is there.

    Raises
    ------
    GvtzooError
        When the device is unknown or not there.
    """
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"  # known without PyTorch, which takes long to import
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise GvtzooError(f"unknown device {name!r}: use auto, cpu, cuda, cuda:1, mps") from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise GvtzooError(f"there is no {name} ({count} CUDA devices here): use --device auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise GvtzooError("there is no MPS device here: use --device auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise GvtzooError(f"unknown device {name!r}: use auto, cpu, cuda, cuda:1, mps")
    return str(device)


def may_have_gpu() -> bool:
    """Whether PyTorch has to be asked for a GPU: not on a Linux without any GPU's driver."""
    return sys.platform != "linux" or any(Path(file).exists() for file in GPU_FILES)
