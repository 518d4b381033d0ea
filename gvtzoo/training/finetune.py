"""Fine-tuning: a packaged model goes on learning from a few pairs of the user's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.core.layered_yaml import describe, merge
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.packages.run_folder import PARENT, inherited
from gvtzoo.recipes.recipe import Recipe, build_recipe
from gvtzoo.training.comparison import COLUMNS, predict
from gvtzoo.training.data.images import PairedImage, TrainingImage
from gvtzoo.training.data.patches import load_images
from gvtzoo.training.run_folder import load_weights, middle_plane, save_weights, write_json

if TYPE_CHECKING:
    from gvtzoo.packages.config import PackageConfig
    from gvtzoo.prediction.model import Model

log = logging.getLogger(__name__)

STEPS = 300
VALIDATE_EVERY = 20
PATIENCE = 5  # validations
SLOWER = 0.25  # the learning rate, of the first training's
LARGEST_BATCH = 8
ENOUGH_PAIRS = 4  # from here on whole pairs are held out, below that a band of each
HELD_OUT = 0.25


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning has led to.

    Attributes
    ----------
    run : Path
        The run folder, to be packaged.
    before, after : dict
        Mean r, NRMSE, PSNR and SSIM of the validation pairs.
    validation : str
        What these are.
    picture : Path
        A validation pair before and after.
    """

    run: Path
    before: dict[str, float]
    after: dict[str, float]
    validation: str
    picture: Path

    @property
    def helped(self) -> bool:
        """Whether SSIM has risen and NRMSE has fallen."""
        return (
            self.after["SSIM"] > self.before["SSIM"] and self.after["NRMSE"] < self.before["NRMSE"]
        )


def finetune(
    model: str | Path,
    data: str | Path,
    run: str | Path,
    *,
    settings: Iterable[str] = (),
    device: str = "auto",
    progress: Callable[[int, int, float], None] | None = None,
) -> FineTuning:
    """Train a packaged model further on pairs of one's own.

    Network, weights, normalization and recipe come from the package; the learning rate is lower,
    the training short, and it ends when the validation does not improve any more.

    Parameters
    ----------
    model : str or path
        As `gvtzoo.load` takes it.
    data : path
        ``source/`` and ``target/`` with the same file names, or a CSV; one pair is enough. Without
        ``val/``, every fourth pair is held out, or, of fewer than four pairs, the lowest quarter
        of each image.
    run : path
        The run folder; has to be new or empty.
    settings : iterable of str
        ``key.sub=value``, of the recipe.
    device : {"auto", "cpu", "cuda", "mps"}
    progress : callable, optional
        ``progress(step, steps, loss)`` after every step.

    Raises
    ------
    GvtzooError
        When the model cannot be used, the pairs do not suit it, or a setting is wrong.
    """
    from gvtzoo.hub.load import load_own
    from gvtzoo.training.train import train_on

    parent = load_own(model)
    recipe = finetuning_recipe(parent.config, [*_base_model(model), *settings])
    training, validation, described = split_pairs(data, recipe)
    recipe = fit_patch(recipe, training)
    before = mean_metrics(parent, validation)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_weights(parent.network, weights)
        run = train_on(
            recipe, training, validation, run, device=device, weights=weights, progress=progress
        )
    tuned = _tuned(parent, run, recipe)
    after = mean_metrics(tuned, validation)
    rows = [
        {"data": described, "method": name, "chose_weights": name == "after", **metrics}
        for name, metrics in ((f"before ({parent.name})", before), ("after", after))
    ]
    write_json(run / "metrics.json", rows)
    write_json(run / PARENT, inherited(parent.config))
    picture = run / "finetuning.png"
    draw_before_and_after(picture, parent, tuned, validation[0])
    return FineTuning(run, before, after, described, picture)


def _base_model(model: str | Path) -> list[str]:
    """The setting that names the model's repository, where it was loaded from one."""
    from gvtzoo.hub.registry import repository_of

    repository = repository_of(model)
    return [] if repository is None else [f"model.base_model={repository}"]


def finetuning_recipe(config: PackageConfig, settings: Iterable[str] = ()) -> Recipe:
    """The recipe of a package, changed to go on with few pairs.

    Raises
    ------
    GvtzooError
        When a setting is wrong.
    """
    original = dict(config.recipe or {})
    training = dict(original.get("training") or _training_of(config))
    metadata = config.metadata
    changed = {
        "name": f"{metadata.id}-finetuned",
        "task": config.task,
        "description": f"Fine-tuned from {metadata.id}.",
        "network": config.network.model_dump(mode="json"),
        "normalization": config.normalization.model_dump(mode="json"),
        "data": _data_of(original),
        "augmentation": {"flips": True, "turns": True},
        "training": {
            **training,
            "steps": STEPS,
            "batch_size": min(training.get("batch_size", LARGEST_BATCH), LARGEST_BATCH),
            "learning_rate": training.get("learning_rate", 1e-3) * SLOWER,
            "schedule": {"kind": "cosine", "warm_up": 10},
            "validation": True,
            "validate_every": VALIDATE_EVERY,
            "early_stopping": PATIENCE,
        },
        "model": {
            **metadata.model_dump(mode="json"),
            "id": f"{metadata.id}-finetuned",
            "name": f"{metadata.name} (fine-tuned)"[:128],
            "version": "1.0.0",
            "description": f"{metadata.description} Fine-tuned on other images.",
            "parent": metadata.id,
        },
    }
    try:
        recipe = build_recipe(changed, settings)
    except ValidationError as error:
        raise GvtzooError(f"the settings do not suit {metadata.id}: {describe(error)}") from error
    if recipe.network.architecture != config.network.architecture:
        raise GvtzooError(
            f"{metadata.id} is a {config.network.architecture}: train a "
            f"{recipe.network.architecture} from the beginning, with gvtzoo train"
        )
    return recipe


