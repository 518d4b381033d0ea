"""Fine-tuning: a packaged model goes on learning from a few pairs of the user's own.

It cannot end worse than it began: the original is one of the candidates, which are compared on
images that were held out (`gvtzoo.training.candidates`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import check_links, write_atomically
from gvtzoo.core.layered_yaml import describe
from gvtzoo.core.progress import TrainingProgress
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.packages.run_folder import CALIBRATION, FINETUNING, RECIPE, WEIGHTS
from gvtzoo.recipes.metadata import Task
from gvtzoo.recipes.recipe import Recipe, build_recipe, to_yaml, with_settings
from gvtzoo.training.attempts import RATES, train_until_better
from gvtzoo.training.calibration import calibrate_sigma
from gvtzoo.training.candidates import LEARNED, Choice, Reconstruction, with_sigma_factor
from gvtzoo.training.comparison import predict
from gvtzoo.training.data.checks import check_images
from gvtzoo.training.data.held_out import hold_out
from gvtzoo.training.data.images import PairedImage, TrainingImage
from gvtzoo.training.data.noisy import read_noisy
from gvtzoo.training.data.patches import fitted_patch, load_images
from gvtzoo.training.data.recording import with_new_noise
from gvtzoo.training.data.rehearsal import judged_structures, with_rehearsal
from gvtzoo.training.pictures import Panel, draw_panels, score_text, target_title
from gvtzoo.training.run_folder import save_weights, write_json
from gvtzoo.training.units import settle_units

if TYPE_CHECKING:
    from gvtzoo.packages.config import PackageConfig
    from gvtzoo.prediction.model import Model

log = logging.getLogger(__name__)

STEPS = 600
VALIDATE_EVERY = 40
LARGEST_BATCH = 8
# Shares of the patches. Only where sources are their targets with noise, they can be made of them.
NEW_PATCHES: dict[Task, dict[str, float]] = {"denoising": {"new_noise": 0.75, "rehearsal": 0.15}}
RATE = "training.learning_rate"
# Settings that suit a long training, or its own data.
OF_THE_FIRST_TRAINING = ("minutes", "keep", "ema", "balance", "mantissa_bits")


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning has led to.

    Attributes
    ----------
    run : Path
        The run folder, to be packaged.
    before, after : dict
        Mean r, NRMSE, PSNR and SSIM of the held-out images; without truth, r and NRMSE.
    validation : str
        What these are.
    picture : Path
        A held-out image before and after.
    helped : bool
        Whether the run folder holds new weights, which are better in all that was compared; else
        it holds the original's.
    """

    run: Path
    before: dict[str, float]
    after: dict[str, float]
    validation: str
    picture: Path
    helped: bool


def finetune(
    model: str | Path,
    data: str | Path | None,
    run: str | Path,
    *,
    noisy: Sequence[str | Path] = (),
    settings: Iterable[str] = (),
    resume: bool = False,
    device: str = "auto",
    progress: TrainingProgress | None = None,
) -> FineTuning:
    """Train a packaged model further on pairs, or on noisy images, of one's own.

    Network, weights, normalization and recipe come from the package. Source and target are brought
    to the same units; σ, where the model has one, to the size of its errors. Where held-out images
    do not get better, the training begins again with a lower learning rate
    (`gvtzoo.training.attempts`). Of the weights between the original's and the trained ones those
    are taken that are nearest to the original and hardly worse than the best; where the gain is
    small, or other structures lose by it, the original's.

    Parameters
    ----------
    model : str or path
        As `gvtzoo.load` takes it.
    data : path, optional
        ``source/`` and ``target/`` with the same file names, or a CSV; one pair is enough. Without
        ``val/``, every fourth pair is held out, or one of two or three, or a band of a single one.
    noisy : sequence of path
        In place of pairs, images without truth (`gvtzoo.training.data.noisy`).
    run : path
        The run folder; has to be new or empty, or, with `resume`, an interrupted one's.
    settings : iterable of str
        ``key.sub=value``, of the recipe. With ``training.learning_rate`` there is one attempt.
    resume : bool
        Go on with an interrupted fine-tuning, given the same model, data and settings.
    device : {"auto", "cpu", "cuda", "mps"}
    progress : callable, optional
        ``progress(step, steps, loss)`` after every step; steps grow with every further attempt.

    Returns
    -------
    FineTuning

    Raises
    ------
    GvtzooError
        When the model cannot be used, the pairs do not suit it, or a setting is wrong.
    """
    from gvtzoo.hub.load import load_own
    from gvtzoo.prediction.model import Model

    run, settings = Path(run), list(settings)
    _check_folder(run, resume)
    parent = load_own(model)
    recipe = finetuning_recipe(parent.config, [*_base_model(model), *settings])
    training: Sequence[TrainingImage]
    held_out: Sequence[TrainingImage]
    if noisy:
        recipe, images = read_noisy(noisy, recipe)
        training, held_out, described = images.training, images.judged, images.described
    elif data is not None:
        recipe, training, held_out, described = split_pairs(data, recipe)
    else:
        raise GvtzooError("there is nothing to learn from: name pairs, or noisy images")
    pairs = [] if noisy else training
    recipe, training = with_new_noise(recipe, training)
    recipe = with_settings(recipe, training={"patch": fitted_patch(recipe, training)})
    others = judged_structures(recipe, training)
    training = with_rehearsal(recipe, training)
    recipe = with_sigma_factor(recipe, parent.network, training)
    judge = Reconstruction(
        parent,
        _config(parent, recipe),
        held_out,
        device,
        truth=recipe.data.without_truth is None,
        others=others,
        learned=pairs,
    )
    rate = recipe.training.learning_rate
    is_chosen = any(text.partition("=")[0].strip() == RATE for text in settings)
    recipe, choice, attempts = train_until_better(
        recipe,
        training,
        judge,
        run,
        [rate] if is_chosen else [rate * share for share in RATES],
        resume=resume,
        device=device,
        progress=progress,
    )
    tuned = Model(choice.network, judge.config)
    before, after = judge.mean(parent), judge.mean(tuned)
    helped = choice.share > 0
    if not helped:
        _say_why(choice, judge.margin)
    if helped:
        calibrate(run, tuned, held_out, recipe)
    else:
        tuned, after = parent, before
        _keep_original(run, recipe, parent, described)
    measured = {f"before ({parent.name})": before, "after": after}
    if recipe.task == "denoising" and judge.truth:
        measured |= _against_a_filter(judge, after)
    rows = [
        {"data": described, "method": name, "chose_weights": name == "after", **metrics}
        for name, metrics in measured.items()
    ]
    write_json(run / "metrics.json", rows)
    learned = choice.learned if pairs else {}
    report = {
        "parent": parent.name,
        "helped": helped,
        "held_out": described,
        "learning_rate": recipe.training.learning_rate,
        "attempts": attempts,
        "share": choice.share,
        "scores": [
            {"share": share, "score": score, "learned": learned.get(share)}
            for share, score in choice.scores.items()
        ],
        "least": judge.margin,
        "known": judge.is_known,
        "sigma_factor": recipe.training.sigma_factor,
    }
    write_json(run / FINETUNING, report)
    picture = run / "finetuning.png"
    draw_before_and_after(picture, parent, tuned, held_out[0], truth=judge.truth)
    return FineTuning(run, before, after, described, picture, helped)


