"""Models, or predictions, measured on pairs: every number of a report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress, Report
from gvtzoo.evaluation.measure import HISTOGRAM_EDGES, Options, measure, voxel_size
from gvtzoo.evaluation.pairs import EvaluationPair
from gvtzoo.evaluation.predictions import Candidate, check_names, digest_of, tell_fits
from gvtzoo.evaluation.results import (
    CalibrationRow,
    ComparisonRow,
    Evaluation,
    Histogram,
    ImageResult,
    SummaryRow,
    truth_of,
)
from gvtzoo.evaluation.seen import Seeing
from gvtzoo.evaluation.statistics import compare_paired, holm, summarize
from gvtzoo.metrics.calibration import Calibration, merge_calibrations

log = logging.getLogger(__name__)


@dataclass
class _Found:
    """What is gathered of one candidate."""

    results: list[ImageResult]
    calibrations: dict[str, list[Calibration]]
    histograms: dict[str, np.ndarray]
    fitted: bool = False


def evaluate(
    candidates: Sequence[Candidate],
    pairs: Sequence[EvaluationPair],
    folder: str | Path,
    options: Options | None = None,
    *,
    data: str = "",
    command: str = "",
    progress: Report | None = None,
) -> Evaluation:
    """Predict where it is needed, measure, summarize and compare.

    Pairs that cannot be measured for every candidate (sizes that differ, a constant truth) are
    named in a warning and left out for all, so that means are over the same images.

    Parameters
    ----------
    candidates : sequence of Candidate
        With different names.
    pairs : sequence of EvaluationPair
    folder : path
        Of the evaluation: paths in it are kept relative.
    options : Options, optional
    data, command : str
        Kept in the result.
    progress : callable, optional
        ``progress(done, all, note)``.

    Returns
    -------
    Evaluation

    Raises
    ------
    GvtzooError
        When names are not unique, no pair could be measured, or one file is the prediction of two
        images.
    """
    names = [candidate.name for candidate in candidates]
    check_names(names)
    pairs = _with_names(pairs)
    truths, seeing = _truths(pairs), Seeing()
    options, folder = options or Options(), Path(folder)
    truth_histograms: dict[str, np.ndarray] = {}
    found = {name: _Found([], {}, {}) for name in names}
    calibration: dict[str, Any] = {}
    owners: dict[tuple[str, str | None], EvaluationPair] = {}
    left_out: list[str] = []
    for number, pair in enumerate(pairs):
        report = _share(progress, number, len(pairs), len(candidates))
        try:
            rows = list(_measured(candidates, pair, options, folder, report))
            rows = [
                _told(row, candidate, pair, truths, seeing)
                for row, candidate in zip(rows, candidates, strict=True)
            ]
        except GvtzooError as error:
            left_out.append(f"{pair.place.as_posix()}: {error}")
            log.warning("%s is left out: %s", pair.place, error)
            continue
        _check_owner(owners, pair, rows)
        calibration = calibration or voxel_size(pair.target)
        _gather(found, truth_histograms, pair, rows)
    tell_fits(candidates)
    if len(left_out) == len(pairs):
        raise GvtzooError(f"none of the {len(pairs)} images could be evaluated")
    results = tuple(row for name in names for row in found[name].results)
    metrics = tuple(dict.fromkeys(key for row in results for key in row.metrics))
    if options.truth:
        _tell_units(results)
    evaluation = Evaluation(
        models=tuple(names),
        metrics=metrics,
        results=results,
        calibrations=tuple(_calibration_rows(found)),
        histograms=tuple(_histograms(found, truth_histograms)),
        left_out=tuple(left_out),
        pixel_size=calibration.get("pixel_size") or {},
        unit=calibration.get("unit") or None,
        untold=tuple(
            one.name
            for one in candidates
            if one.trained_on is not None and not one.trained_on.files
        ),
        weights={one.name: one.weights for one in candidates if one.weights is not None},
        data=data,
        command=command,
        versions=_versions(),
    )
    return summarized(evaluation)


def _tell_units(results: Sequence[ImageResult]) -> None:
    """One line for each model whose predictions do not have the truths' units."""
    for model in dict.fromkeys(row.model for row in results):
        rows = [row for row in results if row.model == model]
        other = sum("mse" not in row.metrics for row in rows)
        if other:
            log.warning(
                "%s: the truth is in other units than the prediction (%d of %d images): MSE, MAE, "
                "R² and the coverage of σ are left out, and decide nothing",
                model,
                other,
                len(rows),
            )


