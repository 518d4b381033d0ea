"""Stacks of a tissue surface with exact truth, made from its height map and its cells.

The geometry is real, the optics are simulated: the cells' borders lie as a thin sheet at the
surface's height, a microscope's point spread function blurs them, tissue below the surface and
particles off it shine too, and light from deeper planes is weaker. The truth is the sheet itself,
as the same microscope would see it in focus, without losses, background and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gvtzoo.core.errors import GvtzooError

PSF = (1.5, 1.0, 1.0)  # standard deviations along z, y, x, in voxels
HALO = (4.0, 5.0, 5.0)  # of the light that is out of focus
HALO_SHARE = 0.3
TISSUE = 0.2  # brightness below the surface; 1 is a border in focus
PARTICLES = 2e-3  # per pixel of the plane
UNEVENNESS = 30.0  # pixels over which the staining varies


@dataclass(frozen=True)
class SurfaceStack:
    """Relative intensities without noise: `stack` (z, y, x) and its exact projection (y, x)."""

    stack: np.ndarray
    projection: np.ndarray


def simulate_surface(
    height: np.ndarray,
    cells: np.ndarray,
    *,
    planes: int,
    attenuation: float,
    generator: np.random.Generator,
) -> SurfaceStack:
    """A stack of cell borders on a surface.

    Parameters
    ----------
    height : ndarray
        (y, x), the surface's plane, from 0 to ``planes - 1``; need not be whole.
    cells : ndarray
        (y, x), 0 where cells meet, anything else inside them.
    planes : int
        Of the stack.
    attenuation : float
        Planes over which light falls to 1/e.
    generator : numpy.random.Generator
        For the staining's unevenness, tissue and particles.

    Raises
    ------
    GvtzooError
        When shapes differ, there are no borders, or the surface leaves the stack.
    """
    from scipy.ndimage import gaussian_filter

    if height.shape != cells.shape or height.ndim != 2:
        raise GvtzooError(f"height map {height.shape} and cells {cells.shape} have to be one plane")
    if not (cells == 0).any():
        raise GvtzooError("the cells' image has no borders (pixels that are 0)")
    if height.min() < 0 or height.max() > planes - 1:
        raise GvtzooError(
            f"the surface lies between planes {height.min():g} and {height.max():g}, outside of "
            f"the {planes} planes of the stack"
        )
    staining = np.clip(1 + 0.4 * _smooth(height.shape, UNEVENNESS, generator), 0.2, None)
    borders = (cells == 0) * staining
    projection = gaussian_filter(borders, PSF[1:])
    bright = np.percentile(projection, 99.8)
    in_focus = bright / (np.sqrt(2 * np.pi) * PSF[0])  # of a thin sheet blurred along z
    tissue = np.clip(1 + 0.5 * _smooth(height.shape, 8.0, generator), 0, None)
    below = np.arange(planes)[:, None, None] > height + 1
    shining = _at_height(borders, height, planes) + TISSUE * in_focus * below * tissue
    shining += _particles(shining.shape, generator)
    seen = gaussian_filter(shining, PSF) + HALO_SHARE * gaussian_filter(shining, HALO)
    depth = np.exp(-np.arange(planes) / attenuation)[:, None, None]
    return SurfaceStack(
        (seen * depth / in_focus).astype(np.float32), (projection / bright).astype(np.float32)
    )


def _smooth(shape: tuple[int, ...], width: float, generator: np.random.Generator) -> np.ndarray:
    """Noise that varies over `width` pixels, with standard deviation 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(generator.standard_normal(shape), width)
    return (field - field.mean()) / field.std()


def _at_height(image: np.ndarray, height: np.ndarray, planes: int) -> np.ndarray:
    """(z, y, x): an image shared between the two planes nearest to its height."""
    z = np.arange(planes)[:, None, None]
    return image * np.clip(1 - np.abs(z - height), 0, None)


def _particles(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Single bright voxels anywhere, 2 to 6 times as bright as a border."""
    count = round(PARTICLES * shape[1] * shape[2])
    places = tuple(generator.integers(0, size, count) for size in shape)
    particles = np.zeros(shape)
    particles[places] = generator.uniform(2, 6, count)
    return particles
