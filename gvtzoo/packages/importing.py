"""Packages from checkpoints of the reference implementation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.json_files import read_json
from gvtzoo.images.calibration import MICROMETER
from gvtzoo.images.normalization import (
    NoNormalization,
    NormalizationConfig,
    PercentileNormalization,
)
from gvtzoo.networks.baseline_config import AnyNetworkConfig
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.tensorflow import (
    TASKS,
    config_from_reference,
    has_sigma,
    read_checkpoint,
    to_state_dict,
)
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import ModelMetadata, Task, default_metadata
from gvtzoo.recipes.recipe import Recipe

REFERENCE_LICENSE = "GPL-3.0-only"
PROVENANCE = (
    "The weights were imported from a TensorFlow checkpoint of the networks' reference "
    "implementation, whose repository, published weights included, is under GPL-3.0; these "
    "weights are passed on under the licence named below."
)
EXAMPLE_SIZES = {2: (64, 64), 3: (16, 64, 64)}
PERCENTILES = PercentileNormalization(low=2.0, high=99.8)


def import_checkpoint(
    checkpoint: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    recipe: Recipe | None = None,
    output: str | Path,
    overwrite: bool = False,
) -> Path:
    """A package from a TensorFlow checkpoint of the reference implementation.

    Parameters
    ----------
    checkpoint : path
        The checkpoint's prefix or its folder.
    config : mapping, optional
        The reference implementation's settings (a ``config.json``).
    recipe : Recipe, optional
        Whose network, normalization and description to take instead. One of the two is needed.
    output : path
        Of the zip.
    overwrite : bool

    Returns
    -------
    Path
        Of the zip.

    Raises
    ------
    GvtzooError
        When the checkpoint cannot be read or does not fit the network.
    """
    if (config is None) == (recipe is None):
        raise GvtzooError("importing needs either a config or a recipe")
    variables = read_checkpoint(checkpoint)
    packaged = (
        _from_recipe(recipe, has_sigma(variables))
        if recipe is not None
        else _from_settings(config or {}, has_sigma(variables), Path(output).stem)
    )
    gvtnet = packaged.network
    if not isinstance(gvtnet, NetworkConfig):
        raise GvtzooError(
            f"checkpoints hold GVTNets, but the recipe trains {gvtnet.architecture}: choose another"
        )
    network = gvtnet.build()
    # BatchNorm's counter of batches is the one thing that TensorFlow does not store.
    network.load_state_dict(to_state_dict(variables, gvtnet), strict=False)
    return write_package(
        output,
        network=network,
        config=packaged,
        example=example_image(packaged),
        overwrite=overwrite,
    )


def read_config(path: str | Path) -> dict[str, Any]:
    """The reference implementation's settings, from a ``config.json``.

    Raises
    ------
    GvtzooError
        When there is no such file, or it is not a JSON object.
    """
    try:
        settings = read_json(Path(path))
    except FileNotFoundError as error:
        raise GvtzooError(f"{path} does not exist") from error
    except OSError as error:
        raise GvtzooError(f"{path} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise GvtzooError(f"{path} does not hold a JSON object")
    return settings


def _from_recipe(recipe: Recipe, uncertainty: bool) -> PackageConfig:
    metadata = recipe.model or default_metadata(recipe.name, recipe.task)
    size = recipe.data.pixel_size
    return PackageConfig(
        task=recipe.task,
        network=_with_uncertainty(recipe.network, uncertainty),
        normalization=recipe.normalization,
        metadata=_as_imported(metadata),
        recipe=recipe.model_dump(mode="json"),
        pixel_size={} if size is None else {"y": size, "x": size},
        unit=None if size is None else MICROMETER,
    )


def _from_settings(settings: Mapping[str, Any], uncertainty: bool, name: str) -> PackageConfig:
    network = config_from_reference(settings)
    task: Task = TASKS[settings["task"]]  # type: ignore[assignment]
    return PackageConfig(
        task=task,
        network=_with_uncertainty(network, uncertainty),
        normalization=reference_normalization(task),
        metadata=_as_imported(default_metadata(name, task)),
    )


def reference_normalization(task: Task) -> NormalizationConfig:
    """What the reference implementation does to images before and after prediction.

    Denoising and projection: percentiles 2 and 99.8, undone afterwards. Label-free: nothing; its
    images were z-scored beforehand.
    """
    if task == "label_free":
        return NormalizationConfig(source=NoNormalization(), target=NoNormalization(), undo=False)
    return NormalizationConfig(source=PERCENTILES, target=PERCENTILES, undo=True)


def _with_uncertainty(network: AnyNetworkConfig, uncertainty: bool) -> AnyNetworkConfig:
    return network.model_copy(update={"uncertainty": uncertainty})


def _as_imported(metadata: ModelMetadata) -> ModelMetadata:
    """With the licence of the repository, unless another was named on purpose."""
    changes: dict[str, Any] = {
        "limitations": "\n\n".join(part for part in (metadata.limitations, PROVENANCE) if part)
    }
    if not metadata.license:
        changes["license"] = REFERENCE_LICENSE
    return metadata.model_copy(update=changes)


def example_image(config: PackageConfig, seed: int = 0) -> np.ndarray:
    """Blobs with camera noise.

    Parameters
    ----------
    config : PackageConfig
    seed : int

    Returns
    -------
    ndarray
        (channel, (z,) y, x); uint16 counts, or z-scored float32 where the network takes images
        as they are.
    """
    generator = np.random.default_rng(seed)
    sizes = EXAMPLE_SIZES[config.network.dimensions]
    channels = [_blobs(sizes, generator) for _ in range(config.network.input_channels)]
    image = generator.poisson(np.stack(channels)).clip(0, 65535).astype(np.uint16)
    if isinstance(config.normalization.source, NoNormalization):
        return ((image - image.mean()) / image.std()).astype(np.float32)
    return image


def _blobs(
    sizes: tuple[int, ...], generator: np.random.Generator, count: int = 12, radius: float = 6.0
) -> np.ndarray:
    """Gaussian blobs of up to 1000 photons on a background of 100."""
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1)
    image = np.full(sizes, 100.0)
    for _ in range(count):
        distance = ((grid - generator.uniform(0, sizes)) ** 2).sum(axis=-1)
        image += generator.uniform(200, 1000) * np.exp(-distance / (2 * radius**2))
    return image
