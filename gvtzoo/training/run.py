"""`gvtzoo.training.run.package_run`: a training's run folder becomes a BioImage.IO package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.npy import map_npz_member
from gvtzoo.packages.identity import Identity, own_metadata
from gvtzoo.packages.reader import LARGEST_TENSOR
from gvtzoo.packages.run_folder import (
    RECIPE,
    WEIGHTS,
    read_run_config,
    run_network,
    run_recipe,
    unchanged_from,
)
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import MetricRow, ModelMetadata

log = logging.getLogger(__name__)

EXAMPLE = "example.npz"
NEEDED = (RECIPE, WEIGHTS, EXAMPLE)


def package_run(
    run: str | Path,
    output: str | Path,
    overwrite: bool = False,
    *,
    metadata: ModelMetadata | None = None,
    metrics: Sequence[MetricRow] | None = None,
) -> Path:
    """A package from a run folder, with the weights of its best validation.

    Parameters
    ----------
    run : path
        Folder with ``recipe.yaml``, ``best.safetensors`` and ``example.npz`` (`source`), as
        training leaves it; ``data.json`` (the files that it was trained on), ``metrics.json`` (rows
        of the validation table), ``tiling.json`` (a `TilingHint`), ``calibration.json`` (a
        `SigmaCalibration`), ``fingerprint.json`` (a `Fingerprint`) and ``pixel_size.json`` are
        taken where they are.
    output : path
        Of the zip.
    overwrite : bool
    metadata : ModelMetadata, optional
        What is said of the model; by default `run_metadata`, with the name of the zip.
    metrics : sequence of MetricRow, optional
        In the place of the run's ``metrics.json``.

    Returns
    -------
    Path
        Of the zip.

    Raises
    ------
    GvtzooError
        When a file is missing or damaged, or the weights do not fit the recipe.
    """
    run, output = Path(run), Path(output)
    check_complete(run)
    config = read_run_config(run)
    original = unchanged_from(run)
    if original is not None:
        log.warning("fine-tuning did not help: the weights are those of %s", original)
    changes = {
        "metadata": metadata or run_metadata(run, output.stem),
        "metrics": config.metrics if metrics is None else tuple(metrics),
    }
    config = config.model_copy(update=changes)
    return write_package(
        output,
        network=run_network(run, config),
        config=config,
        example=_example(run / EXAMPLE),
        overwrite=overwrite,
    )


def run_metadata(run: str | Path, name: str, given: Identity | None = None) -> ModelMetadata:
    """What can be said of a run's model: what was given, and what its own recipe says of it.

    Parameters
    ----------
    run : path
    name : str
        From which an id and a name are made, where none are given.
    given : Identity, optional

    Raises
    ------
    GvtzooError
        As of `gvtzoo.packages.identity.own_metadata`.
    """
    return own_metadata(run_recipe(run), name, given)


def check_complete(run: Path) -> None:
    """That a run folder has all that a package needs.

    Raises
    ------
    GvtzooError
    """
    missing = [name for name in NEEDED if not (run / name).is_file()]
    if missing:
        raise GvtzooError(
            f"{run} is not a run that can be packaged: {', '.join(missing)} missing; has its "
            "training validated once?"
        )


def _example(path: Path) -> np.ndarray:
    try:
        with ZipFile(path) as archive:
            largest = max((member.file_size for member in archive.infolist()), default=0)
        if largest > LARGEST_TENSOR:
            raise GvtzooError(f"it unpacks to {largest} bytes")
        return np.asarray(map_npz_member(path, "source"))
    except Exception as error:  # zipfile raises whatever the damage leads to
        raise GvtzooError(
            f"{path} does not hold an array named source ({error}): train again"
        ) from error
