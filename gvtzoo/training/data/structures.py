"""Stacks of synthetic structures: filaments, membranes, nuclei, spots, textures, cells.

Real stacks for a training are few, and show few things. These show many: most are made of smooth
random fields, whose level sets are sheets, the crossings of two such sets lines, and their peaks
round bodies. All are seen through a microscope's blur, wider along z than in the plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Shape = tuple[int, int, int]

BRIGHT = 0.998  # quantile that becomes 1
MOST_VALUES = 2**24  # that quantile takes at once
SEEDS_AT_A_TIME = 8


class Drawing:
    """Random numbers of one stack: all follow from the generator's state."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        self.shape = shape
        self.generator = generator
        self.device = generator.device

    def uniform(self, low: float, high: float) -> float:
        """One number."""
        return (
            low + (high - low) * torch.rand((), generator=self.generator, device=self.device).item()
        )

    def log_uniform(self, low: float, high: float) -> float:
        """One number, as likely in every octave."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def normal(self) -> Tensor:
        """White noise (z, y, x)."""
        return torch.randn(self.shape, generator=self.generator, device=self.device)

    def field(self, width: float, flatness: float = 1.0) -> Tensor:
        """A smooth random field with mean 0 and deviation 1, that varies over `width` voxels.

        `flatness` below 1: over fewer along z.
        """
        smooth = blur(self.normal(), (width * flatness, width, width))
        return (smooth - smooth.mean()) / (smooth.std() + 1e-12)

    def points(self, density: float) -> Tensor:
        """Single voxels of random brightness (z, y, x), `density` of them per voxel."""
        chosen = torch.rand(self.shape, generator=self.generator, device=self.device) < density
        return chosen * torch.exp(0.8 * self.normal())


def blur(image: Tensor, sigma: tuple[float, float, float]) -> Tensor:
    """Gaussian blur (z, y, x), by Fourier transform: the stack goes on at its opposite side."""
    spectrum = torch.fft.rfftn(image)
    for axis, (size, width) in enumerate(zip(image.shape, sigma, strict=True)):
        frequency = torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq
        along = torch.exp(-2 * (math.pi * width * frequency(size, device=image.device)) ** 2)
        spectrum = spectrum * along.reshape([-1 if n == axis else 1 for n in range(3)])
    return torch.fft.irfftn(spectrum, s=image.shape)


def _filaments(draw: Drawing) -> Tensor:
    """Lines: where two fields cross zero together."""
    width, flatness = draw.log_uniform(5, 25), draw.uniform(0.4, 1)
    thickness = draw.log_uniform(0.5, 1.8) / width
    first, second = draw.field(width, flatness), draw.field(width, flatness)
    return torch.exp(-(first**2 + second**2) / (2 * thickness**2))


def _sheets(draw: Drawing) -> Tensor:
    """Membranes: where a field crosses a level."""
    width = draw.log_uniform(6, 25)
    thickness = draw.log_uniform(0.5, 1.8) / width
    level = draw.uniform(-0.8, 0.8)
    distance = draw.field(width, draw.uniform(0.4, 1)) - level
    return torch.exp(-(distance**2) / (2 * thickness**2))


def _bodies(draw: Drawing) -> Tensor:
    """Round bodies with a texture inside, as nuclei."""
    width = draw.log_uniform(4, 18)
    field = draw.field(width, draw.uniform(0.4, 1))
    inside = torch.sigmoid((field - draw.uniform(0.2, 1.5)) * width / draw.log_uniform(1, 4))
    return inside * (1 + draw.uniform(0, 0.5) * draw.field(draw.log_uniform(1, 4))).clamp_min(0)


def _spots(draw: Drawing) -> Tensor:
    """Points, a few or many."""
    return blur(draw.points(draw.log_uniform(5e-5, 5e-3)), (1.0, 1.0, 1.0)).clamp_min(0)


def _texture(draw: Drawing) -> Tensor:
    """A field of fine and coarse parts, skewed."""
    fine = draw.field(draw.log_uniform(1, 4), draw.uniform(0.5, 1))
    coarse = draw.field(draw.log_uniform(4, 25), draw.uniform(0.4, 1))
    share = draw.uniform(0, 1)
    mixed = share * fine + (1 - share) * coarse
    return torch.exp(draw.uniform(0.5, 2) * mixed / mixed.std())


def _cells(draw: Drawing) -> Tensor:
    """Borders of cells around random seeds, or their filled insides."""
    nearest, second, number = _distances(draw, round(draw.log_uniform(15, 90)))
    borders = torch.exp(-((second - nearest) ** 2) / (2 * draw.log_uniform(0.7, 2.5) ** 2))
    brightness = torch.rand(int(number.max()) + 1, generator=draw.generator, device=draw.device)
    filled = brightness[number] ** 2
    share = draw.uniform(-1, 1)  # half of the stacks have borders only
    return borders if share < 0 else (1 - share) * borders + share * filled


def _distances(draw: Drawing, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distances to the two nearest of random seeds, in voxels, and the nearest one's number."""
    sizes = torch.tensor(draw.shape, device=draw.device)
    seeds = torch.rand((count, 3), generator=draw.generator, device=draw.device) * sizes
    stretch = draw.uniform(1, 2)
    axes = [torch.arange(size, device=draw.device, dtype=torch.float32) for size in draw.shape]
    best = torch.full((2, *draw.shape), math.inf, device=draw.device)
    number = torch.zeros(draw.shape, dtype=torch.long, device=draw.device)
    for first in range(0, count, SEEDS_AT_A_TIME):
        group = seeds[first : first + SEEDS_AT_A_TIME]
        z, y, x = ((axis[None, :] - group[:, n, None]) ** 2 for n, axis in enumerate(axes))
        squares = stretch * z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]
        found, where = squares.min(dim=0)
        number = torch.where(found < best[0], where + first, number)
        best = torch.cat([best, squares]).topk(2, dim=0, largest=False).values
    return best[0].sqrt(), best[1].sqrt(), number


