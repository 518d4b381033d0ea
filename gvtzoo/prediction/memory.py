"""How much memory there is, and how much a prediction of the whole image takes."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gvtzoo.core.errors import GvtzooError
from gvtzoo.networks.baseline_config import AnyNetworkConfig
from gvtzoo.networks.config import PROJECTION_FEATURES

if TYPE_CHECKING:
    from gvtzoo.prediction.settings import Settings

# How libraries say that there is no memory left, where they have no exception of its own for it.
NO_MEMORY = re.compile(
    r"DefaultCPUAllocator|not enough memory|out of memory|bad_alloc|failed to allocate"
    r"|alloc_cpu|unable to allocate|can't allocate memory",
    re.IGNORECASE,
)
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}  # of a number
LEAST_ADVISED = 100_000_000  # bytes; below, tiles are nothing but their margins

SAFE_SHARE = 0.6  # of what is free
# Feature maps of the image's size that are alive at once in the widest place of the networks,
# measured: 8.7 GB at 32×512×512 voxels with 32 features.
LIVE_FEATURE_MAPS = 9


def available_memory(device: str) -> int:
    """Bytes that a prediction may take on a device without asking: 60 % of what is free."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return int(SAFE_SHARE * free)
    import psutil

    return int(SAFE_SHARE * psutil.virtual_memory().available)


def give_back_freed() -> None:
    """Give freed memory back to the system; glibc keeps blocks of less than 32 MB for itself."""
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, here or on a GPU."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


@contextmanager
def within_memory(settings: Settings, exact: bool) -> Iterator[None]:
    """Memory that runs out as an error of this one image, which says what to pass instead.

    Parameters
    ----------
    settings : Settings
        Of the prediction.
    exact : bool
        Whether the model predicts tile by tile with the same result.

    Raises
    ------
    GvtzooError
        With half of what the prediction was allowed to take.
    """
    try:
        yield
    except GvtzooError:
        raise
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if torch := sys.modules.get("torch"):
            torch.cuda.empty_cache()  # does nothing where there is no GPU
        raise GvtzooError(_less(settings, exact)) from error


def _less(settings: Settings, exact: bool) -> str:
    from gvtzoo.prediction.settings import choose_device

    if not exact:
        block = ",".join(str(max(1, size // 2)) for size in settings.block or ())
        return "the memory ran out: predict in smaller blocks, with --tiling blocks --block " + (
            block or "64,64 (16,64,64 for stacks)"
        )
    allowed = settings.memory or available_memory(choose_device(settings.device))
    advised = max(LEAST_ADVISED, allowed // 2)
    return (
        "the memory ran out: predict tile by tile, with the same result, by --tiling exact "
        f"--memory {advised / 1e9:.1f}GB"
    )


def whole_image_memory(
    network: AnyNetworkConfig, shape: Sequence[int], dtype: str = "float32"
) -> int:
    """Estimate of the bytes that the network takes for a whole image ((z,) y, x).

    Parameters
    ----------
    network : NetworkConfig or that of a baseline
    shape : sequence of int
        (z,) y, x, padded to what the network needs.
    dtype : str
        That the network computes in.
    """
    projection = network.output_dimensions < network.dimensions
    features = PROJECTION_FEATURES if projection else network.features
    return LIVE_FEATURE_MAPS * features * BYTES[dtype] * math.prod(shape)


def parse_memory(text: str) -> int:
    """Bytes, from ``"4GB"``, ``"500 MB"``, ``"2GiB"`` or a plain number.

    Raises
    ------
    GvtzooError
    """
    match = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)(I?)B?", text.strip().upper())
    try:
        number, prefix, binary = match.groups() if match else ("", "", "")
        amount = float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix or " ")
    except ValueError:
        amount = 0
    if amount < 1:
        raise GvtzooError(f"{text!r} is not an amount of memory: write it like 4GB")
    return int(amount)
