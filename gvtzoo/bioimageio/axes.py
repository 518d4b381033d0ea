"""How images are cut for networks that are only known by their BioImage.IO description.

Along an axis, an output of ``scale · size + offset`` voxels lies in the middle of what the network
sees. A margin of the image, reflected at its ends, makes up for the offset and the stated halo, and
blocks begin at multiples of the size's step, where the network's own grids lie as in the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from gvtzoo.core.errors import GvtzooError

KINDS = {"batch": "b", "channel": "c", "time": "t"}  # our names; of space its own


@dataclass(frozen=True)
class Extent:
    """What a network does along one axis.

    Attributes
    ----------
    minimum, step : int
        Input sizes are ``minimum + n · step``; with step 0 only `minimum`.
    group : str
        Axes of one group have the same n.
    scale : Fraction
        Output voxels per input voxel.
    offset : int
        Output voxels that are missing (negative) at both ends together.
    halo : int
        Output voxels at either end that are not to be used.
    tiled : bool
        Whether the output has the axis, so that it can be put together from blocks.
    """

    minimum: int
    step: int
    group: str
    scale: Fraction = Fraction(1)
    offset: int = 0
    halo: int = 0
    tiled: bool = True

    @property
    def margin(self) -> int:
        """Input voxels that are read beyond either end of what comes out of a block."""
        unit = self.scale.denominator
        missing = math.ceil((self.halo - Fraction(self.offset, 2)) / self.scale)
        return max(0, -(-missing // unit) * unit)

    def count(self, size: int) -> int:
        """The smallest n whose size is at least `size`."""
        return max(0, -(-(size - self.minimum) // self.step)) if self.step else 0

    def size(self, n: int) -> int:
        """The size of step n."""
        return self.minimum + n * self.step


@dataclass(frozen=True)
class Cut:
    """How one axis of an image is cut into blocks.

    Attributes
    ----------
    size : int
        Of the image.
    block : int
        Input voxels of a block.
    stride : int
        From block to block.
    margin : int
        Voxels before the image.
    extent : Extent
    """

    size: int
    block: int
    stride: int
    margin: int
    extent: Extent

    @property
    def starts(self) -> list[int]:
        """Of blocks, in the padded image."""
        return list(range(0, self.size, self.stride))

    @property
    def padding(self) -> tuple[int, int]:
        """Voxels before and behind the image."""
        padded = self.starts[-1] + self.block
        return self.margin, max(0, padded - self.margin - self.size)

    @property
    def output_size(self) -> int:
        """Voxels of the result."""
        return math.ceil(self.size * self.extent.scale)

    def output(self, start: int) -> tuple[slice, slice]:
        """Where a block's result goes, and which part of the result that is."""
        scale, offset = self.extent.scale, self.extent.offset
        place = int(start * scale)
        length = min(int(self.stride * scale), self.output_size - place)
        first = int(self.margin * scale) + math.floor(offset / 2)
        return slice(place, place + length), slice(first, first + length)


