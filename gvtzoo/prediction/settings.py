"""How a prediction is computed: device, arithmetic, tiles; and the image with its axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import xarray as xr

from gvtzoo.core.errors import GvtzooError

Tiling = Literal["auto", "whole", "exact", "blocks"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    memory : int, optional
        Bytes that the prediction may take beyond the image and the result.
    block, overlap : tuple of int, optional
        Of "blocks", (z,) y, x.
    pixel_size : float, optional
        Of the image in plane, in µm, whatever it states itself.
    resample : bool
        Whether an image is resampled to the pixel size that the model was trained at, and the
        prediction back, where the model's training images were resampled too.
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


def as_data_array(
    image: np.ndarray | xr.DataArray, axes: str | None, expected: Sequence[str]
) -> xr.DataArray:
    """An image with named axes: those given, else its own, else the expected ones.

    Raises
    ------
    GvtzooError
        When there are not as many names as axes.
    """
    if isinstance(image, xr.DataArray):
        if axes is None:
            return image
        return image.rename(dict(zip(image.dims, axes.lower(), strict=True)))
    image = np.asarray(image)
    names = expected if axes is None else tuple(axes.lower())
    if len(names) != image.ndim:
        raise GvtzooError(
            f"the image has {image.ndim} axes of sizes {image.shape}, but the axes are "
            f"{''.join(names).upper()}: name them all, such as axes='ZYX'"
        )
    return xr.DataArray(image, dims=names)


def choose_device(name: str) -> torch.device:
    """A device by name; ``"auto"`` is the fastest that is there.

    Raises
    ------
    GvtzooError
        When the device is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
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
    return device
