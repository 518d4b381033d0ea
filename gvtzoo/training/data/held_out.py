"""Which pairs, or which part of them, fine-tuning does not learn from, to be judged by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.training.data.images import PairedImage, TrainingImage

EVERY = 4  # pairs, of which one is held out
HELD_OUT = 0.25
SMALLEST = 8  # rows or columns: what SSIM needs, and some more

Split = tuple[Sequence[TrainingImage], Sequence[TrainingImage], str]


def hold_out(pairs: Sequence[TrainingImage], multiple: Sequence[int]) -> Split:
    """Training images, held-out images, and what the latter are called.

    Every fourth pair is held out; of two or three, the last: another image tells what a model does
    to other images, a part of the same one does not. Of a single pair, there is only a band.

    Parameters
    ----------
    pairs : sequence of TrainingImage
    multiple : sequence of int
        (z,) y, x that the network's input has to be a multiple of.

    Raises
    ------
    GvtzooError
        When an image is too small to be divided.
    """
    if len(pairs) > 1:
        step = min(len(pairs), EVERY)
        chosen = range(step - 1, len(pairs), step)
        kept = [pair for number, pair in enumerate(pairs) if number not in chosen]
        return kept, [pairs[n] for n in chosen], f"{len(chosen)} of {len(pairs)} pairs, held out"
    training, held_out = divide(pairs[0], multiple)
    return [training], [held_out], f"a band of {HELD_OUT:.0%} of the pair, held out"


def divide(pair: TrainingImage, multiple: Sequence[int]) -> tuple[PairedImage, PairedImage]:
    """The part of an image to train on, and a band along one of its four borders to judge by.

    The band is the one whose target varies most like the whole: an empty one would tell nothing,
    and the only one with structure would leave nothing to learn from.

    Raises
    ------
    GvtzooError
        When the image is too small.
    """
    assert isinstance(pair, PairedImage)
    bands = [
        band for axis in (-2, -1) for band in _bands(pair, axis, max(multiple[axis], SMALLEST))
    ]
    if not bands:
        sizes = "×".join(map(str, pair.shape[-2:]))
        raise GvtzooError(
            f"{pair.name} has only {sizes} pixels, too few to hold some out: add pairs, or put "
            "some into val/"
        )
    whole = float(np.std(pair.target))
    return min(bands, key=lambda parts: abs(float(np.std(parts[1].target)) - whole))


def _bands(pair: PairedImage, axis: int, smallest: int) -> list[tuple[PairedImage, PairedImage]]:
    """The rest and the band, at both ends of an axis; none where these are too narrow."""
    length = pair.shape[axis]
    width = round(length * HELD_OUT)
    if width < smallest or length - width < smallest:
        return []
    ends = (
        (slice(0, length - width), slice(length - width, None)),
        (slice(width, None), slice(0, width)),
    )
    return [(_cut(pair, axis, rest), _cut(pair, axis, band)) for rest, band in ends]


def _cut(pair: PairedImage, axis: int, part: slice) -> PairedImage:
    box = (..., part) if axis == -1 else (..., part, slice(None))
    return replace(pair, source=pair.source[box], target=pair.target[box])
