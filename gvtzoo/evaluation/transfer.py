"""Every model on every data set: the paper's Fig. 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Report
from gvtzoo.evaluation.measure import Options
from gvtzoo.evaluation.pairs import EvaluationPair
from gvtzoo.evaluation.predictions import Candidate
from gvtzoo.evaluation.results import Evaluation
from gvtzoo.evaluation.run import evaluate


@dataclass(frozen=True)
class Transfer:
    """What every model reaches on every data set.

    Attributes
    ----------
    evaluation : Evaluation
        With the data sets as its structures.
    """

    evaluation: Evaluation

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models: the rows of `matrix`."""
        return self.evaluation.models

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Names of the data sets: the columns of `matrix`."""
        return self.evaluation.structures

    def matrix(self, metric: str) -> np.ndarray:
        """Means over images, (models, data sets).

        Raises
        ------
        GvtzooError
            When there is no such metric.
        """
        if metric not in self.evaluation.metrics:
            known = ", ".join(self.evaluation.metrics)
            raise GvtzooError(f"there is no metric {metric!r}: choose one of {known}")
        return np.array(
            [
                [
                    np.mean(
                        [row.metrics[metric] for row in self.evaluation.of(model, None, data_set)]
                    )
                    for data_set in self.data_sets
                ]
                for model in self.models
            ]
        )


def transfer(
    candidates: Sequence[Candidate],
    data_sets: Mapping[str, Sequence[EvaluationPair]],
    folder: str | Path,
    *,
    command: str = "",
    progress: Report | None = None,
) -> Transfer:
    """Measure models on data sets that they were, and were not, trained for.

    Parameters
    ----------
    candidates : sequence of Candidate
    data_sets : mapping of str to sequence of EvaluationPair
        By name, which takes the place of the pairs' structure; that becomes a part of the
        condition.
    folder : path
        As of `gvtzoo.evaluation.run.evaluate`.
    command : str
        Kept in the result.
    progress : callable, optional

    Raises
    ------
    GvtzooError
        As `gvtzoo.evaluation.run.evaluate`, or when a data set has no pair left.
    """
    pairs = [_of_data_set(name, pair) for name, pairs in data_sets.items() for pair in pairs]
    evaluation = evaluate(
        candidates,
        pairs,
        folder,
        Options(),
        data=", ".join(data_sets),
        command=command,
        progress=progress,
    )
    lost = next((name for name in data_sets if name not in evaluation.structures), None)
    if lost is not None:
        raise GvtzooError(f"no image of {lost} could be evaluated with all models")
    return Transfer(evaluation)


def _of_data_set(name: str, pair: EvaluationPair) -> EvaluationPair:
    if pair.structure in ("", name):
        return replace(pair, structure=name)
    condition = " ".join(part for part in (pair.structure, pair.condition) if part)
    return replace(pair, structure=name, condition=condition)
