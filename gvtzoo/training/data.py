"""Images for training: pairs on disk, or clean images with camera noise added on the fly.

Every source of images gives `TrainingImage`s. Which patch is cut, which noise is drawn and how
it is augmented follow from the seed and the patch's number alone, not from what was drawn before:
so a training continues exactly where it stopped, with any number of workers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from torch.utils.data import Dataset

from gvtzoo.errors import GvtzooError
from gvtzoo.evaluation.camera import expose, relative_intensity
from gvtzoo.images.checks import check_image
from gvtzoo.images.files import find_images, read_image
from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.images.patches import random_patch_start

if TYPE_CHECKING:
    from gvtzoo.training.recipe import (
        AugmentationConfig,
        CameraNoise,
        DataConfig,
        NormalizationConfig,
        Recipe,
        Region,
    )

Split = Literal["train", "val", "test"]
Box = tuple[slice, ...]


class TrainingImage(Protocol):
    """A source image and its target.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Of the source, (channel, (z,) y, x).
    calibration : mapping
        The source's ``pixel_size`` by axis and its ``unit``, as far as the file tells.
    """

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def calibration(self) -> Mapping[str, Any]: ...

    def raw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The whole source and target in their own units, (channel, …)."""

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Source and target inside `box` (spatial slices), normalized, float32, (channel, …)."""


@dataclass(frozen=True)
class PairedImage:
    """A source image and a target image from files."""

    name: str
    calibration: Mapping[str, Any]
    source: np.ndarray
    target: np.ndarray
    source_normalization: FittedNormalization
    target_normalization: FittedNormalization

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def raw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.source, self.target

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        # A 2D target of a 3D source takes the patch's y and x.
        target_box = box[len(box) - (self.target.ndim - 1) :]
        return (
            self.source_normalization.apply(self.source[(slice(None), *box)]),
            self.target_normalization.apply(self.target[(slice(None), *target_box)]),
        )


@dataclass(frozen=True)
class NoisyImage:
    """A clean image that gets fresh camera noise of one level whenever it is read.

    `intensity` is the clean image between 0 (background) and about 1 (its 99.8 percentile).
    """

    name: str
    calibration: Mapping[str, Any]
    intensity: np.ndarray
    photons: float
    noise: CameraNoise
    source_normalization: FittedNormalization
    target_normalization: FittedNormalization

    @property
    def shape(self) -> tuple[int, ...]:
        return self.intensity.shape

    def raw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self._expose(self.intensity, generator), self._expected(self.intensity)

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        intensity = self.intensity[(slice(None), *box)]
        return (
            self.source_normalization.apply(self._expose(intensity, generator)),
            self.target_normalization.apply(self._expected(intensity)),
        )

    def _expose(self, intensity: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return expose(
            intensity,
            photons=self.photons,
            read_noise=self.noise.read_noise,
            offset=self.noise.offset,
            generator=generator,
        )

    def _expected(self, intensity: np.ndarray) -> np.ndarray:
        """What the camera would count without noise."""
        return (intensity * self.photons + self.noise.offset).astype(np.float32)


def load_images(folder: str | Path, split: Split, recipe: Recipe) -> list[TrainingImage]:
    """The images of one split of a data folder, as a recipe wants them.

    Parameters
    ----------
    folder : path
        ``source/`` and ``target/`` with the same file names, optionally below ``train/``,
        ``val/`` and ``test/``; or a CSV file with columns ``source``, ``target`` and optionally
        ``split``; or, for recipes that add noise, a folder of clean images.

    Raises
    ------
    GvtzooError
        When files are missing, do not match, or cannot be learned from.
    """
    if recipe.data.noise is not None:
        return list(_noisy_images(Path(folder), split, recipe))
    pairs = find_pairs(folder, split)
    return [_read_pair(source, target, split, recipe) for source, target in pairs]


def find_pairs(folder: str | Path, split: Split) -> list[tuple[Path, Path]]:
    """Source and target files of one split; those of an unsplit folder are all ``train``."""
    folder = Path(folder)
    if folder.suffix == ".csv":
        return _pairs_of_csv(folder, split)
    if not folder.is_dir():
        raise GvtzooError(f"no data folder at {folder}: it needs source/ and target/, or a CSV")
    divided = any((folder / name).is_dir() for name in ("train", "val", "test"))
    if not divided and split != "train":
        return []
    root = folder / split if divided else folder
    if not root.is_dir():
        return []
    for name in ("source", "target"):
        if not (root / name).is_dir():
            raise GvtzooError(f"{root} has no folder {name}/: put the {name} images there")
    sources = {path.name: path for path in find_images(root / "source")}
    targets = {path.name: path for path in find_images(root / "target")}
    lonely = sorted(set(sources) ^ set(targets))
    if lonely:
        where = "target" if lonely[0] in sources else "source"
        raise GvtzooError(
            f"{root}: {lonely[0]} has no partner in {where}/ ({len(lonely)} such files)"
        )
    return [(sources[name], targets[name]) for name in sorted(sources)]


def _pairs_of_csv(path: Path, split: Split) -> list[tuple[Path, Path]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = {"source", "target"} - set(rows[0] if rows else ())
    if missing:
        raise GvtzooError(f"{path} lacks the column {sorted(missing)[0]!r}: it needs source,target")
    return [
        (path.parent / row["source"], path.parent / row["target"])
        for row in rows
        if (row.get("split") or "train") == split
    ]


def _read_pair(source_path: Path, target_path: Path, split: Split, recipe: Recipe) -> PairedImage:
    data, network = recipe.data, recipe.network
    source, calibration = as_channels(
        source_path, network.input_channels, network.dimensions, channel=data.channel
    )
    target, _ = as_channels(
        target_path, network.output_channels, network.output_dimensions, channel=data.target_channel
    )
    spatial = source.shape[1:]
    if target.shape[1:] != spatial[len(spatial) - (target.ndim - 1) :]:
        raise GvtzooError(
            f"{source_path.name}: source {spatial} and target {target.shape[1:]} differ in size"
        )
    source_fit, target_fit = fit(source, target, recipe.normalization)
    return PairedImage(
        source_path.stem,
        calibration,
        cut_region(source, split, data),
        cut_region(target, split, data),
        source_fit,
        target_fit,
    )


def as_channels(
    path: Path, channels: int, dimensions: int, *, channel: int | str | None
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """An image file as (channel, (z,) y, x), and its calibration.

    Raises
    ------
    GvtzooError
        When it has other axes, or nothing can be learned from it.
    """
    image = read_image(path, channel=channel, keep_channels=channels > 1)
    axes = ("c",) * (channels > 1) + ("z", "y", "x")[-dimensions:]
    if dimensions == 3 and "z" not in image.dims:
        raise GvtzooError(
            f"{path.name} has axes {''.join(map(str, image.dims))}: a stack is needed"
        )
    if set(image.dims) != set(axes):
        raise GvtzooError(
            f"{path.name} has axes {''.join(map(str, image.dims)).upper()}, "
            f"the network takes {''.join(axes).upper()}"
        )
    array = image.transpose(*axes).to_numpy()
    try:
        check_image(array)
    except GvtzooError as error:
        raise GvtzooError(f"{path.name}: {error}") from error
    calibration = {key: image.attrs.get(key) for key in ("pixel_size", "unit")}
    return (array if channels > 1 else array[np.newaxis]), calibration


def fit(
    source: np.ndarray, target: np.ndarray, normalization: NormalizationConfig
) -> tuple[FittedNormalization, FittedNormalization]:
    """Offset and scale of a source image and of its target."""
    source_fit = normalization.source.fit(source)
    if normalization.target == "as_source":
        return source_fit, source_fit
    return source_fit, normalization.target.fit(target)


def cut_region(array: np.ndarray, split: Split, data: DataConfig) -> np.ndarray:
    """The part of an image (channel, …) that belongs to a split."""
    if data.regions is None:
        return array
    return array[region_box(data.regions.get(split, {}), array.ndim - 1)]


def region_box(region: Region, dimensions: int) -> Box:
    """Slices of (channel, (z,) y, x) for a recipe's region."""
    axes: Sequence[Literal["z", "y", "x"]] = ("z", "y", "x")
    spatial = axes[-dimensions:]
    return (slice(None), *(slice(*region.get(axis, (None, None))) for axis in spatial))