def _training_of(config: PackageConfig) -> dict[str, Any]:
    """Settings for a package that does not say how it was trained."""
    patch = (64, 64) if config.network.dimensions == 2 else (16, 64, 64)
    sizes = [max(m, p // m * m) for p, m in zip(patch, config.network.multiple, strict=True)]
    return {"patch": sizes, "loss": "mae", "gradient_clip": 1.0}


def _data_of(original: dict[str, Any]) -> dict[str, Any]:
    """What of a recipe's data settings is about any images, not about its own files."""
    data = original.get("data") or {}
    kept = ("planes_as_channels", "pixel_size")
    return {key: data[key] for key in kept if data.get(key) is not None}


def split_pairs(
    data: str | Path, recipe: Recipe
) -> tuple[Sequence[TrainingImage], Sequence[TrainingImage], str]:
    """Training images, validation images, and what the latter are called.

    Raises
    ------
    GvtzooError
        When there are no pairs, or a single one is too small to be divided.
    """
    pairs = load_images(data, "train", recipe)
    held_out = load_images(data, "val", recipe)
    if not pairs:
        raise GvtzooError(f"{data} holds no pairs: put them into source/ and target/")
    if held_out:
        return pairs, held_out, f"{len(held_out)} validation pairs"
    if len(pairs) >= ENOUGH_PAIRS:
        chosen = pairs[ENOUGH_PAIRS - 1 :: ENOUGH_PAIRS]
        kept = [pair for pair in pairs if pair not in chosen]
        return kept, chosen, f"{len(chosen)} of {len(pairs)} pairs, not trained on"
    parts = [_divide(pair, recipe.network.multiple[-2]) for pair in pairs]
    share = f"the lowest {HELD_OUT:.0%} of {len(pairs)} pairs, not trained on"
    return [part[0] for part in parts], [part[1] for part in parts], share


def _divide(pair: TrainingImage, multiple: int) -> tuple[PairedImage, PairedImage]:
    """An image's upper part for training and its lower part for validation."""
    assert isinstance(pair, PairedImage)
    height = pair.shape[-2]
    border = int(height * (1 - HELD_OUT))
    if height - border < multiple or border < multiple:
        raise GvtzooError(
            f"{pair.name} has only {height} rows, too few to hold some out: add pairs, or put "
            "some into val/"
        )
    upper, lower = (..., slice(0, border), slice(None)), (..., slice(border, None), slice(None))
    return (
        replace(pair, source=pair.source[upper], target=pair.target[upper]),
        replace(pair, source=pair.source[lower], target=pair.target[lower]),
    )


def fit_patch(recipe: Recipe, images: Sequence[TrainingImage]) -> Recipe:
    """The recipe with patches that fit into every image."""
    smallest = [min(sizes) for sizes in zip(*(image.shape[1:] for image in images), strict=True)]
    patch = [
        max(multiple, min(size, available // multiple * multiple))
        for size, available, multiple in zip(
            recipe.training.patch, smallest, recipe.network.multiple, strict=True
        )
    ]
    if recipe.augmentation.turns:
        patch[-1] = patch[-2] = min(patch[-2:])
    return build_recipe(merge(recipe.model_dump(mode="json"), {"training": {"patch": patch}}))


def mean_metrics(model: Model, images: Sequence[TrainingImage]) -> dict[str, float]:
    """Mean r, NRMSE, PSNR and SSIM of a model's predictions."""
    found = []
    for image in images:
        source, target = image.raw(np.random.default_rng(0))
        found.append(evaluate_pair(target[0], predict(model, source)))
    return {label: float(np.mean([row[key] for row in found])) for key, label in COLUMNS.items()}


def _tuned(parent: Model, run: Path, recipe: Recipe) -> Model:
    from gvtzoo.packages.config import PackageConfig
    from gvtzoo.prediction.model import Model

    network = recipe.network.build()
    load_weights(network, run / "best.safetensors")
    config = PackageConfig(
        task=recipe.task,
        network=recipe.network,
        normalization=recipe.normalization,
        metadata=recipe.model or parent.config.metadata,
    )
    return Model(network, config)


def draw_before_and_after(path: Path, parent: Model, tuned: Model, image: TrainingImage) -> None:
    """Source, the two predictions, and target of one image, as a PNG."""
    from matplotlib.figure import Figure

    source, target = image.raw(np.random.default_rng(0))
    panels = {
        "source": source,
        "before": predict(parent, source)[np.newaxis],
        "after": predict(tuned, source)[np.newaxis],
        "target": target,
    }
    figure = Figure(figsize=(16, 4.3), layout="constrained")
    for axes, (title, panel) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        plane = middle_plane(panel)
        low, high = np.percentile(plane, (0.5, 99.8))
        axes.imshow(plane, cmap="gray", vmin=low, vmax=high)
        axes.set_title(title)
        axes.set_axis_off()
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=100)
