"""Which images are predicted from file to file (`gvtzoo.prediction.exact.out_of_core`).

Apart from how, since that needs PyTorch, and most images are not that large.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gvtzoo.images.files import TIFF_SUFFIXES, ZARR_SUFFIX
from gvtzoo.images.padding import padding_widths
from gvtzoo.prediction.model import budget_of, choose_tiling
from gvtzoo.prediction.resampling import choose_resampling, with_pixel_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gvtzoo.images.lazy import LazyImage, View
    from gvtzoo.prediction.model import Model
    from gvtzoo.prediction.resampling import Resampling
    from gvtzoo.prediction.settings import Settings

TILED_SUFFIXES = (ZARR_SUFFIX, *TIFF_SUFFIXES, ".npy")


# Multiplications of the finest convolution, for 2 million voxels in the paper's denoising network:
# done within a minute on any machine.
SHORT = 2_000_000 * 32**2 * 3**3


def may_take_long(model: Model, image: LazyImage) -> bool:
    """Whether it pays to ask for an estimate before the start."""
    looked_at = set("tpzyx") & set(image.dims)
    voxels = math.prod(image.sizes[axis] for axis in looked_at)
    network = model.config.network
    return voxels * network.features**2 * 3**network.dimensions > SHORT


def is_large(model: Model, image: LazyImage, settings: Settings) -> bool:
    """Whether an image is predicted exactly, tile by tile.

    Parameters
    ----------
    model : Model
    image : LazyImage
        As it was opened.
    settings : Settings
        Of them, pixel size, tiling and memory count.
    """
    image = model.suit(with_pixel_size(image, settings))
    resampling = choose_resampling(model.config, image, settings)
    shape = padded(model, seen_shape(model.frames(image.array, image.dims)[0], resampling))
    budget = budget_of("cpu", settings)
    return choose_tiling(model.config, shape[1:], settings, budget) == "exact"


def seen_shape(frame: View, resampling: Resampling | None) -> tuple[int, ...]:
    """Of a frame at the network's pixel size, (channel, (z,) y, x)."""
    return frame.shape if resampling is None else resampling.shape(frame.shape)


def padded(model: Model, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that the network sees of a frame (channel, (z,) y, x)."""
    widths = padding_widths(tuple(shape), (1, *model.config.network.multiple))
    return tuple(size + sum(width) for size, width in zip(shape, widths, strict=True))
