"""How much memory there is, and how much a prediction of the whole image takes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from gvtzoo.networks.baseline_config import AnyNetworkConfig

SAFE_SHARE = 0.6  # of what is free
# Feature maps of the image's size that are alive at once in the widest place of the networks,
# measured: 8.7 GB at 32×512×512 voxels with 32 features.
LIVE_FEATURE_MAPS = 9


def available_memory(device: torch.device) -> int:
    """Bytes that a prediction may take on a device without asking: 60 % of what is free."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(SAFE_SHARE * free)
    import psutil

    return int(SAFE_SHARE * psutil.virtual_memory().available)


def whole_image_memory(
    network: AnyNetworkConfig, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> int:
    """Estimate of the bytes that the network takes for a whole image ((z,) y, x)."""
    from gvtzoo.networks.projection import PROJECTION_FEATURES

    projection = network.output_dimensions < network.dimensions
    features = PROJECTION_FEATURES if projection else network.features
    return LIVE_FEATURE_MAPS * features * dtype.itemsize * math.prod(shape)


def parse_memory(text: str) -> int:
    """Bytes, from ``"4GB"``, ``"500 MB"``, ``"2GiB"`` or a plain number.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)(I?)B?", text.strip().upper())
    try:
        number, prefix, binary = match.groups() if match else ("", "", "")
        amount = float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix or " ")
    except ValueError:
        amount = 0
    if amount < 1:
        raise ValueError(f"{text!r} is not an amount of memory: write it like 4GB")
    return int(amount)
