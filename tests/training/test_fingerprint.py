"""The fingerprint of training images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.metrics.fingerprint import FEATURES
from gvtzoo.packages.config import Fingerprint
from gvtzoo.packages.run_folder import FINETUNING, FINGERPRINT, read_run_config
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.data.images import NoisyImage, PairedImage
from gvtzoo.training.fingerprint import fingerprint

pytestmark = pytest.mark.usefixtures("in_full")

RAW = FittedNormalization(0.0, 1.0)


def pair(number, shape=(1, 72, 72), unit="micrometer", size=0.2):
    image = gaussian_filter(np.random.default_rng(number).normal(size=shape), (0, 2, 2))
    image = image / image.std() + np.random.default_rng(99 - number).normal(0, 0.2, shape)
    known = {"pixel_size": {"y": size, "x": size}, "unit": unit}
    return PairedImage(f"image {number}", known, image.astype(np.float32), image, RAW, RAW)


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("denoising/exposures")


def test_it_is_small_the_same_again_and_kept_in_json(recipe):
    images = [pair(number) for number in range(9)]
    found = fingerprint(recipe, images)
    assert (found.images, found.planes) == (9, (1, 1))
    assert len(found.low) == len(FEATURES) and sum(map(len, (found.mean, found.factor))) < 300
    text = json.dumps(found.model_dump(mode="json"))
    again = fingerprint(recipe, images)
    assert json.dumps(again.model_dump(mode="json")) == text
    read = Fingerprint.model_validate(json.loads(text))
    np.testing.assert_allclose(read.factor, found.factor, rtol=1e-3)
    assert len(text) < 4000


def test_one_image_is_enough(recipe):
    assert fingerprint(recipe, [pair(0)]).images == 1


def test_voxels_are_in_micrometers_and_one_is_unknown(recipe):
    images = [pair(0), pair(1, unit="nanometer", size=400.0), pair(2, size=1.0)]
    assert fingerprint(recipe, images).voxels == {
        axis: pytest.approx((0.2, 0.4)) for axis in ("y", "x")
    }


def test_nothing_to_see_is_none(recipe):
    blank = np.zeros((1, 72, 72), np.float32)
    assert fingerprint(recipe, [PairedImage("blank", {}, blank, blank, RAW, RAW)]) is None


def test_turned_images_have_no_direction_where_training_turns(recipe):
    stripes = [pair(number) for number in range(2)]
    for image in stripes:
        image.source[...] += np.arange(72) % 12 < 6
    found = fingerprint(recipe, stripes)
    number = [feature.group for feature in FEATURES].index("direction")
    assert found.low[number] < 0 < found.high[number]


def test_simulated_light_and_magnification_are_in_it():
    recipe = load_recipe("denoising/generalist")
    clean = np.maximum(gaussian_filter(np.random.default_rng(0).normal(size=(1, 20, 80, 80)), 2), 0)
    clean = (clean / clean.max()).astype(np.float32)
    known = {"pixel_size": {"z": 0.3, "y": 0.2, "x": 0.2}, "unit": "micrometer"}
    noise = recipe.data.noise
    image = NoisyImage("a", known, clean, clean, 20, noise, RAW, RAW)
    found = fingerprint(recipe, [image])
    assert found.planes == (20, 20)
    low, high = recipe.data.simulation.zoom
    assert found.voxels["x"] == pytest.approx((0.2 / high, 0.2 / low))


def test_a_run_has_it_unless_its_weights_are_anothers(run):
    found = read_run_config(run).fingerprint
    assert found is not None and found.images >= 1
    assert (run / FINGERPRINT).is_file()
    (run / FINETUNING).write_text(json.dumps({"helped": False, "parent": "other"}))
    assert read_run_config(run).fingerprint is None


@pytest.fixture
def run(tmp_path, recipe):
    from gvtzoo.recipes.recipe import to_yaml

    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    found = fingerprint(recipe, [pair(0)])
    (tmp_path / FINGERPRINT).write_text(json.dumps(found.model_dump(mode="json")))
    return tmp_path
