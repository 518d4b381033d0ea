"""Prediction in overlapping blocks that are averaged, as the paper's authors did for large images.

Every block is another image to a network that looks at all of it, so the result differs from the
whole image's, and shows seams. It is here for comparison, and for networks that are not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np

from gvtzoo.core.progress import Progress
from gvtzoo.images.patches import grid_starts

Box = tuple[slice, ...]
Function = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def predict_blocks(
    predict: Function,
    image: np.ndarray,
    *,
    block: Sequence[int],
    overlap: Sequence[int],
    progress: Progress | None = None,
) -> tuple[np.ndarray, ...]:
    """Average the predictions of overlapping blocks.

    Parameters
    ----------
    predict : callable
        From a block (channel, (z,) y, x) to one or several arrays of (channel, …) that have its
        spatial size, or lack its z.
    image : ndarray
        (channel, (z,) y, x); every spatial size at least as large as the block's, or the block is
        made smaller.
    block, overlap : sequence of int
        (z,) y, x.
    progress : callable, optional
        ``progress(done, all)`` after every block.

    Returns
    -------
    tuple of ndarray
        What `predict` gives, for the whole image, float32. Memory: the results and one count per
        voxel, however many blocks there are.
    """
    boxes = list(block_boxes(image.shape[1:], block, overlap))
    sums: list[np.ndarray] = []
    for done, box in enumerate(boxes, start=1):
        results = predict(image[(slice(None), *box)])
        kept = box[len(box) - (results[0].ndim - 1) :]  # a projection has no z
        if not sums:
            sizes = image.shape[image.ndim - len(kept) :]
            sums = [np.zeros((len(result), *sizes), np.float32) for result in results]
            count = np.zeros(sizes, np.float32)
        for total, result in zip(sums, results, strict=True):
            total[(slice(None), *kept)] += result
        count[kept] += 1
        if progress is not None:
            progress(done, len(boxes))
    for total in sums:
        total /= count
    return tuple(sums)


def block_boxes(
    shape: Sequence[int], block: Sequence[int], overlap: Sequence[int]
) -> Iterator[Box]:
    """Blocks that cover an image of this shape, each the same size.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    block, overlap : sequence of int
        In voxels along the same axes.
    """
    sizes = [min(b, s) for b, s in zip(block, shape, strict=True)]
    starts = [
        grid_starts(s, b, min(o, b - 1)) for s, b, o in zip(shape, sizes, overlap, strict=True)
    ]
    for corner in product(*starts):
        yield tuple(slice(c, c + b) for c, b in zip(corner, sizes, strict=True))
