"""Training images without clean truth: frames of a time series, or blind spots of a single image.

Frames: the target of each frame is a neighbouring one, whose noise is independent of its own
(Lehtinen et al., *Noise2Noise: Learning Image Restoration without Clean Data*, ICML 2018).

Blind spots: some voxels of an image are replaced, and the network predicts what they were from
those around them, which know nothing of their noise (Krull, Buchholz & Jug, *Noise2Void - Learning
Denoising from Single Noisy Images*, CVPR 2019). They are replaced by a random neighbour. Not by the
median of the neighbourhood, which belongs to the changes of N2V2 (Höck et al., *N2V2 - Fixing
Noise2Void Checkerboard Artifacts with Modified Sampling Strategies and a Tweaked Network
Architecture*, ECCV Workshops 2022) as much as taking away what carries a network's input to its
output: these networks add their input, and one that only passes on a median has next to no error at
blind spots, and denoises nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import read_image
from gvtzoo.metrics.noise import NoiseModel
from gvtzoo.recipes.recipe import Recipe, with_settings
from gvtzoo.training.data.held_out import divide
from gvtzoo.training.data.images import Box, PairedImage, TrainingImage
from gvtzoo.training.data.reading import as_channels, calibration

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import WithoutTruth

log = logging.getLogger(__name__)

BLIND_SHARE = 0.01  # of the voxels of a patch
RADIUS = 2  # voxels, of the neighbourhood that replaces a blind spot
SHARE = 0.75  # of the photons of an image, that predictions are made from to be judged
ENOUGH_FRAMES = 6  # from here on whole frames are held out
HELD_OUT = 0.25


@dataclass(frozen=True)
class BlindSpotImage(PairedImage):
    """A noisy image that is its own target, at a few voxels that its source does not show.

    All other voxels of a patch's target are not a number, and do not count in losses.
    """

    def patch(self, box: Box, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The box with blind spots filled, and its values at these spots, normalized; else NaN."""
        noisy = self.source_normalization.apply(self.source[(slice(None), *box)])
        spots = generator.random(noisy.shape) < BLIND_SHARE
        if not spots.any():
            spots[tuple(int(generator.integers(size)) for size in spots.shape)] = True
        target = np.where(spots, noisy, np.float32(np.nan))
        source = noisy.copy()
        source[spots] = random_neighbours(noisy, spots, generator)
        return source, target