def _say_why(choice: Choice, least: float) -> None:
    """Why the original is kept, though held-out images got better."""
    share, score = min(choice.scores.items(), key=lambda item: item[1])
    if score >= 0:
        return
    if -score <= least:
        log.warning(
            "held-out images got better by %.1f %%: below %.1f %%, that may be chance for others",
            -100 * score,
            100 * least,
        )
        return
    log.warning(
        "held-out images got better by %.1f %%, those that were learned from by %.1f %%: below "
        "%.0f %%, there is too little to learn from these pairs for others to gain",
        -100 * score,
        100 * choice.learned[share],
        100 * LEARNED,
    )


def _against_a_filter(
    judge: Reconstruction, after: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Metrics of the best Gaussian, by its name; says so where it is better than the model."""
    sigma, metrics = judge.best_gaussian()
    if metrics["NRMSE"] < after["NRMSE"]:
        log.warning(
            "a Gaussian filter of %g voxels is nearer to the held-out targets than the model: "
            "NRMSE %.4f against %.4f. Rather take the filter, or more pairs",
            sigma,
            metrics["NRMSE"],
            after["NRMSE"],
        )
    return {f"Gaussian, sigma {sigma:g}": metrics}


def calibrate(run: Path, model: Model, images: Sequence[TrainingImage], recipe: Recipe) -> None:
    """Calibrate σ, where there is one, on held-out images with truth, and keep that in the run.

    Parameters
    ----------
    run : Path
        The run folder.
    model : Model
        The fine-tuned one.
    images : sequence of TrainingImage
        Held out.
    recipe : Recipe
    """
    if not model.config.uncertainty or recipe.data.without_truth is not None:
        return
    found = calibrate_sigma(model, [_as_predicted(image, recipe.normalization) for image in images])
    write_json(run / CALIBRATION, found.model_dump(mode="json"))


def _as_predicted(image: TrainingImage, normalization: NormalizationConfig) -> TrainingImage:
    """A pair with its target in the units that predictions have."""
    if not isinstance(image, PairedImage) or not normalization.undo:
        return image
    promised = normalization.of_prediction(image.source_normalization)
    return replace(
        image, target=promised.denormalize(image.target_normalization.apply(image.target))
    )


def _check_folder(run: Path, resume: bool) -> None:
    """Before anything takes time.

    Raises
    ------
    GvtzooError
    """
    if not resume and run.is_dir() and any(run.iterdir()):
        raise GvtzooError(f"{run} is not empty: choose another folder, or continue with --resume")
    check_links(run)


def _keep_original(run: Path, recipe: Recipe, parent: Model, described: str) -> None:
    """The original's weights and name in the run folder, since nothing was better."""
    save_weights(parent.network, run / WEIGHTS)
    metadata = parent.config.metadata
    note = f"Fine-tuning did not help (on {described}): these are the weights of {metadata.id}."
    assert recipe.model is not None
    card = recipe.model.model_copy(
        update={"name": metadata.name, "description": f"{metadata.description} {note}"}
    )
    recipe = with_settings(recipe, training={"sigma_factor": parent.config.sigma_factor})
    if parent.config.calibration is not None:
        write_json(run / CALIBRATION, parent.config.calibration.model_dump(mode="json"))
    with write_atomically(run / RECIPE) as temporary:
        temporary.write_text(to_yaml(recipe.model_copy(update={"model": card})), encoding="utf-8")


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
    given = _section(original, "training") or _training_of(config)
    training = {key: value for key, value in given.items() if key not in OF_THE_FIRST_TRAINING}
    if config.task == "denoising" and training.get("loss") == "mae":
        training["loss"] = "mse"  # in little light the median of the noise is too dark
    metadata = config.metadata
    changed = {
        "name": f"{metadata.id}-finetuned",
        "task": config.task,
        "description": f"Fine-tuned from {metadata.id}.",
        "network": config.network.model_dump(mode="json"),
        "normalization": _normalization_of(config),
        "data": _data_of(original),
        "augmentation": {"flips": True, "turns": True, **NEW_PATCHES.get(config.task, {})},
        "training": {
            **training,
            "steps": STEPS,
            "batch_size": _batch_size(training),
            "learning_rate": training.get("learning_rate", 1e-3),
            "schedule": {"kind": "cosine", "warm_up": 10},
            "validation": True,
            "validate_every": VALIDATE_EVERY,
            "early_stopping": None,  # the first steps often do harm, which the last ones mend
            # Else only the brightest of the rehearsed structures would count.
            "balance": config.task == "denoising",
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


def _normalization_of(config: PackageConfig) -> dict[str, Any]:
    """A package's normalization without the units of the targets that it was trained on."""
    normalization = config.normalization.model_dump(mode="json")
    target = "as_source" if normalization["target"] == "fitted" else normalization["target"]
    return {**normalization, "target": target, "target_units": None}


def _training_of(config: PackageConfig) -> dict[str, Any]:
    """Settings for a package that does not say how it was trained."""
    patch = (64, 64) if config.network.dimensions == 2 else (16, 64, 64)
    sizes = [max(m, p // m * m) for p, m in zip(patch, config.network.multiple, strict=True)]
    return {"patch": sizes, "loss": "mae", "gradient_clip": 1.0}


def _section(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a package's recipe, which nobody has checked; empty where it is none."""
    found = recipe.get(name)
    return found if isinstance(found, dict) else {}


def _batch_size(training: dict[str, Any]) -> Any:
    """As in the first training, but not above what little data give; checked with the rest."""
    given = training.get("batch_size", LARGEST_BATCH)
    return min(given, LARGEST_BATCH) if isinstance(given, int) else given


def _data_of(original: dict[str, Any]) -> dict[str, Any]:
    """What of a recipe's data settings is about any images, not about its own files."""
    data = _section(original, "data")
    kept = ("planes_as_channels", "pixel_size")
    return {key: data[key] for key in kept if data.get(key) is not None}


def split_pairs(
    data: str | Path, recipe: Recipe
) -> tuple[Recipe, Sequence[TrainingImage], Sequence[TrainingImage], str]:
    """The recipe with the pairs' units, training images, held-out ones, and what these are called.

    Raises
    ------
    GvtzooError
        When there are no pairs, or a single one is too small to be divided.
    """
    pairs = load_images(data, "train", recipe)
    held_out = load_images(data, "val", recipe)
    if not pairs:
        raise GvtzooError(f"{data} holds no pairs: put them into source/ and target/")
    check_images(pairs)
    # Before images are divided: whole ones tell more.
    recipe, pairs, held_out = settle_units(recipe, pairs, held_out)
    if held_out:
        return recipe, pairs, held_out, f"{len(held_out)} validation pairs"
    return recipe, *hold_out(pairs, recipe.network.multiple)


def _config(parent: Model, recipe: Recipe) -> PackageConfig:
    from gvtzoo.packages.config import PackageConfig

    return PackageConfig(
        task=recipe.task,
        network=recipe.network,
        normalization=recipe.normalization,
        metadata=recipe.model or parent.config.metadata,
        sigma_factor=recipe.training.sigma_factor,
    )


def draw_before_and_after(
    path: Path, parent: Model, tuned: Model, image: TrainingImage, *, truth: bool
) -> None:
    """Source, the two predictions with their scores, and target of one image, as a PNG.

    Parameters
    ----------
    path : Path
        The picture's; a file that is there is replaced.
    parent, tuned : Model
        Before and after.
    image : TrainingImage
    truth : bool
        Whether the target is a truth, and not another noisy image.
    """
    source, target = image.raw(np.random.default_rng(0))
    panels = [Panel("source", source)]
    for title, model in (("before", parent), ("after", tuned)):
        predicted = predict(model, source)[np.newaxis]
        panels.append(Panel(title, predicted, score_text(target, predicted, truth=truth)))
    panels.append(Panel(target_title(truth), target))
    draw_panels(path, panels, image.calibration)