def cuts_of(
    sizes: Mapping[str, int],
    extents: Mapping[str, Extent],
    blocks: Mapping[str, int] | None,
    margins: Mapping[str, int],
) -> dict[str, Cut]:
    """How an image is cut.

    Parameters
    ----------
    sizes : mapping of str to int
        Of the image, by axis.
    extents : mapping of str to Extent
        Of the same axes.
    blocks : mapping of str to int, optional
        Sizes that blocks have at least; without, the image is one block where the network takes
        it.
    margins : mapping of str to int
        Least margins, in input voxels.

    Raises
    ------
    GvtzooError
        When an axis has to be cut that cannot be, or a block has nothing but margin.
    """
    margin, counts = {}, dict.fromkeys((e.group for e in extents.values()), 0)
    for axis, extent in extents.items():
        unit = extent.scale.denominator
        wanted = -(-margins.get(axis, 0) // unit) * unit
        margin[axis] = max(extent.margin, wanted) if extent.tiled else 0
        whole = -(-sizes[axis] // unit) * unit + 2 * margin[axis]
        cut = blocks is not None and extent.tiled
        need = min(whole, blocks[axis]) if blocks is not None and cut else whole
        counts[extent.group] = max(counts[extent.group], extent.count(need))
    return {
        axis: _cut(axis, sizes[axis], extent, extent.size(counts[extent.group]), margin[axis])
        for axis, extent in extents.items()
    }


def joint_cuts(
    sizes: Mapping[str, int],
    outputs: Sequence[Mapping[str, Extent]],
    blocks: Mapping[str, int] | None,
    margins: Mapping[str, int],
) -> list[dict[str, Cut]]:
    """How an image is cut for a network with one or several outputs: one way, as each sees it.

    An image of a size that the network takes as it is, and that need not be cut, gets no margin:
    what the network does at its border is what its authors expect.

    Parameters
    ----------
    sizes, blocks, margins
        As of `cuts_of`.
    outputs : sequence of mapping of str to Extent
        What the network does for each output; they differ in scale, offset, halo and tiled.

    Returns
    -------
    list of dict of str to Cut
        For each output.

    Raises
    ------
    GvtzooError
        As of `cuts_of`.
    """
    shared = {}
    for axis, first in outputs[0].items():
        unit = math.lcm(*(extents[axis].scale.denominator for extents in outputs))
        tiled = all(extents[axis].tiled for extents in outputs)
        shared[axis] = replace(first, scale=Fraction(1, unit), offset=0, halo=0, tiled=tiled)
    if any(margins.values()) or not _is_taken_as_it_is(sizes, outputs, blocks):
        margins = {
            axis: max(margins.get(axis, 0), *(extents[axis].margin for extents in outputs))
            for axis in shared
        }
    cuts = cuts_of(sizes, shared, blocks, margins)
    return [
        {axis: replace(cut, extent=extents[axis]) for axis, cut in cuts.items()}
        for extents in outputs
    ]


def _is_taken_as_it_is(
    sizes: Mapping[str, int],
    outputs: Sequence[Mapping[str, Extent]],
    blocks: Mapping[str, int] | None,
) -> bool:
    counts: dict[str, int] = {}
    for axis, extent in outputs[0].items():
        size, count = sizes[axis], counts.setdefault(extent.group, extent.count(sizes[axis]))
        largest = size if blocks is None else max(blocks[axis], extent.minimum)
        whole = all((size * extents[axis].scale).denominator == 1 for extents in outputs)
        if extent.size(count) != size or size > largest or not whole:
            return False
    return not any(extent.offset for extents in outputs for extent in extents.values())


def _cut(axis: str, size: int, extent: Extent, block: int, margin: int) -> Cut:
    unit = extent.scale.denominator
    whole = -(-size // unit) * unit
    if whole + 2 * margin <= block:
        return Cut(size, block, whole, margin, extent)
    if not extent.tiled:
        raise GvtzooError(
            f"the image has {size} planes along {axis}, the model takes exactly {block}"
        )
    aligned = math.lcm(unit, extent.step or 1)
    stride = (block - 2 * margin) // aligned * aligned
    if stride < 1:
        raise GvtzooError(
            f"blocks of {block} along {axis} are nothing but margin ({margin} at either end): "
            "choose larger blocks"
        )
    return Cut(size, block, stride, margin, extent)


def names_of(tensor: Any) -> dict[str, str]:
    """Our name of each axis of a described tensor: b, c, t, z, y or x.

    Raises
    ------
    GvtzooError
        When an axis is none of these.
    """
    names: dict[str, str] = {}
    for axis in tensor.axes:
        name = KINDS.get(axis.type, str(axis.id))
        if name not in "bctzyx" or len(name) != 1 or name in names.values():
            raise GvtzooError(f"the model's axis {axis.id} of {tensor.id} is none of C, T, Z, Y, X")
        names[str(axis.id)] = name
    return names


def channels_of(tensor: Any) -> int:
    """Channels of a described tensor, 1 without such an axis."""
    sizes = [axis.size for axis in tensor.axes if axis.type == "channel"]
    return int(sizes[0]) if sizes and isinstance(sizes[0], int) else 1


def extents_of(source: Any, result: Any) -> dict[str, Extent]:
    """What a network does along the axes of its input but batch and channel, by our names.

    Parameters
    ----------
    source, result : bioimageio.spec.model.v0_5 tensor descriptions

    Raises
    ------
    GvtzooError
        When the result's size does not follow from the source's.
    """
    axes = {str(axis.id): axis for axis in source.axes}
    extents = {}
    for name, ours in names_of(source).items():
        if ours in "bc":
            continue
        minimum, step, group = _sizes(axes[name], axes)
        relation = _relation(axes[name], minimum, step, source, result)
        extents[ours] = Extent(minimum, step, group, *relation)
    return extents


def _sizes(axis: Any, axes: Mapping[str, Any]) -> tuple[int, int, str]:
    size = axis.size
    if isinstance(size, int):
        return size, 0, str(axis.id)
    if hasattr(size, "step"):
        return size.min, size.step, str(axis.id)
    reference = axes.get(str(getattr(size, "axis_id", "")))
    if reference is None or not isinstance(size.offset, int) or reference is axis:
        raise GvtzooError(f"the size of the model's axis {axis.id} cannot be told")
    minimum, step, group = _sizes(reference, axes)
    ratio = _ratio(reference, axis)
    if (step * ratio).denominator != 1:
        raise GvtzooError(f"the size of the model's axis {axis.id} cannot be told")
    return int(minimum * ratio) + size.offset, int(step * ratio), group


def _relation(
    axis: Any, minimum: int, step: int, source: Any, result: Any
) -> tuple[Fraction, int, int, bool]:
    """Scale, offset, halo and whether the result has the axis."""
    for other in result.axes:
        if other.type in ("batch", "channel"):
            continue
        size, halo = other.size, int(getattr(other, "halo", 0))
        if getattr(size, "axis_id", None) == axis.id and size.tensor_id == source.id:
            return _ratio(axis, other), int(size.offset), halo, True
        if other.id != axis.id:
            continue
        if isinstance(size, int) and not step:
            if (size >= minimum and size % minimum == 0) or (
                size < minimum and minimum % size == 0
            ):
                return Fraction(size, minimum), 0, halo, True
            return Fraction(1), size - minimum, halo, True
        raise GvtzooError(f"the size of the model's output along {other.id} cannot be told")
    return Fraction(1), 0, 0, False


def _ratio(axis: Any, other: Any) -> Fraction:
    return Fraction(float(axis.scale) / float(other.scale)).limit_denominator(1000)


def order_of(names: Sequence[str], kept: Sequence[str]) -> tuple[str, ...]:
    """`names` with new ones first, then those that are in `kept`, in its order."""
    return (*(name for name in names if name not in kept), *(n for n in kept if n in names))