KINDS: tuple[Callable[[Drawing], Tensor], ...] = (
    _filaments,
    _sheets,
    _bodies,
    _spots,
    _texture,
    _cells,
)


def synthetic_stack(number: int, shape: Shape, generator: torch.Generator) -> Tensor:
    """A stack of one kind of structure, or of two.

    Parameters
    ----------
    number : int
        Of the stack: kinds take turns.
    shape : tuple of int
        z, y, x; one plane is an image.
    generator : torch.Generator
        On the device that the stack is made on.

    Returns
    -------
    Tensor
        (z, y, x), float32, ≥ 0; its 99.8 percentile is 1.
    """
    draw = Drawing(shape, generator)
    image = scale(KINDS[number % len(KINDS)](draw))
    if draw.uniform(0, 1) < 0.4:
        other = KINDS[int(draw.uniform(0, len(KINDS)))](draw)
        image = image + draw.uniform(0.1, 1) * scale(other)
    # Unevenly stained, seen out of focus too, and blurred.
    staining = 1 + draw.uniform(0, 0.6) * draw.field(max(shape) / 4)
    image = image * staining.clamp_min(0.1)
    if draw.uniform(0, 1) < 0.5:
        image = image + draw.uniform(0, 0.5) * blur(image, (6.0, 8.0, 8.0))
    in_plane = draw.log_uniform(0.5, 2.5)
    image = blur(image, (in_plane * draw.uniform(0.6, 1.5), in_plane, in_plane))
    return scale(image.clamp_min(0))


def scale(image: Tensor) -> Tensor:
    """Divided by its 99.8 percentile, or by its maximum where that is nothing."""
    step = -(-image.numel() // MOST_VALUES)
    bright = torch.quantile(image.flatten()[::step], BRIGHT)
    return image / torch.where(bright > 1e-6, bright, image.max().clamp_min(1e-6))
