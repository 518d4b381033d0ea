"""Packages from training runs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter, ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.config import MetricRow, PackageConfig
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import default_metadata
from gvtzoo.recipes.recipe import load_recipe

if TYPE_CHECKING:
    from gvtzoo.networks import Network
    from gvtzoo.prediction.model import Model

log = logging.getLogger(__name__)

NEEDED = ("recipe.yaml", "best.safetensors", "example.npz")


def package_run(run: str | Path, output: str | Path, overwrite: bool = False) -> Path:
    """A package from a run folder, with the weights of its best validation.

    Parameters
    ----------
    run : path
        Folder with ``recipe.yaml``, ``best.safetensors`` and ``example.npz`` (`source`), as
        training leaves it; ``metrics.json`` (rows of the validation table), ``tiling.json``
        (a `TilingHint`) and ``pixel_size.json`` are taken where they are.
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
        When a file is missing or damaged, or the weights do not fit the recipe.
    """
    run = Path(run)
    missing = [name for name in NEEDED if not (run / name).is_file()]
    if missing:
        raise GvtzooError(
            f"{run} is not a run that can be packaged: {', '.join(missing)} missing; has its "
            "training validated once?"
        )
    config = read_run_config(run)
    report = _read_json(run / "finetuning.json", {})
    if report.get("helped") is False:
        log.warning("fine-tuning did not help: the weights are those of %s", report.get("parent"))
    return write_package(
        output,
        network=_network(run, config),
        config=config,
        example=_example(run / "example.npz"),
        overwrite=overwrite,
    )


def open_run(run: str | Path) -> Model:
    """A run's best weights as a model that predicts, without packaging it.

    Raises
    ------
    GvtzooError
        When the run folder is not complete.
    """
    from gvtzoo.prediction.model import Model

    run = Path(run)
    config = read_run_config(run)
    return Model(_network(run, config), config, config.metadata.id)


def read_run_config(run: Path) -> PackageConfig:
    """What a package of a run will say of itself.

    Raises
    ------
    GvtzooError
    """
    recipe = load_recipe(run / "recipe.yaml")
    pixel_size = _read_json(run / "pixel_size.json", {})
    rows = _read_json(run / "metrics.json", [])
    try:
        return PackageConfig(
            task=recipe.task,
            network=recipe.network,
            normalization=recipe.normalization,
            metadata=recipe.model
            or default_metadata(recipe.name, recipe.task, recipe.network.architecture),
            recipe=recipe.model_dump(mode="json"),
            metrics=TypeAdapter(tuple[MetricRow, ...]).validate_python(rows),
            pixel_size=pixel_size.get("pixel_size") or {},
            unit=pixel_size.get("unit"),
            tiling=_read_json(run / "tiling.json", {}) or None,
            sigma_factor=recipe.training.sigma_factor,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise GvtzooError(f"{run}: {place}: {first['msg']}") from error


def _read_json(path: Path, default: Any) -> Any:
    if not path.is_file():
        return default
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GvtzooError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, type(default)):
        raise GvtzooError(f"{path} has to hold a {type(default).__name__}")
    return content


def _network(run: Path, config: PackageConfig) -> Network:
    from gvtzoo.training.run_folder import load_weights

    network = config.network.build()
    load_weights(network, run / "best.safetensors")
    return network


def _example(path: Path) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["source"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise GvtzooError(f"{path} does not hold an array named source: train again") from error
