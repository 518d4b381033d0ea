"""Training patches made on the device that trains: clean stacks, varied, with a camera's noise.

A data loader cuts patches on the CPU, one by one; here a whole batch is made at once where the
network is, so that a GPU is not kept waiting. What is drawn follows from the seed and the step, as
for patches from a loader.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gvtzoo.images.normalization import PercentileNormalization
from gvtzoo.training.data.structures import synthetic_stack

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import Recipe

SYNTHETIC_SHAPE = (48, 160, 160)
SAMPLED = 2**15  # voxels of a stack that its percentiles are taken from
EPSILON = 1e-6
FIRST_STEP = 2  # numbers below it are for what is made before the first step
BLUR_RADIUS = 2  # voxels
STACK_BLUR = 1.0  # largest deviation, in voxels, of the blur that some patches get
CONTRAST = 1.8  # largest exponent; its inverse is the smallest
BACKGROUND = 0.5  # largest, as a share of the bright structures
GRAINY = 0.8  # of patches have noise in their truth
OWN_STATISTICS = 0.3  # of patches are normalized by themselves, as crops are
HOT = 10.0  # brightness of the hottest pixels, in deviations of the noise


class PatchSimulator:
    """Batches of noisy source patches and clean targets, on a device.

    Each patch is cut out of a clean stack (or a synthetic one) turned by any angle in the plane,
    with voxels scaled in the plane and along z; some are blurred, mixed with another, given
    another contrast or a background. Then photons are counted and read out, as
    `Simulation <gvtzoo.recipes.recipe.Simulation>` says.

    Parameters
    ----------
    intensities : sequence of ndarray
        Clean stacks, (z, y, x) or (y, x), between 0 and about 1.
    recipe : Recipe
        With ``data.simulation``.
    device : torch.device
    size : int
        Patches of a batch.
    """

    def __init__(
        self,
        intensities: Sequence[np.ndarray],
        recipe: Recipe,
        device: torch.device,
        size: int,
    ) -> None:
        simulation = recipe.data.simulation
        assert simulation is not None
        normalization = recipe.normalization.source
        assert isinstance(normalization, PercentileNormalization)
        self.settings = simulation
        self.ranks = (normalization.low / 100, normalization.high / 100)
        self.device = device
        self.seed = recipe.training.seed
        self.flat = recipe.network.dimensions == 2
        patch = recipe.training.patch
        self.patch = (1, *patch) if self.flat else patch
        self.size = size
        real = [self._put(image) for image in intensities]
        if simulation.halve:
            real += [half for half in map(halved, real) if min(half.shape[1:]) >= 16]
        self.stacks = real + self._synthetic(simulation.synthetic_stacks)
        self.real = len(real)
        self.samples = torch.stack([self._sample(stack) for stack in self.stacks])

    def _put(self, image: np.ndarray) -> Tensor:
        stack = torch.as_tensor(np.ascontiguousarray(image, np.float32), device=self.device)
        return stack[None] if stack.ndim == 2 else stack

    def _synthetic(self, count: int) -> list[Tensor]:
        if self.settings.synthetic == 0:
            return []
        generator = self._generator(-1)
        shape = (1, *SYNTHETIC_SHAPE[1:]) if self.flat else SYNTHETIC_SHAPE
        return [synthetic_stack(number, shape, generator) for number in range(count)]

    def _generator(self, step: int) -> torch.Generator:
        state = np.random.SeedSequence([self.seed, step + FIRST_STEP]).generate_state(1, np.uint64)
        return torch.Generator(self.device).manual_seed(int(state[0] >> np.uint64(1)))

    def _sample(self, stack: Tensor) -> Tensor:
        """Voxels of a whole stack, for its percentiles."""
        generator = self._generator(-2)
        places = torch.randint(stack.numel(), (SAMPLED,), generator=generator, device=self.device)
        return stack.flatten()[places]

    @torch.no_grad()
    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Source and target of a step, (batch, 1, (z,) y, x), normalized, float32."""
        with torch.autocast(self.device.type, enabled=False):
            return self._batch(step)

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        draw = _Draw(self._generator(step), self.size)
        chosen = [self._choose(draw) for _ in range(self.size)]
        clean = self._cut([self.stacks[n] for n in chosen], draw)
        sampled = self.samples[chosen]
        clean = self._grain(clean, draw)
        clean = blur(clean, draw.sometimes(0.4, draw.uniform(0, STACK_BLUR)), flat=self.flat)
        clean, sampled = self._vary(clean, sampled, draw)
        source, target, noise = self._expose(clean, draw)
        low, high = self._percentiles(source, sampled, noise, draw)
        scale = (high - low + EPSILON)[:, None, None, None]
        offset = low[:, None, None, None]
        pair = ((image - offset) / scale for image in (source, target))
        source, target = (image if self.flat else image[:, None] for image in pair)
        return source, target

    def _choose(self, draw: _Draw) -> int:
        """The number of a stack."""
        kind, place = draw.numbers(2)
        if kind < self.settings.synthetic and self.real < len(self.stacks):
            return self.real + int(place * (len(self.stacks) - self.real))
        return int(place * self.real)

    def _cut(self, stacks: Sequence[Tensor], draw: _Draw) -> Tensor:
        """A patch of each stack: turned, mirrored, its voxels scaled."""
        places = np.stack([self._place(stack, draw) for stack in stacks])
        grids = functional.affine_grid(
            torch.tensor(places, dtype=torch.float32, device=self.device),
            [len(stacks), 1, *self.patch],
            align_corners=False,
        )
        cut = [
            functional.grid_sample(
                stack[None, None], grid[None], padding_mode="reflection", align_corners=False
            )
            for stack, grid in zip(stacks, grids, strict=True)
        ]
        return torch.cat(cut)[:, 0]

    def _place(self, stack: Tensor, draw: _Draw) -> np.ndarray:
        """Where a patch comes from, as `torch.nn.functional.affine_grid` takes it."""
        number = draw.numbers(8)
        zoom = _between(self.settings.zoom, number[0])
        along_z = 1.0 if self.flat else zoom * _between(self.settings.anisotropy, number[1])
        angle = 2 * math.pi * number[2]
        cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
        mirror = -1.0 if number[3] < 0.5 else 1.0
        upside_down = -1.0 if number[4] < 0.5 else 1.0
        # Rows for x, y, z of the stack, of x, y, z of the patch, in voxels.
        matrix = np.array(
            [
                [mirror * cosine, -sine, 0],
                [mirror * sine, cosine, 0],
                [0, 0, upside_down / along_z],
            ]
        )
        sizes, patch = (np.array(shape[::-1]) for shape in (stack.shape, self.patch))
        reach = np.abs(matrix) @ (patch / 2)
        room = np.maximum(sizes / 2 - reach, 0)
        center = (2 * np.array(number[5:8]) - 1) * room
        return np.concatenate(
            [matrix * patch / sizes[:, None], (center * 2 / sizes)[:, None]], axis=1
        )

    def _grain(self, clean: Tensor, draw: _Draw) -> Tensor:
        """Some stacks with noise of their own, which belongs to what is to be restored."""
        photons = _over(draw.log_uniform(*self.settings.grain), clean)
        read_noise = _over(draw.log_uniform(*self.settings.read_noise), clean)
        counts = torch.poisson(clean.clamp_min(0) * photons, generator=draw.generator)
        grainy = (counts + read_noise * draw.normal_like(clean)).clamp_min(0) / photons
        return torch.where(_over(draw.chance(GRAINY), clean), grainy, clean)

    def _vary(self, clean: Tensor, sampled: Tensor, draw: _Draw) -> tuple[Tensor, Tensor]:
        """Mixed with another, of another contrast, on a background: patches and samples alike."""
        share = draw.sometimes(self.settings.mix, draw.uniform(0, 0.5))
        exponent = draw.sometimes(0.5, draw.uniform(-1, 1) * math.log(CONTRAST)).exp()
        background = draw.sometimes(0.5, draw.uniform(0, BACKGROUND))

        def vary(values: Tensor) -> Tensor:
            a, c, b = (_over(numbers, values) for numbers in (share, exponent, background))
            mixed = (1 - a) * values + a * values.roll(1, 0)
            return (mixed.clamp_min(1e-6) ** c + b) / (1 + b)

        return vary(clean), vary(sampled)

    def _expose(self, clean: Tensor, draw: _Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Counts, expected counts, and the settings of the noise (for `_count`)."""
        noise = torch.stack(
            [
                draw.log_uniform(*self.settings.photons),
                draw.log_uniform(*self.settings.read_noise),
                draw.sometimes(0.7, draw.log_uniform(*self.settings.gain)),
            ]
        )
        counted = self._count(clean, noise, draw)
        expected = clean * _over(noise[0], clean)
        error = counted - expected
        width = draw.sometimes(0.4, draw.uniform(0, self.settings.correlation))
        spread = blur(error, width, flat=True)
        strength = (error.std((1, 2, 3)) / (spread.std((1, 2, 3)) + EPSILON))[:, None, None, None]
        error = spread * strength
        share = draw.sometimes(0.4, draw.uniform(0, self.settings.hot_pixels))
        hot = draw.like(clean) < _over(share, clean)
        heat = HOT * draw.like(clean) * _over(error.std((1, 2, 3)), clean)
        return expected + error + hot * heat, expected, noise

    def _count(self, clean: Tensor, noise: Tensor, draw: _Draw) -> Tensor:
        """Electrons: photons are Poisson-distributed, read-out and rounding add to them."""
        photons, read_noise, gain = (_over(setting, clean) for setting in noise)
        counts = torch.poisson(clean * photons, generator=draw.generator)
        counts = counts + read_noise * draw.normal_like(clean)
        return torch.where(gain > 0, (counts * gain).round() / gain.clamp_min(EPSILON), counts)

    def _percentiles(
        self, source: Tensor, sampled: Tensor, noise: Tensor, draw: _Draw
    ) -> tuple[Tensor, Tensor]:
        """Of the whole stacks that the patches are of, or of some patches themselves."""
        whole = _quantiles(self._count(sampled, noise, draw), self.ranks)
        own = _quantiles(source.flatten(1), self.ranks)
        by_itself = draw.chance(OWN_STATISTICS)
        low, high = (torch.where(by_itself, o, w) for o, w in zip(own, whole, strict=True))
        return low, high


class _Draw:
    """Random numbers of one batch."""

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self.generator = generator
        self.count = count
        # Few numbers one by one come from the CPU: reading them from a GPU would stop it.
        self.cpu = np.random.default_rng(generator.initial_seed())

    def uniform(self, low: float, high: float) -> Tensor:
        """One number for each patch."""
        numbers = torch.rand(self.count, generator=self.generator, device=self.generator.device)
        return low + (high - low) * numbers

    def log_uniform(self, low: float, high: float) -> Tensor:
        """The same, as likely in every octave."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def chance(self, probability: float) -> Tensor:
        """True for this share of the patches."""
        return self.uniform(0, 1) < probability

    def sometimes(self, probability: float, numbers: Tensor) -> Tensor:
        """The numbers for this share of the patches, 0 for the others."""
        return numbers * self.chance(probability)

    def numbers(self, count: int) -> list[float]:
        """Uniform numbers between 0 and 1, for one patch."""
        return list(self.cpu.random(count))

    def like(self, image: Tensor) -> Tensor:
        """Uniform numbers between 0 and 1."""
        return torch.rand(image.shape, generator=self.generator, device=image.device)

    def normal_like(self, image: Tensor) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(image.shape, generator=self.generator, device=image.device)


def blur(images: Tensor, width: Tensor, *, flat: bool) -> Tensor:
    """Gaussian blur of each image (batch, z, y, x) with its own deviation, in voxels, up to 1.

    `flat`: not along z.

    Parameters
    ----------
    images : Tensor
        (batch, z, y, x); beyond the border the last voxel is repeated.
    width : Tensor
        (batch,), in voxels.
    flat : bool
        Not along z.
    """
    places = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=images.device)
    weights = torch.exp(-(places**2) / (2 * width[:, None].clamp_min(1e-3) ** 2))
    weights = weights / weights.sum(1, keepdim=True)
    for axis in (2, 3) if flat else (1, 2, 3):
        size = images.shape[axis]
        padded = torch.cat(
            [
                images.narrow(axis, 0, 1).expand(_with(images.shape, axis, BLUR_RADIUS)),
                images,
                images.narrow(axis, size - 1, 1).expand(_with(images.shape, axis, BLUR_RADIUS)),
            ],
            dim=axis,
        )
        images = sum(
            (
                weights[:, n, None, None, None] * padded.narrow(axis, n, size)
                for n in range(len(places))
            ),
            torch.zeros((), device=images.device),
        )
    return images


def halved(stack: Tensor) -> Tensor:
    """(z, y, x) at half the resolution in the plane: each voxel the mean of four, so cleaner."""
    return functional.avg_pool2d(stack[:, None], 2)[:, 0]


def _between(limits: tuple[float, float], number: float) -> float:
    """Log-uniform between the limits, for a uniform number."""
    low, high = map(math.log, limits)
    return math.exp(low + (high - low) * number)


def _quantiles(values: Tensor, ranks: tuple[float, float]) -> tuple[Tensor, Tensor]:
    ordered = values.sort(dim=1).values
    last = values.shape[1] - 1
    low, high = (ordered[:, round(rank * last)] for rank in ranks)
    return low, high


def _over(numbers: Tensor, images: Tensor) -> Tensor:
    """One number for each image, shaped to be multiplied with them."""
    return numbers.reshape(-1, *[1] * (images.ndim - 1))


def _with(shape: Sequence[int], axis: int, size: int) -> list[int]:
    return [size if n == axis else s for n, s in enumerate(shape)]
