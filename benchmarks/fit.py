"""What the fit check lets pass and what it flags, over the trained models of the zoo.

    python benchmarks/fit.py --data DIR [--repeats 6] [--model NAME]... [-o fit.json]

DIR holds nuclei_3d, stacks_3d, exposure_pairs, phase_to_fluorescence, notum_geometry and
yeast_mitochondria. Images like the training ones are parts that were not trained on; all others are
made from them, or are of other kinds. Nothing is predicted. The table is that of docs/howto/fit.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from gvtzoo.hub.load import load_own
from gvtzoo.hub.registry import bundled_models
from gvtzoo.metrics.noise import estimate_noise
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import as_data_array
from gvtzoo.recipes.recipe import Recipe
from gvtzoo.training.data.camera import camera_noise
from gvtzoo.training.data.patches import load_images

Image = np.ndarray
LIKE, FINE = "like the training images", "fine differences"
# The generalist's stacks, of which these parts were not trained on (zoo/gvtnet-denoising-3d).
HELD_OUT = {
    "nuclei_3d/nuclei": (1, slice(192, 256)),
    "stacks_3d/ovule_membranes": (2, slice(100, 128)),
    "stacks_3d/pollen": (2, slice(216, 256)),
    "stacks_3d/neuron": (2, slice(216, 256)),
}
EVERY_LIGHT = (4, 10, 25, 60, 150)  # photons


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=6, help="draws of noise")
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    table: dict[str, dict[str, list[str]]] = {}
    for name in arguments.model or bundled_models():
        table[name] = measure(load_own(name), arguments.data, arguments.repeats)
        print_rows(name, table[name])
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def measure(model: Model, data: Path, repeats: int) -> dict[str, list[str]]:
    """The verdict on each image, by what it is."""
    if model.config.fingerprint is None:
        return {}
    found: dict[str, list[str]] = {}
    for what, image, sizes in cases(model, data, repeats):
        axes = "".join(model.axes)[-image.ndim :]
        described = as_data_array(image.astype(np.float32), axes, model.axes)
        described.attrs |= {"pixel_size": sizes, "unit": "micrometer"}
        found.setdefault(what, []).append(str(model.fit(described)))
    return found


def print_rows(name: str, found: dict[str, list[str]]) -> None:
    """One line for each kind of image: how many are flagged."""
    for what, verdicts in found.items():
        flagged = [text for text in verdicts if text.startswith("unlike")]
        example = flagged[0] if flagged else ""
        print(f"{name}\t{what}\t{len(flagged)}/{len(verdicts)}\t{example}", flush=True)


def cases(model: Model, data: Path, repeats: int) -> Iterator[tuple[str, Image, dict[str, float]]]:
    """What it is, the image, and its voxel size (which is not always known)."""
    generator = np.random.default_rng(0)
    sizes = {str(axis): size for axis, size in model.config.pixel_size.items()}
    like = [image for _ in range(repeats) for image in held_out(model, data, generator)]
    for image in like:
        yield LIKE, image, sizes
    few = like[:: max(1, len(like) // 12)]
    shape = few[0].shape
    for _ in range(len(few)):
        yield "pure noise", generator.normal(100, 10, shape), sizes
        yield "pure noise", generator.poisson(5, shape), sizes
    for image in few:
        yield "ten times the noise", with_noise(image, 10, generator), sizes
        if sizes:
            yield "voxels four times as large, stated", image, {a: 4 * s for a, s in sizes.items()}
        if min(image.shape[-2:]) >= 64:
            yield "voxels four times as large, not stated", binned(image, 4), {}
        if "z" in model.axes:
            yield "a 2D image in a 3D model", image[image.shape[0] // 2], sizes
    for image in other_structures(model, data, generator):
        yield "another structure", image, sizes
    for what, change in SLIGHT.items():
        for image in few:
            yield f"{FINE}: {what}", change(image, generator), sizes


def held_out(model: Model, data: Path, generator: np.random.Generator) -> list[Image]:
    """Images of the recipe's test split; of the generalist, parts that it was not trained on."""
    recipe = Recipe.model_validate(model.config.recipe)
    if recipe.data.simulation is not None:
        found = []
        for name, (axis, part) in HELD_OUT.items():
            stack = tifffile.imread(data / f"{name}.tif")
            clean = np.take(stack, range(part.start, min(part.stop, stack.shape[axis])), axis)
            found += [camera_noise(clean, photons=p, generator=generator) for p in EVERY_LIGHT]
        return found
    folder = {
        "gvtnet-denoising-nuclei": "nuclei_3d",
        "gvtnet-denoising-exposures": "exposure_pairs",
        "gvtnet-label-free-phase-to-dapi": "phase_to_fluorescence",
        "gvtnet-projection-notum": "notum_geometry",
    }[model.config.metadata.id]
    images = load_images(data / folder, "test", recipe)
    return [plain(image.raw(generator)[0], model) for image in images]


