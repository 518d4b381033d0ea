"""Images for training: pairs on disk, or clean images with camera noise added on the fly.

Every source of images gives `TrainingImage`s. Which patch is cut, which noise is drawn and how
it is augmented follow from the seed and the patch's number alone, not from what was drawn before:
so a training continues exactly where it stopped, with any number of workers.
"""

from __future__ import annotations

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
from gvtzoo.images.resampling import resample_in_plane
from gvtzoo.training.pairs import Pair, Split, find_pairs
from gvtzoo.training.surface import simulate_surface

if TYPE_CHECKING:
    from gvtzoo.training.recipe import (
        AugmentationConfig,
        CameraNoise,
        DataConfig,
        NormalizationConfig,
        Recipe,
        Region,
        Surface,
    )

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
        return (
            self.source_normalization.apply(self.source[(slice(None), *box)]),
            self.target_normalization.apply(
                self.target[(slice(None), *target_box(box, self.target))]
            ),
        )


def target_box(box: Box, target: np.ndarray) -> Box:
    """The part of a patch's slices that a target (channel, …) has: y and x of a 2D target."""
    return box[len(box) - (target.ndim - 1) :]


@dataclass(frozen=True)
class NoisyImage:
    """A clean image that gets fresh camera noise of one level whenever it is read.

    `intensity` is the clean image between 0 (background) and about 1 (its 99.8 percentile), and
    `truth` what the network shall make of it, in the same units: the same, or its projection.
    """

    name: str
    calibration: Mapping[str, Any]
    intensity: np.ndarray
    truth: np.ndarray
    photons: float
    noise: CameraNoise
    source_normalization: FittedNormalization
    target_normalization: FittedNormalization

    @property
    def shape(self) -> tuple[int, ...]:
        return self.intensity.shape

    def raw(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self._expose(self.intensity, generator), self._expected(self.truth)

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        noisy = self._expose(self.intensity[(slice(None), *box)], generator)
        truth = self.truth[(slice(None), *target_box(box, self.truth))]
        return (
            self.source_normalization.apply(noisy),
            self.target_normalization.apply(self._expected(truth)),
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
        As `gvtzoo.training.pairs.find_pairs` takes it; or, for recipes that add noise, a folder of
        clean images.

    Raises
    ------
    GvtzooError
        When files are missing, do not match, or cannot be learned from.
    """
    if recipe.data.noise is not None:
        return list(_noisy_images(Path(folder), split, recipe))
    return [_read_pair(pair, split, recipe) for pair in find_pairs(folder, split, recipe.data)]


def _read_pair(pair: Pair, split: Split, recipe: Recipe) -> PairedImage:
    data, network = recipe.data, recipe.network
    source, calibration = as_channels(
        pair.source,
        network.input_channels,
        network.dimensions,
        channel=pair.channel,
        data=data,
        planes_as_channels=data.planes_as_channels,
    )
    target, _ = as_channels(
        pair.target,
        network.output_channels,
        network.output_dimensions,
        channel=pair.target_channel,
        data=data,
    )
    spatial = source.shape[1:]
    if target.shape[1:] != spatial[len(spatial) - (target.ndim - 1) :]:
        raise GvtzooError(
            f"{pair.source.name}: source {spatial} and target {target.shape[1:]} differ in size"
        )
    source_fit, target_fit = fit(source, target, recipe.normalization)
    return PairedImage(
        pair.source.stem,
        calibration,
        cut_region(source, split, data),
        cut_region(target, split, data),
        source_fit,
        target_fit,
    )


def as_channels(
    path: Path,
    channels: int,
    dimensions: int,
    *,
    channel: int | str | None,
    data: DataConfig,
    planes_as_channels: bool = False,
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """An image file as (channel, (z,) y, x) with the recipe's pixel size, and its calibration.

    Raises
    ------
    GvtzooError
        When it has other axes, or nothing can be learned from it.
    """
    image = read_image(path, channel=channel, keep_channels=channels > 1 and channel is None)
    if planes_as_channels and "c" not in image.dims:
        image = image.rename(z="c") if "z" in image.dims else image
    if dimensions == 2 and image.sizes.get("z") == 1:
        image = image.isel(z=0, drop=True)
    axes = ("c",) * (channels > 1) + ("z", "y", "x")[-dimensions:]
    if set(image.dims) != set(axes):
        raise GvtzooError(
            f"{path.name} has axes {''.join(map(str, image.dims)).upper()}, "
            f"the network takes {''.join(axes).upper()}"
        )
    if channels > 1 and image.sizes["c"] != channels:
        what = "planes" if planes_as_channels else "channels"
        raise GvtzooError(
            f"{path.name} has {image.sizes['c']} {what}, the network takes {channels}"
        )
    if data.pixel_size is not None:
        image = resample_in_plane(image, data.pixel_size, data.recorded_pixel_size)
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
    noise = recipe.data.noise
    assert noise is not None
    for name, calibration, clean, truth in _clean_images(folder, recipe):
        intensity = cut_region(clean, split, recipe.data)
        target = cut_region(truth, split, recipe.data)
        for photons in noise.photons:
            unfitted = NoisyImage(
                f"{name}, {photons:g} photons",
                calibration,
                intensity,
                target,
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


def _clean_images(
    folder: Path, recipe: Recipe
) -> Iterator[tuple[str, Mapping[str, Any], np.ndarray, np.ndarray]]:
    """Name, calibration, relative intensity and truth (channel, …) of a folder's clean images."""
    data, dimensions = recipe.data, recipe.network.dimensions
    if data.surface is not None:
        yield _surface_image(folder, data.surface, recipe)
        return
    for path in find_images(folder):
        clean, calibration = as_channels(path, 1, dimensions, channel=data.channel, data=data)
        intensity = relative_intensity(clean)
        yield path.stem, calibration, intensity, intensity


def _surface_image(
    folder: Path, surface: Surface, recipe: Recipe
) -> tuple[str, Mapping[str, Any], np.ndarray, np.ndarray]:
    images = [
        as_channels(folder / name, 1, 2, channel=None, data=recipe.data)
        for name in (surface.height, surface.cells)
    ]
    (height, calibration), (cells, _) = images
    simulated = simulate_surface(
        height[0] + surface.margin,
        cells[0],
        planes=surface.planes,
        attenuation=surface.attenuation,
        generator=np.random.default_rng(recipe.training.seed),
    )
    stack = simulated.stack if recipe.network.dimensions == 2 else simulated.stack[np.newaxis]
    return "surface", calibration, stack, simulated.projection[np.newaxis]


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