def random_neighbours(
    image: np.ndarray, spots: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The value of a random voxel around each spot, within `RADIUS` along each axis.

    Not its own, but where the image, mirrored at its borders, leads back to it.

    Parameters
    ----------
    image : ndarray
        (channel, (z,) y, x).
    spots : ndarray of bool
        Of the same shape.
    generator : numpy.random.Generator
    """
    places = np.argwhere(spots)
    offsets = np.array(
        [o for o in product(range(-RADIUS, RADIUS + 1), repeat=image.ndim - 1) if any(o)]
    )
    found = places.copy()
    found[:, 1:] += generator.choice(offsets, len(places))
    last = np.array(image.shape[1:]) - 1
    around = np.abs(found[:, 1:])  # mirrored at the borders
    found[:, 1:] = np.clip(last - np.abs(last - around), 0, last)
    return image[tuple(found.T)]


@dataclass(frozen=True)
class Noisy:
    """What is learned from noisy images.

    Attributes
    ----------
    training, held_out : sequence of TrainingImage
    described : str
        What is held out.
    """

    training: Sequence[TrainingImage]
    held_out: Sequence[TrainingImage]
    described: str

    @property
    def judged(self) -> list[PairedImage]:
        """Held-out images to judge predictions by: two recordings of the same, whose noise is
        independent. Those of blind spots are made of one image, by dividing its photons.
        """
        return [
            halves(image, np.random.default_rng(number))
            if isinstance(image, BlindSpotImage)
            else image
            for number, image in enumerate(self.held_out)
            if isinstance(image, PairedImage)
        ]


def halves(image: BlindSpotImage, generator: np.random.Generator) -> PairedImage:
    """Most of an image's photons as the source, the rest as the target."""
    split = [NoiseModel.of(channel).split(channel, SHARE, generator) for channel in image.source]
    source, target = (np.stack([part[n] for part in split]) for n in range(2))
    fitted = image.source_normalization
    return PairedImage(image.name, image.calibration, source, target, fitted, fitted, image.files)


def read_noisy(paths: Sequence[str | Path], recipe: Recipe) -> tuple[Recipe, Noisy]:
    """Images for a training without truth: frames where all files have several, else blind spots.

    The recipe's loss becomes a squared one, whose best prediction is the mean, that is the clean
    image, whatever the noise's distribution; σ then includes the noise of the target. Of many
    frames, the last quarter is held out; of fewer, or of single images, a band of each.

    Parameters
    ----------
    paths : sequence of path
        With the axes that the recipe's network takes, and t.
    recipe : Recipe

    Raises
    ------
    GvtzooError
        When an image does not suit the network, or is too small to be divided.
    """
    if (
        recipe.task != "denoising"
        or recipe.network.input_channels != recipe.network.output_channels
    ):
        raise GvtzooError(
            "only a denoising network can learn from noisy images alone: "
            f"{recipe.name} is for {recipe.task.replace('_', ' ')}; give it pairs with --data"
        )
    series = [_frames(Path(path), recipe) for path in paths]
    if all(len(frames) > 1 for frames in series):
        log.warning("learning from neighbouring frames (Noise2Noise): their noise is independent")
        few = min(len(frames) for frames in series) < ENOUGH_FRAMES
        kept = [frames if few else frames[: -_held_out_count(frames)] for frames in series]
        pairs = [pair for frames in kept for pair in _neighbours(frames)]
        if few:
            parts = [divide(pair, recipe.network.multiple) for pair in pairs]
            described = f"a band of {HELD_OUT:.0%} of the frames, held out"
            noisy = Noisy([p[0] for p in parts], [p[1] for p in parts], described)
            return _without_truth(recipe, "frames"), noisy
        last = [frames[-_held_out_count(frames) :] for frames in series]
        held_out = [pair for frames in last for pair in _neighbours(frames)[::2]]
        noisy = Noisy(pairs, held_out, f"{sum(map(len, last))} frames, held out")
        return _without_truth(recipe, "frames"), noisy
    log.warning("learning from blind spots (Noise2Void): the noise must not be correlated")
    images = [frame for frames in series for frame in frames]
    parts = [divide(image, recipe.network.multiple) for image in images]
    what = "the image" if len(images) == 1 else f"each of {len(images)} images"
    described = f"a band of {HELD_OUT:.0%} of {what}, held out"
    noisy = Noisy([p[0] for p in parts], [p[1] for p in parts], described)
    return _without_truth(recipe, "blind_spots"), noisy


def _without_truth(recipe: Recipe, kind: WithoutTruth) -> Recipe:
    loss = "mse_with_uncertainty" if recipe.network.uncertainty else "mse"
    return with_settings(
        recipe,
        data={"without_truth": kind, "noise": None, "regions": None, "files": None},
        normalization={"target": "as_source", "target_units": None},
        training={"loss": loss, "sigma_weight": 1.0},
    )


def _held_out_count(frames: Sequence[PairedImage]) -> int:
    return max(2, round(HELD_OUT * len(frames)))


def _frames(path: Path, recipe: Recipe) -> list[BlindSpotImage]:
    """Every time of a file, as its own target."""
    network = recipe.network
    image = read_image(path, channel=recipe.data.channel, keep_channels=network.input_channels > 1)
    times = (
        [image.isel(t=n, drop=True) for n in range(image.sizes["t"])]
        if "t" in image.dims
        else [image]
    )
    return [
        _frame(f"{path.stem}, frame {number}" if len(times) > 1 else path.stem, time, path, recipe)
        for number, time in enumerate(times)
    ]


def _frame(name: str, image: xr.DataArray, path: Path, recipe: Recipe) -> BlindSpotImage:
    network = recipe.network
    array = as_channels(
        image.assign_attrs(image.attrs),
        network.input_channels,
        network.dimensions,
        data=recipe.data,
    )
    fitted = recipe.normalization.source.fit(array)
    known = calibration(image, recipe.data)
    return BlindSpotImage(name, known, array, array, fitted, fitted, (path,))


def _neighbours(frames: Sequence[BlindSpotImage]) -> list[PairedImage]:
    """Each frame with the one after it, and with the one before it."""
    pairs = []
    for first, second in pairwise(frames):
        for source, target in ((first, second), (second, first)):
            pairs.append(
                PairedImage(
                    source.name,
                    source.calibration,
                    source.source,
                    target.source,
                    source.source_normalization,
                    source.source_normalization,
                    source.files,
                )
            )
    return pairs
