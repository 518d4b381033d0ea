"""Whether a model has seen an image before it is measured on it."""

from __future__ import annotations

from pathlib import Path

from gvtzoo.core.files import sha256_of
from gvtzoo.evaluation.pairs import EvaluationPair, Region
from gvtzoo.evaluation.results import Seen
from gvtzoo.packages.config import TrainedOn


class Seeing:
    """Compares images with what models were trained on; every file is read once."""

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}

    def of(self, trained_on: TrainedOn | None, pair: EvaluationPair) -> Seen:
        """What a model knows of a pair: the worst that holds for one of its files.

        Parameters
        ----------
        trained_on : TrainedOn, optional
            None where it is not known.
        pair : EvaluationPair
        """
        if trained_on is None or not trained_on.files:
            return ""
        digests = {self._digest(path) for path in pair.origins}
        known = [file for file in trained_on.files if file.sha256 in digests]
        inside = {file.use for file in known if _overlap(file.region, pair.region)}
        if "train" in inside:
            return "train"
        if "val" in inside:
            return "val"
        return "part" if known else ""

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = sha256_of(path)
        return self._digests[path]


def _overlap(first: Region, second: Region) -> bool:
    """Whether two parts of an image have voxels in common; an axis that is left out is whole."""
    return all(
        first[axis][0] < second[axis][1] and second[axis][0] < first[axis][1]
        for axis in first.keys() & second.keys()
    )
