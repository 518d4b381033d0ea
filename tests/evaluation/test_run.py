"""What an evaluation says is what its images say."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.measure import Options, frames, measure
from gvtzoo.evaluation.pairs import EvaluationPair, find_pairs
from gvtzoo.evaluation.predictions import IdentityBaseline, PrecomputedPredictions, Prediction
from gvtzoo.evaluation.results import Evaluation, SummaryRow
from gvtzoo.evaluation.run import evaluate, groups
from gvtzoo.evaluation.statistics import compare_paired, holm, summarize
from gvtzoo.images.files import write_image
from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.metrics.segmentation import evaluate_segmentation

SHAPE = (40, 48)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = "ZYX"[-image.ndim :]
    metadata = {"axes": axes, "unit": "um"}
    tifffile.imwrite(
        path, image.astype(np.float32), imagej=True, resolution=(4, 4), metadata=metadata
    )


@pytest.fixture
def truths(tmp_path):
    """Three images in two conditions; predictions of a good and a bad model with known errors."""
    generator = np.random.default_rng(0)
    found = {}
    for name in "abc":
        truth = generator.gamma(1, 100, SHAPE).astype(np.float32)
        save(tmp_path / "data" / "target" / f"{name}.tif", truth)
        for condition in ("dim", "bright"):
            save(tmp_path / "data" / condition / f"{name}.tif", truth)
            for model, noise in (("good", 10), ("bad", 80)):
                noisy = (truth + generator.normal(0, noise, SHAPE)).astype(np.float32)
                save(tmp_path / model / condition / f"{name}.tif", noisy)
                found[model, condition, name] = truth, noisy
    return found


@pytest.fixture
def evaluation(tmp_path, truths):
    models = [PrecomputedPredictions(name, tmp_path / name) for name in ("good", "bad")]
    pairs = find_pairs(tmp_path / "data", conditions=["dim", "bright"])
    return evaluate(models, pairs, tmp_path / "report", Options(resolution=True, segmentation=True))


def test_metrics_are_those_of_the_pair(evaluation, truths):
    assert evaluation.models == ("good", "bad")
    assert len(evaluation.results) == 12
    for row in evaluation.results:
        truth, noisy = truths[row.model, row.condition, row.image]
        expected = evaluate_pair(truth, noisy) | evaluate_segmentation(truth, noisy)
        assert {name: row.metrics[name] for name in expected} == pytest.approx(expected)
        # The pixel is 0.25 µm wide, so the best there can be is 0.5 µm.
        assert row.metrics["resolution"] >= 0.5
    assert evaluation.pixel_size == pytest.approx({"y": 0.25, "x": 0.25})


def test_summaries_and_comparisons(evaluation):
    assert groups(evaluation) == [(None, None), ("dim", None), ("bright", None)]
    values = {
        model: [row.metrics["ssim"] for row in evaluation.of(model, "dim")]
        for model in evaluation.models
    }
    (summary,) = (
        row
        for row in evaluation.summaries
        if (row.model, row.condition, row.metric) == ("good", "dim", "ssim")
    )
    expected = summarize(values["good"])
    assert (summary.count, summary.mean, summary.high) == (3, expected.mean, expected.high)
    (comparison,) = (
        row for row in evaluation.comparisons if (row.condition, row.metric) == ("dim", "ssim")
    )
    compared = compare_paired(*values.values(), metric="ssim", first="good", second="bad")
    assert comparison.t_p_value == compared.t_p_value
    assert comparison.difference == compared.difference > 0


def test_conditions_of_one_truth_count_once(evaluation):
    rows = {row.metric: row for row in evaluation.comparisons if not row.condition}
    assert rows["ssim"].count == 3  # truths, of six images
    means = [
        [
            np.mean([row.metrics["ssim"] for row in evaluation.of(model) if row.image == image])
            for image in ("a", "b", "c")
        ]
        for model in evaluation.models
    ]
    expected = compare_paired(*means, metric="ssim", first="good", second="bad")
    assert rows["ssim"].t_p_value == pytest.approx(expected.t_p_value)
    (summary,) = (
        row
        for row in evaluation.summaries
        if (row.model, row.condition, row.metric) == ("good", "", "ssim")
    )
    assert summary == SummaryRow(model="good", metric="ssim", **asdict(summarize(means[0])))
    several = [row.metrics["ssim"] for row in evaluation.of("good")]
    assert summary.deviation != summarize(several).deviation


def test_p_values_are_corrected_for_the_tests_of_a_metric(evaluation):
    rows = [row for row in evaluation.comparisons if row.metric == "ssim"]
    assert [row.condition for row in rows] == ["", "dim", "bright"]
    assert [row.tests for row in rows] == [3, 3, 3]
    assert [row.t_p_holm for row in rows] == holm([row.t_p_value for row in rows])
    assert [row.wilcoxon_p_holm for row in rows] == [0.375] * 3  # 3 · 1/8, the least of 3 images


def test_truths_of_a_table_are_told_by_their_file(tmp_path, truths):
    """The sources of one truth have names of their own."""
    lines = ["source,target,condition"]
    for condition in ("dim", "bright"):
        for name in "abc":
            source = tmp_path / "data" / condition / f"{name}.tif"
            source.rename(source.with_name(f"{name}_{condition}.tif"))
            lines.append(f"{condition}/{name}_{condition}.tif,target/{name}.tif,{condition}")
    (tmp_path / "data" / "pairs.csv").write_text("\n".join(lines))
    pairs = find_pairs(tmp_path / "data" / "pairs.csv")
    found = evaluate([IdentityBaseline()], pairs, tmp_path)
    assert len(found.results) == 6
    assert {row.count for row in found.summaries if not row.condition} == {3}


def test_images_without_condition_are_a_group_of_their_own(tmp_path, truths):
    pairs = find_pairs(tmp_path / "data", conditions=["dim"])
    others = find_pairs(tmp_path / "data", conditions=["bright"])
    mixed = [*pairs, *(replace(pair, condition="") for pair in others)]
    found = evaluate([PrecomputedPredictions("m", tmp_path / "data" / "target")], mixed, tmp_path)
    assert found.conditions == ("dim", "no condition")
    counts = {row.condition: row.count for row in found.summaries if row.metric == "r"}
    assert counts == {"": 3, "dim": 3, "no condition": 3}


def test_histograms_are_shares(evaluation):
    assert {(row.model, row.condition) for row in evaluation.histograms} == {
        (model, condition) for model in ("", "good", "bad") for condition in ("dim", "bright")
    }
    for row in evaluation.histograms:
        assert sum(row.shares) == pytest.approx(1)
        assert len(row.edges) == len(row.shares) + 1


def test_tables_and_json(evaluation):
    lines = evaluation.table().splitlines()
    assert len(lines) == 1 + 12
    assert lines[0].startswith("model,structure,condition,image,r,nrmse,psnr,ssim,mse,mae,r2")
    text = evaluation.model_dump_json()
    assert Evaluation.model_validate_json(text).model_dump_json() == text


def test_endless_metrics_stay_in_the_json(evaluation):
    row = evaluation.results[0].model_copy(update={"metrics": {"psnr": math.inf, "r": math.nan}})
    endless = evaluation.model_copy(update={"results": (row,)})
    text = endless.model_dump_json()
    assert "Infinity" in text
    metrics = Evaluation.model_validate_json(text).results[0].metrics
    assert math.isinf(metrics["psnr"])
    assert math.isnan(metrics["r"])


def test_what_cannot_be_measured_is_left_out_for_all(tmp_path, truths, caplog):
    save(tmp_path / "good" / "dim" / "a.tif", np.zeros((8, 8)))
    models = [PrecomputedPredictions(name, tmp_path / name) for name in ("good", "bad")]
    pairs = find_pairs(tmp_path / "data", conditions=["dim", "bright"])
    found = evaluate(models, pairs, tmp_path)
    assert [len(found.of(name)) for name in ("good", "bad")] == [5, 5]
    assert "dim/a is left out: good: target (40, 48) and prediction (8, 8) differ" in caplog.text
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith("dim/a: good: target")
    with pytest.raises(GvtzooError, match="none of the 1 images could be evaluated"):
        evaluate(models, pairs[:1], tmp_path)


def test_two_models_of_one_name(tmp_path, truths):
    model = PrecomputedPredictions("good", tmp_path / "good")
    pairs = find_pairs(tmp_path / "data", conditions=["dim"])
    with pytest.raises(GvtzooError, match="two models are called good: give them names"):
        evaluate([model, model], pairs, tmp_path)
    alike = [PrecomputedPredictions(name, tmp_path / "good") for name in ("a b", "A_b")]
    with pytest.raises(GvtzooError, match="two models are called A_b"):
        evaluate(alike, pairs, tmp_path)


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (0.01, -3)])
def test_sigma_is_calibrated_in_any_units(tmp_path, scale, offset):
    generator = np.random.default_rng(0)
    truth = generator.gamma(2, 500, (200, 200))
    sigma = generator.uniform(5, 20, truth.shape)
    prediction = truth + generator.laplace(0, sigma)
    save(tmp_path / "data" / "source" / "a.tif", truth)
    save(tmp_path / "data" / "target" / "a.tif", truth)
    save(tmp_path / "model" / "a.tif", scale * prediction + offset)
    save(tmp_path / "model" / "a_sigma.tif", scale * sigma)
    found = evaluate(
        [PrecomputedPredictions("model", tmp_path / "model")],
        find_pairs(tmp_path / "data"),
        tmp_path,
    )
    (row,) = found.calibrations
    assert row.fitted
    assert row.voxels == truth.size
    np.testing.assert_allclose(row.observed, row.nominal, atol=0.01)
    np.testing.assert_allclose(row.error, row.sigma, rtol=0.15)


@given(order=st.permutations("tzyx"), single=st.sets(st.sampled_from("tz")))
def test_axes_are_matched_by_name(order, single):
    sizes = {
        axis: 1 if axis in single else size for axis, size in zip("tzyx", (2, 3, 4, 5), strict=True)
    }
    image = xr.DataArray(
        np.arange(math.prod(sizes.values())).reshape(*sizes.values()), dims=tuple("tzyx")
    )
    expected = image.to_numpy().reshape(sizes["t"], *(s for a, s in sizes.items() if a in "zyx"))
    for number, frame in enumerate(frames(image.transpose(*order))):
        np.testing.assert_array_equal(frame, expected[number].reshape(frame.shape))
        assert frame.ndim == (2 if "z" in single else 3)


def test_a_row_stays_a_row():
    (frame,) = frames(xr.DataArray(np.zeros((1, 1, 9)), dims=("z", "y", "x")))
    assert frame.shape == (1, 9)


def test_times_are_measured_one_by_one(tmp_path):
    truth = np.random.default_rng(0).gamma(1, 100, (3, *SHAPE)).astype(np.float32)
    noisy = truth + np.random.default_rng(1).normal(0, 30, truth.shape).astype(np.float32)
    for folder, image in (("data/source", truth), ("data/target", truth), ("model", noisy)):
        path = tmp_path / folder / "a.tif"
        path.parent.mkdir(parents=True)
        tifffile.imwrite(path, image, imagej=True, metadata={"axes": "TYX"})
    model = PrecomputedPredictions("model", tmp_path / "model")
    found = evaluate([model], find_pairs(tmp_path / "data"), tmp_path, Options(resolution=True))
    expected = [evaluate_pair(*images) for images in zip(truth, noisy, strict=True)]
    for name in ("r", "ssim", "mse"):
        mean = np.mean([metrics[name] for metrics in expected])
        assert found.results[0].metrics[name] == pytest.approx(mean)
    tifffile.imwrite(tmp_path / "model" / "a.tif", noisy[:2], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(GvtzooError, match="none of the 1"):
        evaluate([model], find_pairs(tmp_path / "data"), tmp_path)


def test_channels_are_measured_one_by_one(tmp_path):
    truth = np.random.default_rng(0).gamma(1, 100, (2, *SHAPE)).astype(np.float32)
    noisy = truth + np.random.default_rng(1).normal(0, 30, truth.shape).astype(np.float32)
    for name, image in (("truth", truth), ("noisy", noisy)):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, image, imagej=True, metadata={"axes": "CYX"})
    path = tmp_path / "truth.tif"
    prediction = Prediction(tmp_path / "noisy.tif")
    found = measure(EvaluationPair("a", path, path), prediction, Options())[0]
    each = [evaluate_pair(*images)["r"] for images in zip(truth, noisy, strict=True)]
    assert found["r"] == pytest.approx(np.mean(each))
    second = EvaluationPair("a", path, path, target_channel="1")
    save(tmp_path / "second.tif", noisy[1])
    found = measure(second, Prediction(tmp_path / "second.tif"), Options())[0]
    assert found["r"] == pytest.approx(each[1])
    with pytest.raises(GvtzooError, match="the prediction 2"):
        measure(second, prediction, Options())


@pytest.mark.parametrize("shape", [(2, *SHAPE), (30, 48)])
def test_sigma_of_another_size_is_refused(tmp_path, shape):
    truth = np.random.default_rng(0).gamma(1, 100, SHAPE).astype(np.float32)
    save(tmp_path / "a.tif", truth)
    save(tmp_path / "a_sigma.tif", np.ones(shape))
    path = tmp_path / "a.tif"
    with pytest.raises(GvtzooError, match=r"a_sigma\.tif has another size than the prediction"):
        measure(
            EvaluationPair("a", path, path), Prediction(path, tmp_path / "a_sigma.tif"), Options()
        )


def test_a_wrong_gain_is_not_fitted_away_where_units_are_the_truths(tmp_path):
    generator = np.random.default_rng(0)
    # Of 8×8 voxels each, so that means over blocks show the structure: units are told by these.
    truth = np.kron(generator.gamma(2, 500, (8, 8)), np.ones((8, 8))).astype(np.float32)
    sigma = np.full(truth.shape, 10, np.float32)
    prediction = 1.5 * truth + generator.laplace(0, sigma).astype(np.float32)
    for name, image in (("truth", truth), ("prediction", prediction), ("sigma", sigma)):
        save(tmp_path / f"{name}.tif", image)
    pair = EvaluationPair("a", tmp_path / "truth.tif", tmp_path / "truth.tif")
    files = tmp_path / "prediction.tif", tmp_path / "sigma.tif"
    _, fitted, _ = measure(pair, Prediction(*files), Options())
    _, as_it_is, _ = measure(pair, Prediction(*files, in_truth_units=True), Options())
    covered = [np.interp(0.9, found.nominal, found.observed) for found in (as_it_is, fitted)]
    assert covered[0] < 0.2
    assert covered[1] > 0.8


def test_one_prediction_is_not_that_of_two_conditions(tmp_path, truths):
    flat = PrecomputedPredictions("good", tmp_path / "good" / "dim")
    pairs = find_pairs(tmp_path / "data", conditions=["dim", "bright"])
    assert len(evaluate([flat], pairs, tmp_path).results) == 6, "the sources are the same"
    for name in "abc":
        save(pairs[0].source.parents[1] / "bright" / f"{name}.tif", truths["bad", "dim", name][1])
    with pytest.raises(GvtzooError, match=r"one prediction, .*, of both dim/a and bright/a"):
        evaluate([flat], pairs, tmp_path)
    only_dim = find_pairs(tmp_path / "data", conditions=["dim"])
    assert len(evaluate([flat, IdentityBaseline()], only_dim, tmp_path).results) == 6


def test_zarr_images_and_their_predictions(tmp_path):
    truth = np.random.default_rng(0).gamma(1, 100, (5, *SHAPE)).astype(np.float32)
    noisy = truth + np.random.default_rng(1).normal(0, 30, truth.shape).astype(np.float32)
    for kind, image in (("source", noisy), ("target", truth), ("as zarr", noisy)):
        (tmp_path / kind).mkdir()
        write_image(tmp_path / kind / "a.ome.zarr", xr.DataArray(image, dims=tuple("zyx")))
    save(tmp_path / "as tiff" / "a.tif", noisy)
    models = [PrecomputedPredictions(name, tmp_path / name) for name in ("as zarr", "as tiff")]
    found = evaluate([*models, IdentityBaseline()], find_pairs(tmp_path), tmp_path)
    expected = pytest.approx(evaluate_pair(truth, noisy))
    assert [row.metrics for row in found.results] == [expected] * 3


@pytest.mark.parametrize(
    ("of_truth", "of_prediction"), [("zyx", "tczyx"), ("tzyx", "zyx"), ("yx", "zyx"), ("zyx", "yx")]
)
def test_axes_of_length_one_do_not_count_in_large_images(
    tmp_path, monkeypatch, of_truth, of_prediction
):
    monkeypatch.setattr("gvtzoo.evaluation.measure.LARGE", 1)
    shape = SHAPE if "yx" in (of_truth, of_prediction) else (5, *SHAPE)
    truth = np.random.default_rng(0).gamma(1, 100, shape).astype(np.float32)
    noisy = truth + np.random.default_rng(1).normal(0, 30, shape).astype(np.float32)
    paths = []
    for name, axes, image in (("t", of_truth, truth), ("p", of_prediction, noisy)):
        array = image.reshape((1,) * (len(axes) - image.ndim) + image.shape)
        paths.append(tmp_path / f"{name}.tif")
        write_image(paths[-1], xr.DataArray(array, dims=tuple(axes)))
    pair = EvaluationPair("a", paths[0], paths[0])
    found, _, histograms = measure(pair, Prediction(paths[1]), Options())
    assert found == pytest.approx(evaluate_pair(truth, noisy), rel=1e-5)
    assert histograms is None


def test_a_large_prediction_of_several_times_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gvtzoo.evaluation.measure.LARGE", 1)
    truth = np.random.default_rng(0).gamma(1, 100, (3, *SHAPE)).astype(np.float32)
    save(tmp_path / "truth.tif", truth)
    write_image(tmp_path / "p.tif", xr.DataArray(truth, dims=("t", "y", "x")))
    pair = EvaluationPair("a", tmp_path / "truth.tif", tmp_path / "truth.tif")
    with pytest.raises(GvtzooError, match="the prediction has several times"):
        measure(pair, Prediction(tmp_path / "p.tif"), Options())


def test_large_images_are_measured_without_loading_them(tmp_path, truths, monkeypatch):
    """Some of them with fewer metrics than the small ones."""
    models = [PrecomputedPredictions(name, tmp_path / name) for name in ("good", "bad")]
    generator = np.random.default_rng(0)
    large = generator.gamma(1, 100, (64, 64))
    for folder in ("data/dim", "data/target", "good/dim", "bad/dim"):
        noise = generator.normal(0, 5, large.shape) if "data" not in folder else 0
        save(tmp_path / folder / "large.tif", large + noise)
    pairs = find_pairs(tmp_path / "data", conditions=["dim"])
    everything = evaluate(models, pairs, tmp_path)
    monkeypatch.setattr("gvtzoo.evaluation.measure.LARGE", 64 * 64 - 1)
    found = evaluate(models, pairs, tmp_path, Options(segmentation=True))
    for one, other in zip(everything.results, found.results, strict=True):
        assert other.metrics == pytest.approx(other.metrics | one.metrics, rel=1e-5)
        assert ("object_f1" in other.metrics) == (other.image != "large")
    counts = {row.metric: row.count for row in found.summaries}
    assert (counts["ssim"], counts["object_f1"]) == (4, 3)
    assert {row.count for row in found.comparisons if row.metric == "object_f1"} == {3}