def _with_names(pairs: Sequence[EvaluationPair]) -> list[EvaluationPair]:
    """The pairs, none without a condition or structure where others have one."""
    some = {
        group: len({getattr(pair, group) for pair in pairs}) > 1
        for group in ("condition", "structure")
    }
    return [
        replace(
            pair,
            condition=pair.condition or ("no condition" if some["condition"] else ""),
            structure=pair.structure or ("no structure" if some["structure"] else ""),
        )
        for pair in pairs
    ]


def _truths(pairs: Sequence[EvaluationPair]) -> dict[Path, str]:
    """What the truth of each pair (by its place) is called: the same file, or the same name.

    Conditions of one truth share its file in folders, and its name where noise levels were made of
    it, each with a truth of its own brightness.
    """
    names: dict[tuple[str, str], str] = {}
    found: dict[Path, str] = {}
    for pair in pairs:
        keys = (("file", str(pair.target.resolve())), (pair.structure, pair.name))
        known = [names[key] for key in keys if key in names]
        name = known[0] if known else "/".join((pair.structure, pair.name))
        for other in known[1:]:
            names = {key: name if value == other else value for key, value in names.items()}
            found = {place: name if value == other else value for place, value in found.items()}
        names |= dict.fromkeys(keys, name)
        found[pair.place] = name
    return found


def _told(
    row: _Measured,
    candidate: Candidate,
    pair: EvaluationPair,
    truths: Mapping[Path, str],
    seeing: Seeing,
) -> _Measured:
    """The result with the name of its truth, and whether the model has seen the image before."""
    known = {"truth": truths[pair.place], "seen": seeing.of(candidate.trained_on, pair)}
    return replace(row, result=row.result.model_copy(update=known))


def summarized(evaluation: Evaluation) -> Evaluation:
    """The evaluation with summaries and comparisons of its results."""
    return evaluation.model_copy(
        update={
            "summaries": tuple(_summaries(evaluation)),
            "comparisons": tuple(_corrected(list(_comparisons(evaluation)))),
        }
    )


@dataclass(frozen=True)
class _Measured:
    """One candidate on one pair."""

    result: ImageResult
    calibration: Calibration | None
    fitted: bool
    histograms: tuple[np.ndarray, np.ndarray] | None  # of the truth and of the prediction


def _measured(
    candidates: Sequence[Candidate],
    pair: EvaluationPair,
    options: Options,
    folder: Path,
    report: Callable[[int], Progress | None],
) -> Iterator[_Measured]:
    for number, candidate in enumerate(candidates):
        prediction = candidate.predict(pair, report(number))
        try:
            metrics, calibration, histograms = measure(pair, prediction, options)
        except GvtzooError as error:
            raise GvtzooError(f"{candidate.name}: {error}") from error
        result = ImageResult(
            model=candidate.name,
            image=pair.name,
            condition=pair.condition,
            structure=pair.structure,
            metrics=metrics,
            source=_kept(pair.source, folder),
            target=_kept(pair.target, folder),
            prediction=_kept(prediction.path, folder),
            sigma=_kept(prediction.sigma, folder) if prediction.sigma else None,
        )
        yield _Measured(result, calibration, not prediction.in_truth_units, histograms)


def _gather(
    found: Mapping[str, _Found],
    truths: dict[str, np.ndarray],
    pair: EvaluationPair,
    rows: Sequence[_Measured],
) -> None:
    for number, row in enumerate(rows):
        of_model = found[row.result.model]
        of_model.results.append(row.result)
        if row.calibration is not None:
            of_model.calibrations.setdefault(pair.condition, []).append(row.calibration)
            of_model.fitted = row.fitted
        if row.histograms is None:
            continue
        truth, prediction = row.histograms
        if number == 0:
            truths[pair.condition] = truths.get(pair.condition, 0) + truth
        known = of_model.histograms.get(pair.condition, 0)
        of_model.histograms[pair.condition] = known + prediction


def _check_owner(
    owners: dict[tuple[str, str | None], EvaluationPair],
    pair: EvaluationPair,
    rows: Sequence[_Measured],
) -> None:
    """That no file is the prediction of two images, such as one name in two conditions."""
    for row in rows:
        result = row.result
        owner = owners.setdefault((result.model, result.prediction), pair)
        if not _same_source(owner, pair):
            raise GvtzooError(
                f"{result.model} has one prediction, {result.prediction}, of both {owner.place} "
                f"and {pair.place}: put predictions into folders of these names"
            )


def _same_source(first: EvaluationPair, second: EvaluationPair) -> bool:
    """Whether both are predicted from the same image, be it a copy."""
    if first.channel != second.channel:
        return False
    return first.source == second.source or digest_of(first.source) == digest_of(second.source)


