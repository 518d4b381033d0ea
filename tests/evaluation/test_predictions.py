"""Predictions are made once, and again as soon as anything that they depend on has changed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import small_package
import tifffile
from foreign_packages import make_package

import gvtzoo
from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.pairs import EvaluationPair
from gvtzoo.evaluation.predictions import (
    IdentityBaseline,
    ModelPredictions,
    PrecomputedPredictions,
    digest_of,
    open_candidate,
    tell_fits,
)
from gvtzoo.images.files import read_image
from gvtzoo.prediction.fit import Fit
from gvtzoo.prediction.settings import Settings


@pytest.fixture
def package(tmp_path):
    return small_package.write_folder(tmp_path / "package", small_package.members())


@pytest.fixture
def pair(tmp_path):
    path = tmp_path / "a.tif"
    image = np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.uint8)
    tifffile.imwrite(path, image, imagej=True, metadata={"axes": "YX"})
    return EvaluationPair("a", path, path, "dim")


@pytest.fixture
def candidate(tmp_path, package):
    def make(**settings):
        how = Settings(device="cpu", engine="torch", **settings)
        return ModelPredictions("m", package, tmp_path / "kept", how)

    return make


class Untouched:
    """Says whether a prediction was taken as it is."""

    def __init__(self, monkeypatch):
        self.count = 0
        original = ModelPredictions._make

        def counted(candidate, *arguments):
            self.count += 1
            return original(candidate, *arguments)

        monkeypatch.setattr(ModelPredictions, "_make", counted)


@pytest.fixture
def made(monkeypatch):
    return Untouched(monkeypatch)


def test_it_is_the_models_prediction(candidate, package, pair):
    found = candidate().predict(pair)
    expected, sigma = gvtzoo.load(package).predict(
        read_image(pair.source), uncertainty=True, device="cpu", engine="torch"
    )
    np.testing.assert_array_equal(read_image(found.path), expected)
    np.testing.assert_array_equal(read_image(found.sigma), sigma)
    assert found.path.parent.name == "dim"


def test_it_is_made_once(candidate, pair, made):
    first = candidate().predict(pair)
    assert candidate().predict(pair) == first
    assert made.count == 1


def test_it_is_made_again_for_another_image(candidate, pair, made):
    candidate().predict(pair)
    image = tifffile.imread(pair.source)
    tifffile.imwrite(pair.source, image[::-1].copy(), imagej=True, metadata={"axes": "YX"})
    candidate().predict(pair)
    assert made.count == 2


def test_it_is_made_again_for_other_settings_and_weights(candidate, pair, made, package):
    candidate().predict(pair)
    candidate(tiling="blocks", block=(16, 16), overlap=(4, 4)).predict(pair)
    assert made.count == 2
    files = small_package.members()
    weights = package / "weights.safetensors"
    weights.write_bytes(files["weights.safetensors"][:-4] + b"\x00\x00\x80\x3f")
    changed = {path.name: path.read_bytes() for path in package.iterdir()}
    small_package.write_folder(package, small_package.described(changed))
    candidate(tiling="blocks", block=(16, 16), overlap=(4, 4)).predict(pair)
    assert made.count == 3


@pytest.mark.parametrize("what", ["a.tif", "a_sigma.tif", "a.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_it_is_made_again_where_files_are_damaged(candidate, pair, made, what, damage):
    found = candidate().predict(pair)
    expected = read_image(found.path)
    file = found.path.with_name(what)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        file.unlink()
    np.testing.assert_array_equal(read_image(candidate().predict(pair).path), expected)
    assert made.count == 2


@pytest.mark.parametrize("files", [{}, {"": "0"}, {"../a.tif": "0"}, ["a.tif"], None])
def test_records_that_do_not_name_the_prediction_do_not_count(candidate, pair, made, files):
    record = candidate().predict(pair).path.with_suffix(".json")
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"files": files}))
    assert candidate().predict(pair).path.is_file()
    assert made.count == 2


def test_given_predictions(tmp_path, pair):
    given = PrecomputedPredictions("given", tmp_path / "given")
    (tmp_path / "given" / "dim").mkdir(parents=True)
    with pytest.raises(GvtzooError, match=r"given has no prediction of a\.tif"):
        given.predict(pair)
    for name in ("given/a.tif", "given/dim/a.tif", "given/dim/a_sigma.tif"):
        (tmp_path / name).write_bytes(b"")
    found = given.predict(pair)
    assert found.path == tmp_path / "given" / "dim" / "a.tif"
    assert found.sigma == tmp_path / "given" / "dim" / "a_sigma.tif"
    (tmp_path / "given" / "dim" / "a.tif").unlink()
    assert given.predict(pair).path == tmp_path / "given" / "a.tif"


def test_given_predictions_may_have_another_suffix(tmp_path, pair):
    for suffix in (".npy", ".TIF"):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        (folder / f"a{suffix}").write_bytes(b"")
        assert PrecomputedPredictions("given", folder).predict(pair).path == folder / f"a{suffix}"


@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (2, 1), (1, 2)])
def test_packages_of_others_predict(tmp_path, channels, outputs):
    path = tmp_path / "foreign.zip"
    make_package(path, formats=("torchscript",), channels=channels, outputs=outputs)
    image = np.random.default_rng(0).random((channels, 24, 29)).astype(np.float32)
    source = tmp_path / "s.tif"
    tifffile.imwrite(source, image, imagej=True, metadata={"axes": "CYX"})
    found = open_candidate(str(path), tmp_path / "kept", Settings(device="cpu")).predict(
        EvaluationPair("s", source, source)
    )
    expected = gvtzoo.load(path).predict(
        read_image(source, keep_channels=channels > 1), device="cpu"
    )
    np.testing.assert_array_equal(
        read_image(found.path, keep_channels=True).to_numpy().squeeze(), np.squeeze(expected)
    )
    assert (found.sigma, found.in_truth_units) == (None, False)


def test_inputs_are_their_own_prediction(pair):
    assert IdentityBaseline().predict(pair).path == pair.source


def test_what_a_name_stands_for(tmp_path, package):
    folder = tmp_path / "kept"
    model = open_candidate(str(package), folder)
    assert isinstance(model, ModelPredictions)
    assert (model.name, model.folder) == ("small-model", folder / "small-model")
    assert open_candidate(f"mine={package}", folder).name == "mine"
    (tmp_path / "predicted").mkdir()
    given = open_candidate(f"theirs={tmp_path / 'predicted'}", folder)
    assert given == PrecomputedPredictions("theirs", tmp_path / "predicted")
    assert open_candidate("gvtnet-denoising-exposures", folder).name == "gvtnet-denoising-exposures"
    with pytest.raises(GvtzooError, match="names no model"):
        open_candidate("mine=", folder)
    with pytest.raises(GvtzooError, match="no-such"):
        open_candidate("no-such", folder)


def test_digests_tell_contents_apart(tmp_path):
    for folder, content in (("a", b"1"), ("b", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(content)
    first, second = (digest_of(tmp_path / name / "file") for name in "ab")
    assert first != second
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b")


def test_images_unlike_the_training_ones_are_counted_in_one_line(tmp_path, caplog):
    candidate = ModelPredictions("mine", "model", tmp_path)
    for name, distance in (("a", 0.5), ("b", 3.0), ("c", 7.0)):
        candidate.fits[name] = Fit("mine", distance <= 1, distance, ("noise: much more",))
    tell_fits([IdentityBaseline(), candidate])
    assert [record.getMessage() for record in caplog.records] == [
        "mine: 2 of 3 images are unlike the training images, most of all c, which is unlike the "
        "training images of mine in noise: much more"
    ]
