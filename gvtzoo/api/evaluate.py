"""`gvtzoo.evaluate`: models against truths, with a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Report
from gvtzoo.evaluation import folder as report_folder
from gvtzoo.evaluation.measure import Options
from gvtzoo.evaluation.pairs import EvaluationPair, find_pairs, write_recipe_pairs
from gvtzoo.evaluation.predictions import (
    Candidate,
    IdentityBaseline,
    check_names,
    open_candidate,
)
from gvtzoo.evaluation.results import Evaluation
from gvtzoo.evaluation.run import evaluate as run_evaluation
from gvtzoo.evaluation.without_truth import BestGaussian, write_noisy_pairs
from gvtzoo.prediction.settings import Settings
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.report.page import write_result


def evaluate(
    models: str | Path | Sequence[str | Path],
    data: str | Path | None,
    output: str | Path,
    *,
    noisy: Sequence[str | Path] = (),
    conditions: Sequence[str] = (),
    recipe: str | None = None,
    resolution: bool = False,
    segmentation: bool = False,
    with_input: bool = False,
    trust: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Report | None = None,
    **options: Any,
) -> Evaluation:
    """Measure models on image pairs, compare them, and write a report.

    The report's folder holds index.html, tables, and the predictions, which are not made again as
    long as model, image and settings are the same.

    Parameters
    ----------
    models : str or path, or sequence of them
        Models as `gvtzoo.load` takes them, run folders, or folders of predictions that have the
        images' names; with names of their own as ``"NAME=MODEL"``.
    data : path, optional
        Folder with ``source/`` and ``target/``, or a CSV with such columns; None with `noisy`.
    output : path
        The report's folder; has to be new, or of the same evaluation.
    noisy : sequence of path
        In place of data, noisy images without truth: frames of a time series are measured against
        the next ones, a single image against a part of its photons.
    conditions : sequence of str
        Folders beside ``target/`` in the place of ``source/``: noise levels of one truth.
    recipe : str, optional
        Test images as this recipe reads them: regions, simulated noise.
    resolution : bool
        Fourier ring or shell correlation, too.
    segmentation : bool
        Overlap of thresholded objects, too.
    with_input : bool
        Compare with the input images, too.
    trust : bool
        Whether code may run that a package of others brings along.
    overwrite : bool
        Whether the result of another evaluation is replaced.
    command : str
        What was typed, for the report.
    progress : callable, optional
        ``progress(done, all, note)``.
    **options
        Fields of `gvtzoo.prediction.settings.Settings`: device, tiling, memory and others.

    Returns
    -------
    Evaluation
        Rows of every image, summaries and comparisons, as ``evaluation.json`` keeps them.

    Raises
    ------
    GvtzooError
        When there is nothing to measure, models or data cannot be used, or the folder is taken.

    Examples
    --------
    >>> import gvtzoo
    >>> found = gvtzoo.evaluate(
    ...     "gvtnet-denoising-nuclei", "pairs/", "report/", with_input=True
    ... )  # doctest: +SKIP
    >>> print(found.summary_table())  # doctest: +SKIP
    """
    check_choices(data, noisy, conditions, recipe, needs_truth=resolution or segmentation)
    output, images = Path(output), [Path(path) for path in noisy]
    data = None if data is None else Path(data)
    several = [models] if isinstance(models, (str, Path)) else models
    pairs: Sequence[EvaluationPair] = []
    if recipe is None and data is not None:
        pairs = find_pairs(data, conditions=list(conditions))
    kept, settings = output / report_folder.PREDICTIONS, Settings(**options)
    candidates: list[Candidate] = [
        open_candidate(str(model), kept, settings, trust=trust) for model in several
    ]
    if with_input:
        candidates.append(IdentityBaseline())
    check_names([candidate.name for candidate in candidates])
    loaded = None if recipe is None else load_recipe(recipe)
    identity: dict[str, Any] = {
        "models": {candidate.name: candidate.identity for candidate in candidates},
        "data": str(data.resolve()) if data else [str(path.resolve()) for path in images],
        "conditions": list(conditions),
        "recipe": recipe,
        "resolution": resolution,
        "segmentation": segmentation,
    }
    report_folder.claim(output, identity, overwrite=overwrite)
    if images:
        pairs = write_noisy_pairs(images, output / report_folder.IMAGES)
        candidates.append(BestGaussian(pairs, kept / "best_gaussian"))
    elif loaded is not None and data is not None:
        pairs = write_recipe_pairs(loaded, data, output / report_folder.IMAGES)
    evaluation = run_evaluation(
        candidates,
        pairs,
        output,
        Options(resolution, segmentation, truth=not images),
        data=_described(data, images, recipe),
        command=command,
        progress=progress,
    )
    write_result(output, evaluation)
    return evaluation


def check_choices(
    data: object,
    noisy: Sequence[object],
    conditions: Sequence[str],
    recipe: str | None,
    *,
    needs_truth: bool,
) -> None:
    """That what is asked for goes together.

    Parameters
    ----------
    data, noisy, conditions, recipe
        As of `evaluate`.
    needs_truth : bool
        Whether something is to be measured that takes a truth.

    Raises
    ------
    GvtzooError
    """
    if (data is None) == (not noisy):
        raise GvtzooError("name either pairs (data), or noisy images (noisy)")
    if noisy and (recipe is not None or conditions or needs_truth):
        raise GvtzooError(
            "recipe, conditions, resolution and segmentation need a truth: leave them out"
        )
    if recipe is not None and conditions:
        raise GvtzooError("a recipe has its own conditions: leave out conditions")


def _described(data: Path | None, noisy: Sequence[Path], recipe: str | None) -> str:
    if noisy:
        names = ", ".join(path.name for path in noisy)
        return (
            f"{names}, without truth: each recording against another one, whose noise is "
            "independent; r is below 1 for the best prediction, too"
        )
    return str(data) if recipe is None else f"{data}, test images of {recipe}"