def _noisy_images(folder: Path, split: Split, recipe: Recipe) -> Iterator[NoisyImage]:
    noise, network = recipe.data.noise, recipe.network
    assert noise is not None
    for path in find_images(folder):
        clean, calibration = as_channels(path, 1, network.dimensions, channel=recipe.data.channel)
        intensity = cut_region(relative_intensity(clean), split, recipe.data)
        for photons in noise.photons:
            unfitted = NoisyImage(
                f"{path.stem}, {photons:g} photons",
                calibration,
                intensity,
                photons,
                noise,
                RAW,
                RAW,
            )
            # Statistics of one noisy image of this level; of another they would be the same.
            noisy, expected = unfitted.raw(np.random.default_rng(recipe.training.seed))
            source_fit, target_fit = fit(noisy, expected, recipe.normalization)
            yield replace(
                unfitted, source_normalization=source_fit, target_normalization=target_fit
            )


RAW = FittedNormalization(0.0, 1.0)


class PatchDataset(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Random patches: number n is always the same one, whoever asks.

    Parameters
    ----------
    images : sequence of TrainingImage
        Each is chosen with the same probability.
    patch : tuple of int
        (z,) y, x.
    start, stop : int
        Numbers of the first patch and behind the last.

    Raises
    ------
    GvtzooError
        When an image is smaller than a patch.
    """

    def __init__(
        self,
        images: Sequence[TrainingImage],
        patch: tuple[int, ...],
        augmentation: AugmentationConfig,
        seed: int,
        start: int,
        stop: int,
    ) -> None:
        for image in images:
            if any(s < p for s, p in zip(image.shape[1:], patch, strict=True)):
                raise GvtzooError(
                    f"{image.name} has size {image.shape[1:]}, smaller than a patch {patch}: "
                    "choose smaller ones with --set training.patch=[…]"
                )
        self.images = images
        self.patch_size = patch
        self.augmentation = augmentation
        self.seed = seed
        self.start, self.stop = start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        generator = np.random.default_rng([self.seed, self.start + index])
        image = self.images[int(generator.integers(len(self.images)))]
        first = random_patch_start(image.shape[1:], self.patch_size, generator)
        box = tuple(slice(f, f + p) for f, p in zip(first, self.patch_size, strict=True))
        pair = image.patch(box, generator)
        source, target = augment(pair, self.augmentation, generator)
        return np.ascontiguousarray(source), np.ascontiguousarray(target)


def augment(
    pair: tuple[np.ndarray, np.ndarray],
    augmentation: AugmentationConfig,
    generator: np.random.Generator,
) -> tuple[np.ndarray, ...]:
    """The same random flips and turns in the yx plane for source and target."""
    arrays: tuple[Any, ...] = pair
    if augmentation.flips:
        for axis in (-2, -1):
            if generator.random() < 0.5:
                arrays = tuple(np.flip(array, axis) for array in arrays)
    if augmentation.turns:
        turns = int(generator.integers(4))
        arrays = tuple(np.rot90(array, turns, axes=(-2, -1)) for array in arrays)
    return arrays
