"""A training's run folder read as a model: what a package of it would hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import check_links
from gvtzoo.core.json_files import read_json
from gvtzoo.packages.config import MOST_FILES, MetricRow, PackageConfig, TrainedFile, TrainedOn

if TYPE_CHECKING:
    import torch

    from gvtzoo.networks import Network
    from gvtzoo.recipes.recipe import Recipe

RECIPE, WEIGHTS, DATA = "recipe.yaml", "best.safetensors", "data.json"
CALIBRATION = "calibration.json"  # of σ
FINGERPRINT = "fingerprint.json"  # of the training images
FINETUNING = "finetuning.json"  # how a fine-tuning went
PARENT = "parent.json"  # what the model that was fine-tuned had learned from


def is_run(path: str | Path) -> bool:
    """Whether a path is a training's run folder, whether or not it has weights yet."""
    path = Path(path)
    return path.is_dir() and (path / RECIPE).is_file()


def check_run(run: Path) -> None:
    """That a run folder has weights.

    Raises
    ------
    GvtzooError
    """
    if not (run / WEIGHTS).is_file():
        raise GvtzooError(
            f"{run} has no weights yet ({WEIGHTS}): its training has to be validated once; "
            "continue it with --resume"
        )


def run_recipe(run: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """The recipe of a run folder, whoever made it; with settings changed.

    Parameters
    ----------
    run : path
    settings : iterable of str
        ``key.sub=value``.

    Raises
    ------
    GvtzooError
        When the recipe is damaged or not all there, or a link leads out of the folder.
    """
    # Recipes take long to import, and models are mostly packages.
    from gvtzoo.recipes.recipe import load_resolved_recipe

    check_links(Path(run))
    return load_resolved_recipe(Path(run) / RECIPE, settings)


def read_run_config(run: str | Path) -> PackageConfig:
    """What a package of a run will say of itself, before anybody describes it.

    Raises
    ------
    GvtzooError
        When a file of the run is damaged.
    """
    from gvtzoo.packages.identity import own_metadata

    run = Path(run)
    recipe = run_recipe(run)
    pixel_size = _read_json(run / "pixel_size.json", {})
    rows = _read_json(run / "metrics.json", [])
    try:
        return PackageConfig(
            task=recipe.task,
            network=recipe.network,
            normalization=recipe.normalization,
            metadata=own_metadata(recipe, run.resolve().name),
            recipe=recipe.model_dump(mode="json"),
            metrics=TypeAdapter(tuple[MetricRow, ...]).validate_python(rows),
            trained_on=trained_on(run, recipe),
            pixel_size=pixel_size.get("pixel_size") or {},
            unit=pixel_size.get("unit"),
            tiling=_read_json(run / "tiling.json", {}) or None,
            sigma_factor=recipe.training.sigma_factor,
            calibration=_read_json(run / CALIBRATION, {}) or None,
            # Weights that are still another model's have not learned from these images.
            fingerprint=(unchanged_from(run) is None and _read_json(run / FINGERPRINT, {})) or None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise GvtzooError(f"{run}: {place}: {first['msg']}") from error


def unchanged_from(run: str | Path) -> str | None:
    """The model whose weights a run still has, since fine-tuning it did not help; else None."""
    report = _read_json(Path(run) / FINETUNING, {})
    return report.get("parent") if report.get("helped") is False else None


def run_network(run: str | Path, config: PackageConfig) -> Network:
    """The network of a run with the weights of its best validation, on the CPU.

    Raises
    ------
    GvtzooError
        When there are none, or they do not fit.
    """
    check_run(Path(run))
    _check_size(Path(run) / WEIGHTS, config)
    network = config.network.build()
    load_weights(network, Path(run) / WEIGHTS)
    return network.eval()


def _check_size(weights: Path, config: PackageConfig) -> None:
    """Refuse a network of more numbers than its weights, before there is room made for it."""
    import torch

    with torch.device("meta"):
        expected = config.network.build().state_dict()
    needed = sum(tensor.nbytes for tensor in expected.values())
    found = weights.stat().st_size
    if found < needed:
        raise GvtzooError(
            f"{weights} does not fit the recipe's network: it has {found} bytes, {needed} are "
            "needed"
        )


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Set a network's weights to those of a safetensors file.

    Raises
    ------
    GvtzooError
        When the file cannot be read, or belongs to another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise GvtzooError(f"there are no weights at {path}")
    try:
        network.load_state_dict(load_file(path))
    except SafetensorError as error:
        raise GvtzooError(f"{path} is damaged, or not a safetensors file: {error}") from error
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise GvtzooError(f"{path} does not fit the recipe's network: {problem}") from error


def trained_on(run: str | Path, recipe: Recipe) -> TrainedOn:
    """The files that a run has learned from, by its ``data.json``, and those of its parent.

    Raises
    ------
    GvtzooError
        When the file is damaged.
    """
    run = Path(run)
    files = [*_files_of(run, recipe), *_files_of_parent(run)]
    return TrainedOn(files=tuple(files[:MOST_FILES]), left_out=max(0, len(files) - MOST_FILES))


def _files_of(run: Path, recipe: Recipe) -> Iterator[TrainedFile]:
    uses: tuple[Literal["train", "val"], ...] = ("train", "val")
    for use in uses:
        region = (recipe.data.regions or {}).get(use, {})
        for path, digest in listed_files(run, use) or ():
            yield TrainedFile(name=Path(path).name, sha256=digest, use=use, region=region)


def listed_files(run: Path, use: str) -> list[tuple[str, str]] | None:
    """Paths and SHA-256 of a split's files, by a run's ``data.json``; None where it has no list.

    Raises
    ------
    GvtzooError
        When the file is damaged.
    """
    split = _read_json(run / DATA, {}).get(use) or {}
    try:
        files = split.get("files")
        return None if files is None else [(file["path"], file["sha256"]) for file in files]
    except (AttributeError, KeyError, TypeError) as error:
        raise GvtzooError(f"{run / DATA} does not list files with path and sha256") from error


def _files_of_parent(run: Path) -> tuple[TrainedFile, ...]:
    known = _read_json(run / PARENT, {})
    return TrainedOn.model_validate(known).files


def inherited(config: PackageConfig) -> dict[str, Any]:
    """The content of ``parent.json`` in a run folder: what a model has learned from, by its name.

    Parameters
    ----------
    config : PackageConfig
        Of the model that is trained further.
    """
    files = [
        file if file.model else file.model_copy(update={"model": config.metadata.id})
        for file in config.trained_on.files
    ]
    return TrainedOn(files=tuple(files)).model_dump(mode="json")


def _read_json(path: Path, default: Any) -> Any:
    if not path.is_file():
        return default
    content = read_json(path)
    if not isinstance(content, type(default)):
        raise GvtzooError(f"{path} has to hold a {type(default).__name__}")
    return content