def _calibration_rows(found: Mapping[str, _Found]) -> Iterator[CalibrationRow]:
    for name, of_model in found.items():
        for condition, calibrations in of_model.calibrations.items():
            merged = merge_calibrations(calibrations)
            yield CalibrationRow(
                model=name,
                condition=condition,
                fitted=of_model.fitted,
                nominal=tuple(map(float, merged.nominal)),
                observed=tuple(map(float, merged.observed)),
                sigma=tuple(map(float, merged.sigma)),
                error=tuple(map(float, merged.error)),
                voxels=merged.voxels,
            )


def _histograms(
    found: Mapping[str, _Found], truths: Mapping[str, np.ndarray]
) -> Iterator[Histogram]:
    edges = tuple(map(float, HISTOGRAM_EDGES))
    for name, histograms in (("", truths), *((name, f.histograms) for name, f in found.items())):
        for condition, counts in histograms.items():
            shares = tuple(map(float, counts / counts.sum()))
            yield Histogram(model=name, condition=condition, edges=edges, shares=shares)


def groups(evaluation: Evaluation) -> list[tuple[str | None, str | None]]:
    """All images (None, None), then each condition and each structure where there are several.

    Given as (condition, structure).
    """
    found: list[tuple[str | None, str | None]] = [(None, None)]
    if len(evaluation.conditions) > 1:
        found += [(condition, None) for condition in evaluation.conditions]
    if len(evaluation.structures) > 1:
        found += [(None, structure) for structure in evaluation.structures]
    return found


def _summaries(evaluation: Evaluation) -> Iterator[SummaryRow]:
    for condition, structure in groups(evaluation):
        for model in evaluation.models:
            rows = evaluation.of(model, condition, structure)
            for metric in evaluation.metrics:
                values = _by_truth(rows, metric)
                if not values:
                    continue
                summary = summarize(list(values.values()))
                yield SummaryRow(
                    model=model,
                    condition=condition or "",
                    structure=structure or "",
                    metric=metric,
                    **asdict(summary),
                )


def _comparisons(evaluation: Evaluation) -> Iterator[ComparisonRow]:
    for condition, structure in groups(evaluation):
        for first, second in combinations(evaluation.models, 2):
            for metric in evaluation.metrics:
                ours, theirs = (
                    _by_truth(evaluation.of(model, condition, structure), metric)
                    for model in (first, second)
                )
                both = [key for key in ours if key in theirs]
                if not both:
                    continue
                values = ([found[key] for key in both] for found in (ours, theirs))
                compared = compare_paired(*values, metric=metric, first=first, second=second)
                yield ComparisonRow(
                    condition=condition or "", structure=structure or "", **asdict(compared)
                )


def _corrected(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """The comparisons with p values corrected for how many there are of a metric.

    Metrics are not counted as tests of their own: they measure much the same, in other words.
    """
    found = list(rows)
    for metric in {row.metric for row in rows}:
        places = [number for number, row in enumerate(rows) if row.metric == metric]
        t, wilcoxon = (
            holm([getattr(rows[place], name) for place in places])
            for name in ("t_p_value", "wilcoxon_p_value")
        )
        tests = sum(np.isfinite(rows[place].t_p_value) for place in places)
        for place, t_p, wilcoxon_p in zip(places, t, wilcoxon, strict=True):
            changes = {"tests": int(tests), "t_p_holm": t_p, "wilcoxon_p_holm": wilcoxon_p}
            found[place] = rows[place].model_copy(update=changes)
    return found


def _by_truth(rows: Sequence[ImageResult], metric: str) -> dict[str, float]:
    """A metric of every truth, the mean over its conditions: these are not independent."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if metric in row.metrics:
            found.setdefault(truth_of(row), []).append(row.metrics[metric])
    return {key: float(np.mean(values)) for key, values in found.items()}


def _kept(path: Path, folder: Path) -> str:
    """Below the evaluation's folder, or absolute."""
    resolved = path.resolve()
    if resolved.is_relative_to(folder.resolve()):
        return resolved.relative_to(folder.resolve()).as_posix()
    return str(resolved)


def _versions() -> dict[str, str]:
    import platform

    import torch

    from gvtzoo.core.version import __version__

    return {
        "gvtzoo": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "xarray": xr.__version__,
        "python": platform.python_version(),
    }


def _share(
    progress: Report | None, pair: int, pairs: int, candidates: int
) -> Callable[[int], Progress | None]:
    """Progress of one candidate's prediction of one pair, as a share of all."""

    def of_candidate(number: int) -> Progress | None:
        if progress is None:
            return None
        before = pair * candidates + number
        return lambda done, total: progress(
            before + done / max(total, 1), pairs * candidates, f"image {pair + 1} of {pairs}"
        )

    return of_candidate
