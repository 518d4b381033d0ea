"""A network for programs that hand it images, or tiles of them, of whatever size they like.

Programs cut an image into tiles that overlap by a halo, and mirror the image where a tile reaches
beyond its border. Two things that a network needs to know of the whole image are then lost, and
found again here, from the tile itself:

- where the image ends: there a convolution pads with zeros, and not with the mirror image. Planes
  that mirror the tile's others, or repeat its outermost one, are what a program has put there; they
  are taken off, so that the border of the tile is that of the image;
- how the network's grid lies: the voxels that it joins when it halves the image start at the
  image's corner. Tiles start on that grid, save for those that a program has moved back to end
  with the image, whose end tells it.

All of it is in operations on tensors, so that it is traced into TorchScript and ONNX as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

SAMPLES = 6  # voxels of each plane that are compared first


class AnySize(nn.Module):
    """Pads an image to the network's grid by reflection, and crops the output.

    The weights' names are the network's own.

    Parameters
    ----------
    network : Module
        With a `multiple`, as all of gvtzoo's have.
    tiles : mapping, optional
        Of a network that looks at a neighbourhood only: ``halo``, how wide tiles overlap at least,
        ``front`` and ``back``, what the whole image is padded by before its first and behind its
        last voxel; lists along (z,) y, x. Where the halo is 0, an axis is not cut.
    sigma : bool
        Whether the output is σ instead of the prediction.

    Examples
    --------
    >>> from gvtzoo.networks.gvtnet import GVTNet
    >>> AnySize(GVTNet(dimensions=2, features=4))(torch.zeros(1, 1, 17, 31)).shape
    torch.Size([1, 1, 17, 31])
    """

    def __init__(
        self, network: Any, tiles: dict[str, Sequence[int]] | None = None, sigma: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.tiles = tiles
        self.sigma = sigma

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's."""
        return self.network.load_state_dict(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, (z,) y, x) of any sizes → the same sizes, without z for a projection."""
        results = []
        for number, multiple in enumerate(self.network.multiple):
            taken, result = self._places(x, number, multiple)
            x = x.index_select(number + 2, taken)
            results.append(result)
        y: Tensor = self.network.forward_with_sigma(x)[1] if self.sigma else self.network(x)
        dimensions = y.ndim - 2
        for axis, result in enumerate(results[len(results) - dimensions :], start=2):
            y = y.index_select(axis, result)
        return y

    def _places(self, x: Tensor, number: int, multiple: int) -> tuple[Tensor, Tensor]:
        """Along one axis: which voxels the network sees, and where in its output the result is."""
        size = x.shape[number + 2]
        given = count(size, x)
        if self.tiles is None:
            missing = -size % multiple
            before = missing // 2
            return reflected(count(size + missing, x) - before, size), given + before
        halo = self.tiles["halo"][number]
        first, behind = image_in_tile(x, number + 2, halo) if halo else (given[0] * 0, given[0] * 0)
        inside = size - first - behind
        # A tile that is mirrored by less than the halo stands where tiles do, on the grid; one that
        # begins or ends with the image may have been moved there.
        starts = (first >= halo).to(torch.int64)
        ends = (behind >= halo).to(torch.int64) * (1 - starts)
        at_front, at_back = self.tiles["front"][number], self.tiles["back"][number]
        front = (at_front + first * (1 - starts)) % multiple * (1 - ends)
        front = front + (-inside - at_back) % multiple * ends
        padded = inside + front + (-inside - front) % multiple
        taken = reflected(count(padded, x) - front, inside) + first
        # A program may write more than it keeps; what it puts on the image's mirror image is the
        # mirror image of the prediction.
        place = (given - first) % (2 * inside)
        return taken, torch.minimum(place, 2 * inside - 1 - place) + front


def count(number: Any, like: Tensor) -> Tensor:
    """0, 1, 2, … up to a number, int64, on the device of another tensor.

    A trace remembers the device that numbers are made on, unless they are moved as here.
    """
    some = like[(0,) * (like.ndim - 1)][:1]
    return torch.arange(number).type_as(some.to(torch.int64))


def reflected(places: Tensor, size: Any) -> Tensor:
    """Places on an axis of `size` voxels, those outside reflected as often as it takes."""
    period = 2 * size - 2 + (size == 1)
    places = places % period
    return torch.minimum(places, period - places)


def image_in_tile(x: Tensor, axis: int, halo: int) -> tuple[Tensor, Tensor]:
    """How many planes before the image, and behind it, a program has made up from the others.

    Parameters
    ----------
    x : Tensor
        A tile.
    axis : int
    halo : int
        How many planes a program makes up around an image, and at most around the tiles beside.

    Returns
    -------
    pair of Tensor
        int64; 0 where the image goes on beyond the tile.
    """
    planes = x.transpose(0, axis)
    planes = planes.reshape(planes.shape[0], -1)
    size = planes.shape[0]
    before = planes_before_image(planes, halo)
    behind = planes_before_image(planes.index_select(0, size - 1 - count(size, planes)), halo)
    some_left = (before + behind < size).to(torch.int64)
    return before * some_left, behind * some_left


def planes_before_image(planes: Tensor, halo: int) -> Tensor:
    """How many of the first planes, (plane, voxel), are made up from those behind them.

    Mirrored: planes i and ``last - i`` agree for all i up to `last`, with the outermost plane of
    the image once or twice; the largest such `last` counts. Repeated: more than a halo of planes
    are the same. Planes of one value only, as in empty parts of an image, say nothing, unless a
    halo of planes mirrors others.
    """
    number = count(planes.shape[0], planes)
    # A few numbers of each plane find a candidate, which is then compared as a whole.
    chosen = count(SAMPLES, planes) * (planes.shape[1] - 1) // (SAMPLES - 1)
    largest, smallest = planes.amax(1), planes.amin(1)
    looks = [largest, smallest]
    looks += [planes.index_select(1, chosen[n : n + 1]).reshape(-1) for n in range(SAMPLES)]
    place = number.reshape(1, -1)
    partner = number.reshape(-1, 1) - place
    partner = torch.maximum(partner, place * (partner < 0).to(torch.int64))
    agree, alike = partner * 0 + 1, number * 0 + 1
    for look in looks:
        agree = agree * (look[place] == look[partner]).to(torch.int64)
        alike = alike * (look == look[:1]).to(torch.int64)
    first_other = (torch.cumsum(1 - alike, 0) == 0).to(torch.int64).sum(0)
    pair = (first_other == 2).to(torch.int64)
    last = (agree.amin(1) * (number >= first_other - pair).to(torch.int64) * number).amax(0)
    mirror = torch.maximum(last - number, number * (number > last).to(torch.int64))
    start = (last + 1) // 2 * _equal(planes, mirror) * (last > 0).to(torch.int64)
    # Behind a mirror image there may be repeated planes.
    outermost = start.reshape(1)
    alike = (number >= start).to(torch.int64)
    for look in looks:
        alike = alike * (look == look[outermost]).to(torch.int64)
    passed = (number >= start).to(torch.int64) * (1 - alike)
    run = (alike * (torch.cumsum(passed, 0) == 0).to(torch.int64)).sum(0)
    in_run = ((number >= start) & (number < start + run)).to(torch.int64)
    repeat = number + (start - number) * in_run
    repeated = (largest[outermost] > smallest[outermost])[0] & (run > halo)
    behind = (run - 1) * _equal(planes, repeat) * repeated.to(torch.int64)
    says = (last >= 2 * halo - 1) | (largest[0] > smallest[0])
    return (start + behind) * says.to(torch.int64)


def _equal(planes: Tensor, others: Tensor) -> Tensor:
    """1 where all planes are the same as the others of these numbers, else 0."""
    return (planes.index_select(0, others) == planes).to(torch.int64).amin(1).amin(0)
