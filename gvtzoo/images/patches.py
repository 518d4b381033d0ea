"""Where patches start: at random for training, on a grid for prediction in blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gvtzoo.core.errors import GvtzooError


def random_patch_start(
    shape: Sequence[int], patch: Sequence[int], generator: np.random.Generator
) -> tuple[int, ...]:
    """A random position at which a patch fits; all of them are equally likely.

    Parameters
    ----------
    shape, patch : sequence of int
        Of the image and the patch, in voxels along the same axes.
    generator : numpy.random.Generator

    Raises
    ------
    GvtzooError
        When the patch is larger than the image.
    """
    if any(p > s for s, p in zip(shape, patch, strict=True)):
        raise GvtzooError(f"a patch {tuple(patch)} does not fit into an image {tuple(shape)}")
    return tuple(
        int(generator.integers(s - p, endpoint=True)) for s, p in zip(shape, patch, strict=True)
    )


def grid_starts(size: int, patch: int, overlap: int) -> list[int]:
    """Starts along one axis of patches that cover it and overlap; the last is flush with the end.

    Parameters
    ----------
    size : int
        Of the image, in voxels.
    patch : int
    overlap : int
        Of two neighbours, at least.

    Raises
    ------
    GvtzooError
        When the overlap leaves no step.
    """
    if not 0 <= overlap < patch:
        raise GvtzooError(f"the overlap {overlap} has to be at least 0 and below the block {patch}")
    if patch >= size:
        return [0]
    return [*range(0, size - patch, patch - overlap), size - patch]
