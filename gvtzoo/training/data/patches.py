"""The images of a data folder for training, and random patches of them.

Every source of images gives `TrainingImage`s. Which patch is cut, which noise is drawn and how
it is augmented follow from the seed and the patch's number alone, not from what was drawn before:
so a training continues exactly where it stopped, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.images.patches import random_patch_start
from gvtzoo.training.data.care import care_images, is_care
from gvtzoo.training.data.images import PairedImage, TrainingImage
from gvtzoo.training.data.pairs import Split, training_pairs
from gvtzoo.training.data.reading import read_pair
from gvtzoo.training.data.simulated import noisy_images

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import AugmentationConfig, Recipe


def load_images(
    folder: str | Path, split: Split, recipe: Recipe, cache: str | Path | None = None
) -> list[TrainingImage]:
    """The images of one split of a data folder, as a recipe wants them.

    Parameters
    ----------
    folder : path
        As `gvtzoo.training.data.pairs.training_pairs` takes it; a data set in CARE's layout
        (`gvtzoo.training.data.care`); or, for recipes that add noise, a folder of clean images.
    split : {"train", "val", "test"}
    recipe : Recipe
    cache : path, optional
        A folder in which pairs are kept, read and resampled, as npy files that are mapped into
        memory: for data that do not fit there.

    Raises
    ------
    GvtzooError
        When files are missing, do not match, or cannot be learned from.
    """
    if recipe.data.noise is not None:
        return list(noisy_images(Path(folder), split, recipe))
    if is_care(Path(folder)):
        return list(care_images(Path(folder), split, recipe))
    pairs = (read_pair(pair, split, recipe) for pair in training_pairs(folder, split, recipe.data))
    if cache is None:
        return list(pairs)
    place = Path(cache) / split
    return [keep_on_disk(pair, place / f"{number:05}") for number, pair in enumerate(pairs)]


def keep_on_disk(image: PairedImage, folder: Path) -> PairedImage:
    """The same image, with its arrays in npy files that are mapped into memory."""
    mapped = {}
    for name in ("source", "target"):
        path = folder / f"{name}.npy"
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            np.save(file, getattr(image, name), allow_pickle=False)
        mapped[name] = np.load(path, mmap_mode="r")
    return replace(image, **mapped)


class PatchDataset(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Random patches: number n is always the same one, whoever asks.

    Parameters
    ----------
    images : sequence of TrainingImage
        Each is chosen with the same probability.
    recipe : Recipe
        Its seed is, together with a patch's number, that of everything that is drawn.
    start, stop, step : int
        Numbers of the first patch and behind the last, and how far apart they are.

    Raises
    ------
    GvtzooError
        When an image is smaller than a patch.
    """

    def __init__(
        self,
        images: Sequence[TrainingImage],
        recipe: Recipe,
        start: int,
        stop: int,
        step: int = 1,
    ) -> None:
        check_patch(recipe, images)
        self.images = images
        self.patch_size = recipe.training.patch
        self.augmentation = recipe.augmentation
        self.seed = recipe.training.seed
        self.numbers = range(start, stop, step)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        generator = np.random.default_rng([self.seed, self.numbers[index]])
        image = self.images[int(generator.integers(len(self.images)))]
        first = random_patch_start(image.shape[1:], self.patch_size, generator)
        box = tuple(slice(f, f + p) for f, p in zip(first, self.patch_size, strict=True))
        pair = image.patch(box, generator)
        source, target = augment(pair, self.augmentation, generator)
        return np.ascontiguousarray(source), np.ascontiguousarray(target)


def check_patch(recipe: Recipe, images: Sequence[TrainingImage]) -> None:
    """That patches fit into every image.

    Raises
    ------
    GvtzooError
        With a patch that would fit.
    """
    patch = recipe.training.patch
    for image in images:
        sizes = image.shape[1:]
        if _fits(patch, sizes):
            continue
        problem = f"{image.name} has size {sizes}, smaller than a patch {tuple(patch)}"
        smaller = fitted_patch(recipe, images)
        if not all(_fits(smaller, other.shape[1:]) for other in images):
            least = "×".join(map(str, recipe.network.multiple))
            raise GvtzooError(
                f"{problem}, and the network takes no less than {least}: leave it out"
            )
        text = ",".join(map(str, smaller))
        raise GvtzooError(
            f"{problem}: choose smaller ones, for these images with --set training.patch=[{text}]"
        )


def fitted_patch(recipe: Recipe, images: Sequence[TrainingImage]) -> tuple[int, ...]:
    """The recipe's patch, or the largest smaller one that fits into every image.

    Not smaller than what the network takes, even where that does not fit.

    Parameters
    ----------
    recipe : Recipe
    images : sequence of TrainingImage
    """
    smallest = [min(sizes) for sizes in zip(*(image.shape[1:] for image in images), strict=True)]
    patch = [
        max(multiple, min(size, available // multiple * multiple))
        for size, available, multiple in zip(
            recipe.training.patch, smallest, recipe.network.multiple, strict=True
        )
    ]
    if recipe.augmentation.turns:
        patch[-1] = patch[-2] = min(patch[-2:])
    return tuple(patch)


def _fits(patch: Sequence[int], sizes: Sequence[int]) -> bool:
    return all(length <= size for length, size in zip(patch, sizes, strict=True))


def augment(
    pair: tuple[np.ndarray, np.ndarray],
    augmentation: AugmentationConfig,
    generator: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """Random changes: flips and turns of both in the yx plane, brightness and noise of the source.

    Parameters
    ----------
    pair : tuple of ndarray
        Source and target (channel, (z,) y, x), normalized.
    augmentation : AugmentationConfig
    generator : numpy.random.Generator
    """
    arrays: tuple[Any, ...] = pair
    if augmentation.flips:
        for axis in (-2, -1):
            if generator.random() < 0.5:
                arrays = tuple(np.flip(array, axis) for array in arrays)
    if augmentation.turns:
        turns = int(generator.integers(4))
        arrays = tuple(np.rot90(array, turns, axes=(-2, -1)) for array in arrays)
    source, target = arrays
    if augmentation.intensity:
        change = generator.uniform(-augmentation.intensity, augmentation.intensity, 2)
        source = (source * (1 + change[0]) + change[1]).astype(np.float32)
    if augmentation.noise:
        noise = generator.standard_normal(source.shape, np.float32)
        source = source + np.float32(augmentation.noise) * noise
    return source, target
