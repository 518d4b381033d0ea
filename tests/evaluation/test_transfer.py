"""Every model on every data set: means that belong to their row and column."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.pairs import find_pairs
from gvtzoo.evaluation.predictions import PrecomputedPredictions
from gvtzoo.evaluation.transfer import transfer
from gvtzoo.metrics.pair import evaluate_pair


def save(folder, name, image):
    folder.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(folder / f"{name}.tif", image, metadata={"axes": "YX"})


@pytest.fixture
def data_sets(tmp_path):
    """Two data sets of two images, with the same names in both."""
    generator = np.random.default_rng(0)
    for data_set in ("dots", "lines"):
        for name in ("a", "b"):
            truth = generator.random((24, 32), np.float32)
            save(tmp_path / data_set / "target", name, truth)
            save(tmp_path / data_set / "source", name, truth)
            for model, noise in (("good", 0.1), ("bad", 1.0)):
                noisy = truth + noise * generator.random((24, 32), np.float32)
                save(tmp_path / model / data_set, name, noisy)
    return {name: find_pairs(tmp_path / name, structure=name) for name in ("dots", "lines")}


def test_means_are_where_they_belong(tmp_path, data_sets):
    models = [PrecomputedPredictions(name, tmp_path / name) for name in ("bad", "good")]
    found = transfer(models, data_sets, tmp_path)
    assert (found.models, found.data_sets) == (("bad", "good"), ("dots", "lines"))
    matrix = found.matrix("ssim")
    read = tifffile.imread
    expected = [
        evaluate_pair(
            read(tmp_path / "lines" / "target" / f"{name}.tif"),
            read(tmp_path / "bad" / "lines" / f"{name}.tif"),
        )["ssim"]
        for name in ("a", "b")
    ]
    assert matrix[0, 1] == pytest.approx(np.mean(expected))
    assert (matrix[1] > matrix[0]).all()


def test_unknown_metrics_are_named(tmp_path, data_sets):
    found = transfer([PrecomputedPredictions("good", tmp_path / "good")], data_sets, tmp_path)
    with pytest.raises(GvtzooError, match="there is no metric 'dice': choose one of r, nrmse"):
        found.matrix("dice")


def test_a_data_set_without_predictions_is_named(tmp_path, data_sets):
    for file in (tmp_path / "good" / "lines").iterdir():
        file.unlink()
    with pytest.raises(GvtzooError, match="no image of lines could be evaluated"):
        transfer([PrecomputedPredictions("good", tmp_path / "good")], data_sets, tmp_path)


def test_structures_of_a_data_set_are_its_conditions(tmp_path, data_sets):
    named = {
        name: [replace(p, structure="dna") for p in pairs] for name, pairs in data_sets.items()
    }
    models = [PrecomputedPredictions("good", tmp_path / "good")]
    for name in named:
        (tmp_path / "good" / name).rename(tmp_path / "good" / f"{name}_")
        (tmp_path / "good" / name).mkdir()
        (tmp_path / "good" / f"{name}_").rename(tmp_path / "good" / name / "dna")
    found = transfer(models, named, tmp_path)
    assert found.data_sets == ("dots", "lines")
    assert found.evaluation.conditions == ("dna",)
