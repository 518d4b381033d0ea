"""Predicting a part of an image.

A network with global attention sees the whole image in every voxel, so a part is predicted in one
of two ways. With the attention of the ``image``, all of it is read and the result is what the
prediction of the whole would have there, up to rounding. With that of the ``region``, only the
region and a margin around it are read, and attention and normalization are theirs alone: an
approximation. Attention from a coarser level is not offered: on two of three real stacks it lost
more than that of the region.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    from gvtzoo.images.lazy import Box, LazyImage

Attention = Literal["image", "region"]
ATTENTIONS: tuple[Attention, ...] = ("image", "region")
# Voxels around a region that are read with it, (z,) y, x: what lies further away matters to a voxel
# by attention only.
MARGIN = {2: (64, 64), 3: (8, 32, 32)}


@dataclass(frozen=True)
class RegionOfImage:
    """What of an image is read, and what of that is predicted.

    Attributes
    ----------
    image : LazyImage
        What is read.
    region : mapping of str to slice
        Along the network's axes: what is predicted, in voxels of `image`.
    origin : dict
        Of the prediction, as `LazyImage` has it.
    """

    image: LazyImage
    region: dict[str, slice]
    origin: dict[str, float]

    @staticmethod
    def all_of(image: LazyImage) -> RegionOfImage:
        """The whole image."""
        return RegionOfImage(image, {}, image.origin)

    def box(self, axes: Sequence[str]) -> Box | None:
        """The region along the network's axes without channel; None where it is everything."""
        if not self.region:
            return None
        sizes = self.image.sizes
        return tuple(self.region.get(axis, slice(0, sizes[axis])) for axis in axes if axis != "c")

    def shape(self, dims: Sequence[str], shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the prediction, of which `shape` is that of the whole image."""
        return tuple(
            self.region[axis].stop - self.region[axis].start if axis in self.region else size
            for axis, size in zip(dims, shape, strict=True)
        )


def parse_region(text: str) -> dict[str, slice]:
    """``"0:8,100:200,:"`` as slices along z, y and x; two of them are along y and x.

    Raises
    ------
    GvtzooError
    """
    parts = [part.strip() for part in text.split(",")]
    found = [re.fullmatch(r"(\d*)\s*:\s*(\d*)", part) for part in parts]
    if len(parts) not in (2, 3) or None in found:
        raise GvtzooError(
            f"--region {text!r} is not of the form z0:z1,y0:y1,x0:x1 (or y0:y1,x0:x1), such as "
            "0:16,100:300,:"
        )
    region = {}
    for axis, match in zip("zyx"[-len(parts) :], found, strict=True):
        start, stop = (int(end) if end else None for end in match.groups())  # type: ignore[union-attr]
        if start is not None or stop is not None:
            region[axis] = slice(start or 0, stop)
    return region


def place_region(
    image: LazyImage,
    region: Mapping[str, slice] | str,
    attention: Attention,
    axes: Sequence[str],
    output_axes: Sequence[str],
) -> RegionOfImage:
    """What has to be read of an image, and predicted.

    Parameters
    ----------
    image : LazyImage
    region : mapping of str to slice, or str
        Along z, y and x, in voxels; or as `parse_region` takes it.
    attention : {"image", "region"}
    axes, output_axes : sequence of str
        Of the network's input and output.

    Raises
    ------
    GvtzooError
        When the region does not lie in the image, or cuts an axis that the output does not have.
    """
    if attention not in ATTENTIONS:
        raise GvtzooError(f"attention {attention!r}: choose {' or '.join(ATTENTIONS)}")
    wanted = inside(image, parse_region(region) if isinstance(region, str) else region)
    lost = [axis for axis in wanted if axis in axes and axis not in output_axes]
    if lost:
        raise GvtzooError(
            f"the prediction has no axis {lost[0].upper()}, so the region cannot cut it: write ':'"
        )
    origin = image.origin_of(wanted)
    # Frames along other axes know nothing of each other.
    cut = {axis: part for axis, part in wanted.items() if axis not in axes}
    kept = {axis: part for axis, part in wanted.items() if axis in axes}
    if attention == "region":
        for axis, part in kept.items():
            margin = _margin(axis, axes)
            read = slice(max(0, part.start - margin), min(image.sizes[axis], part.stop + margin))
            cut[axis] = read
            kept[axis] = slice(part.start - read.start, part.stop - read.start)
    return RegionOfImage(image.crop(cut) if cut else image, kept, origin)


def inside(image: LazyImage, region: Mapping[str, slice]) -> dict[str, slice]:
    """A region with its ends.

    Raises
    ------
    GvtzooError
        When it does not lie in the image.
    """
    found = {}
    for axis, part in region.items():
        size = image.sizes.get(axis)
        if size is None:
            raise GvtzooError(f"the image has no axis {axis.upper()} for a region to cut")
        start, stop = part.start or 0, size if part.stop is None else part.stop
        if not 0 <= start < stop <= size:
            raise GvtzooError(
                f"the region {start}:{stop} along {axis.upper()} does not lie in the image, which "
                f"has {size} voxels there"
            )
        found[axis] = slice(start, stop)
    return found


def _margin(axis: str, axes: Sequence[str]) -> int:
    spatial = [name for name in axes if name != "c"]
    return MARGIN[len(spatial)][spatial.index(axis)]
