"""Images: reading and writing, checks, normalization, padding, patches.

Imports `gvtzoo.core` and `gvtzoo.networks`; everything from metrics up may import it.
"""

from gvtzoo.images.checks import check_image
from gvtzoo.images.files import IMAGE_SUFFIXES, find_images, open_image, read_image, write_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.normalization import (
    FittedNormalization,
    FixedNormalization,
    NoNormalization,
    Normalization,
    PercentileNormalization,
    ZScoreNormalization,
)
from gvtzoo.images.padding import pad_to_multiple
from gvtzoo.images.patches import grid_starts, random_patch_start

__all__ = [
    "IMAGE_SUFFIXES",
    "FittedNormalization",
    "FixedNormalization",
    "LazyImage",
    "NoNormalization",
    "Normalization",
    "PercentileNormalization",
    "ZScoreNormalization",
    "check_image",
    "find_images",
    "grid_starts",
    "open_image",
    "pad_to_multiple",
    "random_patch_start",
    "read_image",
    "write_image",
]
