"""The trainings of a fine-tuning: with lower and lower learning rates, until one helps.

A short trial tells little of a rate: with a high one held-out images often get worse before they
get better, so that trials choose rates that change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.json_files import read_json
from gvtzoo.core.progress import TrainingProgress
from gvtzoo.packages.run_folder import WEIGHTS
from gvtzoo.recipes.recipe import Recipe, with_settings
from gvtzoo.training.candidates import Choice, Reconstruction, choose_between
from gvtzoo.training.data.images import TrainingImage
from gvtzoo.training.resume import begun_recipe
from gvtzoo.training.run_folder import ASIDE, load_weights, save_weights, write_json
from gvtzoo.training.train import train_on

RATES = (1.0, 0.25)  # times the first training's
TRAINED = "trained.safetensors"  # the end of the way from the original's weights
ATTEMPT, PARTIAL = "attempt.json", ".partial"

Attempt = dict[str, float]  # its learning rate, and its best score


def train_until_better(
    recipe: Recipe,
    training: Sequence[TrainingImage],
    judge: Reconstruction,
    run: Path,
    rates: Sequence[float],
    *,
    resume: bool,
    device: str,
    progress: TrainingProgress | None,
) -> tuple[Recipe, Choice, list[Attempt]]:
    """Train with each of some learning rates, until held-out images get better.

    Attempts that did not help are kept in folders of the run, ``attempt_1`` and so on.

    Parameters
    ----------
    recipe : Recipe
        But for the learning rate.
    training : sequence of TrainingImage
    judge : Reconstruction
        With the images that are held out, and the original.
    run : Path
        The run folder. ``best.safetensors`` is what was chosen, ``trained.safetensors`` what the
        last training ended with.
    rates : sequence of float
        From high to low.
    resume : bool
        Go on in a run folder that was left.
    device : str
    progress : callable, optional
        ``progress(step, steps, loss)``, of all attempts together.

    Returns
    -------
    recipe : Recipe
        Of the last attempt.
    choice : Choice
        Of what that led to; the original, where no attempt helped.
    attempts : list of dict
        All of them: ``rate`` and ``score``, lower is better, 0 is the original's.
    """
    attempts = _set_aside(run)
    while True:
        started = begun_recipe(run, resume=resume)
        rate = started.training.learning_rate if started else rates[len(attempts)]
        changed = {"learning_rate": rate}
        if started is not None:  # where the original was kept, it is the original's
            changed["sigma_factor"] = started.training.sigma_factor
        recipe = with_settings(recipe, training=changed)
        _train(
            recipe, training, judge, run, started is not None, device, _after(attempts, progress)
        )
        choice = _choose(judge, run)
        attempts.append({"rate": rate, "score": min(choice.scores.values())})
        if choice.share > 0 or len(attempts) >= len(rates):
            return recipe, choice, attempts
        _put_aside(run, attempts)


def _train(
    recipe: Recipe,
    training: Sequence[TrainingImage],
    judge: Reconstruction,
    run: Path,
    resume: bool,
    device: str,
    progress: TrainingProgress | None,
) -> None:
    """One training from the original's weights."""
    if (run / TRAINED).is_file():  # it goes on from what it ended with, not from what was chosen
        (run / TRAINED).replace(run / WEIGHTS)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_weights(judge.original.network, weights)
        train_on(
            recipe,
            training,
            judge.images,
            run,
            resume=resume,
            device=device,
            weights=weights,
            progress=progress,
            judge=judge,
            parent=judge.original.config,
        )


def _choose(judge: Reconstruction, run: Path) -> Choice:
    """Weights between the original's and the trained ones, as the run's."""
    trained = judge.config.network.build()
    load_weights(trained, run / WEIGHTS)
    choice = choose_between(judge, trained)
    save_weights(trained, run / TRAINED)
    save_weights(choice.network, run / WEIGHTS)
    return choice


def _set_aside(run: Path) -> list[Attempt]:
    """The attempts that did not help, in their order."""
    _finish_putting_aside(run)
    folders = sorted(path for path in run.glob(ASIDE) if path.is_dir())
    return [_attempt(folder / ATTEMPT) for folder in folders]


def _attempt(path: Path) -> Attempt:
    found = read_json(path)
    if not isinstance(found, dict) or not {"rate", "score"} <= found.keys():
        raise GvtzooError(f"{path} does not say with which rate what was reached: start a new run")
    return found


def _put_aside(run: Path, attempts: Sequence[Attempt]) -> None:
    """All that the last attempt has left, into a folder of its own."""
    write_json(run / ATTEMPT, attempts[-1])
    (run / ASIDE.replace("*", f"{len(attempts)}{PARTIAL}")).mkdir()
    _finish_putting_aside(run)


def _finish_putting_aside(run: Path) -> None:
    """Also where a computer was switched off meanwhile."""
    for folder in run.glob(ASIDE + PARTIAL):
        for path in [path for path in run.iterdir() if not path.match(ASIDE)]:
            path.rename(folder / path.name)
        folder.rename(folder.with_suffix(""))


def _after(
    attempts: Sequence[Attempt], progress: TrainingProgress | None
) -> TrainingProgress | None:
    """Progress with the steps of the attempts before."""
    if progress is None:
        return None
    before = len(attempts)
    return lambda step, steps, loss: progress(before * steps + step, (before + 1) * steps, loss)
