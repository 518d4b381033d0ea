"""Other structures than a pair's, as the pair's microscope would record them.

A network that learns from a few pairs forgets what else it knew: how the same microscope's images
look of brighter cells, of other structures. Synthetic structures with noise such as the pair has
(`gvtzoo.training.data.recording`) remind it of that, and show what it has forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch

from gvtzoo.images.patches import random_patch_start
from gvtzoo.recipes.recipe import Recipe
from gvtzoo.training.data.images import Box, TrainingImage
from gvtzoo.training.data.reading import fit_normalizations
from gvtzoo.training.data.recording import RecordedImage
from gvtzoo.training.data.structures import synthetic_stack

SIZES = {2: (160, 160), 3: (24, 96, 96)}  # (z,) y, x, at least
LIGHT = (0.5, 10.0)  # times the pair's, of the brightest structures
BRIGHT = 99.9  # percentile
REHEARSED = 24  # images that patches are cut from
JUDGED = 12  # other ones, that show what is forgotten


@dataclass(frozen=True, eq=False)
class RehearsedImage(RecordedImage):
    """A pair some of whose patches are of other structures.

    Attributes
    ----------
    others : sequence of RecordedImage
        These.
    rehearsed : float
        Their share of the patches.
    """

    others: Sequence[RecordedImage] = field(kw_only=True)
    rehearsed: float = field(kw_only=True)

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Source and target inside `box`, or as large a part of another structure, normalized."""
        if generator.random() >= self.rehearsed:
            return super().patch(box, generator)
        other = self.others[int(generator.integers(len(self.others)))]
        size = tuple(part.stop - part.start for part in box)
        first = random_patch_start(other.shape[1:], size, generator)
        place = tuple(slice(f, f + s) for f, s in zip(first, size, strict=True))
        return other.patch(place, generator)


def with_rehearsal(recipe: Recipe, images: Sequence[TrainingImage]) -> list[TrainingImage]:
    """Training images with other structures among their patches, where the recipe wants that.

    Those of which it is known how their microscope records (`RecordedImage`).

    Parameters
    ----------
    recipe : Recipe
        Whose ``augmentation.rehearsal`` is the share of the patches.
    images : sequence of TrainingImage
    """
    share = recipe.augmentation.rehearsal
    if share == 0:
        return list(images)
    others = structures(recipe, images, range(REHEARSED))
    return [
        RehearsedImage(
            **{item.name: getattr(image, item.name) for item in fields(RecordedImage)},
            others=others,
            rehearsed=share,
        )
        if isinstance(image, RecordedImage)
        else image
        for image in images
    ]


def judged_structures(recipe: Recipe, images: Sequence[TrainingImage]) -> list[RecordedImage]:
    """Other structures than those of `with_rehearsal`, to judge by; none where it has none.

    Parameters
    ----------
    recipe : Recipe
    images : sequence of TrainingImage
    """
    if recipe.augmentation.rehearsal == 0:
        return []
    return structures(recipe, images, range(REHEARSED, REHEARSED + JUDGED))


def structures(
    recipe: Recipe, images: Sequence[TrainingImage], numbers: Iterable[int]
) -> list[RecordedImage]:
    """Synthetic structures in various light, as the images' microscopes record them, by turns.

    Parameters
    ----------
    recipe : Recipe
        That normalizes them.
    images : sequence of TrainingImage
        Those that are no `RecordedImage` have no turn.
    numbers : iterable of int
        Of the structures: each number is one.
    """
    recorded = [image for image in images if isinstance(image, RecordedImage)]
    if not recorded:
        return []
    return [_structure(number, recorded[number % len(recorded)], recipe) for number in numbers]


def _structure(number: int, image: RecordedImage, recipe: Recipe) -> RecordedImage:
    """A synthetic structure in an image's units, and its recording."""
    recording = image.recording
    channels, *sizes = image.shape
    patch = recipe.training.patch
    shape = [max(pair) for pair in zip(SIZES[len(sizes)], patch, strict=True)]
    depth, height, width = (1, *shape)[-3:]
    seed = torch.Generator().manual_seed(number)
    stack = synthetic_stack(number, (depth, height, width), seed).numpy()
    clean = np.broadcast_to(stack.reshape(shape), (channels, *shape))
    generator = np.random.default_rng([recipe.training.seed, number])
    light = math.exp(generator.uniform(math.log(LIGHT[0]), math.log(LIGHT[1])))
    dark, bright = recording.dark_target, float(np.percentile(image.target, BRIGHT))
    target = (dark + light * (bright - dark) * clean).astype(np.float32)
    source = recording.record(recording.expected(target), generator)
    fitted = fit_normalizations(source, target, recipe.normalization)
    return replace(
        image,
        name=f"synthetic structure {number}",
        source=source,
        target=target,
        source_normalization=fitted[0],
        target_normalization=fitted[1],
        share=1.0,
        files=(),
    )
