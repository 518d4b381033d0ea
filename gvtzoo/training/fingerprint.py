"""The fingerprint of training images, which a package carries (`gvtzoo.prediction.fit`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gvtzoo.images.calibration import micrometers
from gvtzoo.images.resampling import zoom_plane
from gvtzoo.metrics.fingerprint import VERSION, look, summary
from gvtzoo.packages.config import Fingerprint
from gvtzoo.recipes.recipe import Recipe, Simulation
from gvtzoo.training.data.camera import simulate_camera
from gvtzoo.training.data.images import NoisyImage, TrainingImage

VIEWS = 120  # of all images
ENOUGH = 8  # images; of fewer, parts of each stand for others
PART = 0.6  # least share of such an image along y and x
SYNTHETIC = 12  # synthetic stacks, of those that training makes
SYNTHETIC_SHAPE = {2: (1, 160, 160), 3: (32, 128, 128)}
AT_A_TIME = 8  # views of an image with the same noise, which takes longer to make than to look at

Views = Iterator[tuple[str, np.ndarray, np.random.Generator]]  # image, what is seen of it


def fingerprint(
    recipe: Recipe,
    images: Sequence[TrainingImage],
    calibrations: Sequence[Mapping[str, Any]] = (),
    seed: int = 0,
) -> Fingerprint | None:
    """What training images are like as the network gets them, noise and all.

    Parameters
    ----------
    recipe : Recipe
    images : sequence of TrainingImage
    calibrations : sequence of mapping
        ``pixel_size`` and ``unit`` of images whose files do not tell theirs.
    seed : int
        Of crops, and of simulated noise.

    Returns
    -------
    Fingerprint or None
        None where the images are too small, or too empty.
    """
    simulation, dimensions = recipe.data.simulation, recipe.network.dimensions
    if simulation is None:
        views, turns = _views(images, seed), recipe.augmentation.turns
    else:
        views, turns = _simulated(simulation, images, dimensions, seed), True
    seen, names = [], []
    for name, view, generator in views:
        if turns:  # as patches are
            view = np.rot90(view, int(generator.integers(4)), axes=(-2, -1))
        found = look([view], recipe.normalization.source, generator)
        if found is not None:
            seen.append(found)
            names.append(name)
    if len(seen) < 2:
        return None
    planes = [image.shape[1] if dimensions == 3 else 1 for image in images]
    return Fingerprint(
        version=VERSION,
        images=len(set(names)),
        planes=(min(planes), max(planes)),
        voxels=_voxels([*(image.calibration for image in images), *calibrations], simulation),
        **summary(np.array(seen), np.array(names)),
    )


def _name(image: TrainingImage) -> str:
    return " ".join(map(str, image.files)) or image.name


def _views(images: Sequence[TrainingImage], seed: int) -> Views:
    """Images; of few, parts of them, so that there is something to tell their spread from."""
    few = len(set(map(_name, images))) < ENOUGH
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), VIEWS)).astype(int))
    for number in map(int, chosen):
        image = images[number]
        generator = np.random.default_rng([seed, number])
        raw, left = None, 0
        for _ in range(max(1, round(VIEWS / len(chosen)))):
            if left == 0:
                (raw, _), left = image.raw(generator), AT_A_TIME
            left -= 1
            assert raw is not None
            yield _name(image), _part(raw, generator) if few else raw, generator


def _part(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    box: list[Any] = [...]
    for size in image.shape[-2:]:
        length = math.ceil(size * generator.uniform(PART, 1))
        start = int(generator.integers(size - length + 1))
        box.append(slice(start, start + length))
    return image[tuple(box)]


def _simulated(
    simulation: Simulation, images: Sequence[TrainingImage], dimensions: int, seed: int
) -> Views:
    """Clean stacks, real and synthetic, with magnification and noise as training draws them."""
    stacks = {_name(i): i.intensity for i in images if isinstance(i, NoisyImage)}
    real, synthetic = list(stacks), []
    if simulation.synthetic > 0:
        made = _synthetic_stacks(dimensions, seed)
        synthetic = list(made)
        stacks |= made
    generator = np.random.default_rng(seed)
    for number in range(VIEWS):
        kind = synthetic if generator.random() < simulation.synthetic else real
        name = kind[number % len(kind)]
        zoom = _log_uniform(simulation.zoom, generator)
        clean = _magnified(_part(stacks[name], generator), zoom)
        noisy = simulate_camera(
            np.maximum(clean, 0),
            photons=_log_uniform(simulation.photons, generator),
            read_noise=_log_uniform(simulation.read_noise, generator),
            offset=100,
            generator=generator,
        )
        yield name, noisy, generator


def _synthetic_stacks(dimensions: int, seed: int) -> dict[str, np.ndarray]:
    import torch

    from gvtzoo.training.data.structures import synthetic_stack

    generator = torch.Generator().manual_seed(seed)
    shape = SYNTHETIC_SHAPE[dimensions]
    found = {}
    for number in range(SYNTHETIC):
        stack = synthetic_stack(number, shape, generator).numpy()
        found[f"synthetic {number}"] = stack if dimensions == 2 else stack[None]
    return found


def _magnified(stack: np.ndarray, zoom: float) -> np.ndarray:
    size = [max(1, round(zoom * length)) for length in stack.shape[-2:]]
    planes = [zoom_plane(plane, size, 1) for plane in stack.reshape(-1, *stack.shape[-2:])]
    return np.stack(planes).reshape(*stack.shape[:-2], *size)


def _log_uniform(limits: tuple[float, float], generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(*np.log(limits))))


def _voxels(
    calibrations: Sequence[Mapping[str, Any]], simulation: Simulation | None
) -> dict[Any, tuple[float, float]]:
    """Smallest and largest voxels, in µm, with the magnification that training simulates."""
    stated = [known for known in map(_micrometers, calibrations) if known]
    found = {}
    for axis in "zyx":
        sizes = [known[axis] for known in stated if axis in known]
        if sizes:
            least, most = _magnification(simulation, axis)
            found[axis] = (min(sizes) / most, max(sizes) / least)
    return found


def _micrometers(calibration: Mapping[str, Any]) -> dict[str, float]:
    """Voxel size in µm; empty where it is 1 along all axes, as programs write for unknown."""
    factor = micrometers(calibration.get("unit"))
    sizes = calibration.get("pixel_size") or {}
    spatial = {axis: sizes[axis] for axis in "zyx" if axis in sizes}
    if factor is None or set(spatial.values()) == {1.0}:
        return {}
    return {axis: size * factor for axis, size in spatial.items()}


def _magnification(simulation: Simulation | None, axis: str) -> tuple[float, float]:
    if simulation is None:
        return 1.0, 1.0
    (low, high), (flat, tall) = simulation.zoom, simulation.anisotropy
    return (low * flat, high * tall) if axis == "z" else (low, high)