def plain(source: Image, model: Model) -> Image:
    """A source (channel, …) as an image: without a channel that is the only one."""
    return source if "c" in model.axes else source[0]


def other_structures(model: Model, data: Path, generator: np.random.Generator) -> list[Image]:
    """Images of what the model was not trained on, with about as much light."""

    def stack(name: str) -> Image:
        return tifffile.imread(data / f"{name}.tif")

    stacks = {
        "nuclei": stack("nuclei_3d/nuclei"),
        "membranes": stack("stacks_3d/ovule_membranes"),
        "pollen": stack("stacks_3d/pollen"),
        "neuron": stack("stacks_3d/neuron"),
    }
    yeast = stack("yeast_mitochondria/frames_00_15")
    phase = stack("phase_to_fluorescence/source/q10")
    labels = [stack(f"phase_to_fluorescence/target_{name}/q10") for name in ("dapi", "map2", "nfh")]
    name = model.config.metadata.id
    if name == "gvtnet-denoising-3d":  # any structure of fluorescence is its own
        return [phase, phase[::-1].max() - phase.astype(float)]
    if name == "gvtnet-denoising-exposures":
        return [phase[6], phase[0], *labels, camera_noise(stacks["membranes"][16], photons=50,
                generator=generator)]  # fmt: skip
    photons = 8 if name == "gvtnet-denoising-nuclei" else 40
    noisy = {
        key: camera_noise(clean, photons=photons, generator=generator)
        for key, clean in stacks.items()
        if key != "nuclei" or name != "gvtnet-denoising-nuclei"
    }
    images = [*noisy.values(), yeast[0], yeast[8]]
    if name == "gvtnet-label-free-phase-to-dapi":
        return [image[2:15] for image in images]
    return images


def with_noise(image: Image, times: float, generator: np.random.Generator) -> Image:
    """The image with so many times its own noise added."""
    planes = image.reshape(-1, *image.shape[-2:])
    noise = float(np.median([estimate_noise(plane) for plane in planes]))
    return image + generator.normal(0, times * noise, image.shape)


def binned(image: Image, factor: int) -> Image:
    """Means of so many pixels along y and x."""
    rows, columns = (size // factor for size in image.shape[-2:])
    cut = image[..., : rows * factor, : columns * factor].astype(float)
    return cut.reshape(*image.shape[:-2], rows, factor, columns, factor).mean(axis=(-3, -1))


def stripes(image: Image, generator: np.random.Generator) -> Image:
    """Every other four columns brighter by half of the range."""
    wide = float(np.ptp(np.percentile(image, (2, 99.8))))
    return image + 0.5 * wide * (np.arange(image.shape[-1]) % 8 < 4)


SLIGHT: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "twice the noise": lambda image, generator: with_noise(image, 3**0.5, generator),
    "blur of half a pixel": lambda image, _: gaussian_filter(
        image.astype(float), (0,) * (image.ndim - 2) + (0.5, 0.5)
    ),
    "blur of two pixels": lambda image, _: gaussian_filter(
        image.astype(float), (0,) * (image.ndim - 2) + (2, 2)
    ),
    "mirrored": lambda image, _: image[..., ::-1],
    "other units (3 x + 500)": lambda image, _: 3.0 * image + 500,
    "square root of the brightness": lambda image, _: np.sqrt(
        np.clip(image - np.percentile(image, 0.1), 0, None)
    ),
    "stripes": stripes,
}


if __name__ == "__main__":
    main()
