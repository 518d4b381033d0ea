"""Evaluations made of small images, with everything that a report can show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np
import tifffile

from gvtzoo.evaluation.results import (
    CalibrationRow,
    ComparisonRow,
    Evaluation,
    Histogram,
    ImageResult,
    SummaryRow,
)
from gvtzoo.metrics.pair import evaluate_pair

METRICS = ("r", "nrmse", "psnr", "ssim", "mse", "mae", "r2")


def make_evaluation(
    folder: Path,
    *,
    models: Sequence[str] = ("network", "filter"),
    images: Sequence[str] = ("a", "b", "c", "d"),
    conditions: Sequence[str] = ("",),
    structures: Sequence[str] = ("",),
    shape: Sequence[int] = (6, 24, 16),
    sigma: bool = True,
) -> Evaluation:
    """Models that are worse the later they come, the first with σ; files are written to folder."""
    generator = np.random.default_rng(0)
    results = []
    for number, (structure, condition, image) in enumerate(product(structures, conditions, images)):
        truth = generator.gamma(1, 100, shape).astype(np.float32)
        names = [f"{number}_{part}.tif" for part in ("source", "target", "sigma")]
        noisy = truth + generator.normal(0, 60, shape)
        for name, part in zip(names, (noisy, truth, np.full(shape, 20)), strict=True):
            tifffile.imwrite(folder / name, part.astype(np.float32))
        for place, model in enumerate(models):
            prediction = truth + generator.normal(0, 10 + 10 * place + number, shape)
            file = f"{number}_prediction_{place}.tif"
            tifffile.imwrite(folder / file, prediction.astype(np.float32))
            results.append(
                ImageResult(
                    model=model,
                    image=image,
                    condition=condition,
                    structure=structure,
                    metrics=evaluate_pair(truth, prediction),
                    source=names[0],
                    target=names[1],
                    prediction=file,
                    sigma=names[2] if sigma and place == 0 else None,
                )
            )
    places = [("", "")]
    places += [(name, "") for name in conditions if len(conditions) > 1]
    places += [("", name) for name in structures if len(structures) > 1]
    return Evaluation(
        models=tuple(models),
        metrics=METRICS,
        results=tuple(results),
        summaries=tuple(
            _summary(results, model, *place, metric)
            for place in places
            for model in models
            for metric in METRICS
        ),
        comparisons=tuple(
            _comparison(first, second, *place, metric)
            for place in places
            for first, second in combinations(models, 2)
            for metric in METRICS
        ),
        calibrations=tuple(
            CalibrationRow(
                model=models[0],
                condition=name,
                nominal=(0.5, 0.9),
                observed=(0.4, 0.85),
                sigma=(5.0, 20.0),
                error=(6.0, 25.0),
                voxels=1000,
            )
            for name in conditions
            if sigma
        ),
        histograms=tuple(
            Histogram(
                model=model, condition=name, edges=(-0.5, 0.0, 0.5, 1.0), shares=(0.1, 0.7, 0.2)
            )
            for model in ("", *models)
            for name in conditions
        ),
        pixel_size={"z": 0.6, "y": 0.2, "x": 0.2},
        unit="micrometer",
        data="images/",
        command="gvtzoo evaluate network filter/ --data images/ -o report/",
        versions={"gvtzoo": "1.0"},
    )


def _summary(
    results: Sequence[ImageResult], model: str, condition: str, structure: str, metric: str
) -> SummaryRow:
    values = [
        row.metrics[metric]
        for row in results
        if row.model == model
        and condition in ("", row.condition)
        and structure in ("", row.structure)
    ]
    mean = float(np.mean(values))
    return SummaryRow(
        model=model,
        condition=condition,
        structure=structure,
        metric=metric,
        count=len(values),
        mean=mean,
        deviation=float(np.std(values)),
        median=float(np.median(values)),
        low=0.98 * mean,
        high=1.02 * mean,
    )


def _comparison(
    first: str, second: str, condition: str, structure: str, metric: str
) -> ComparisonRow:
    return ComparisonRow(
        first=first,
        second=second,
        condition=condition,
        structure=structure,
        metric=metric,
        count=4,
        difference=0.1,
        effect_size=1.5,
        t=3.0,
        t_p_value=0.0123,
        wilcoxon=10.0,
        wilcoxon_p_value=0.066,
        tests=3,
        t_p_holm=0.0369,
        wilcoxon_p_holm=0.198,
    )
