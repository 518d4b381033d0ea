"""Other structures are recorded as the pair was, in its units, and take their share of patches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.data.images import RAW, PairedImage, TrainingImage
from gvtzoo.training.data.recording import RecordedImage, with_new_noise
from gvtzoo.training.data.rehearsal import (
    JUDGED,
    REHEARSED,
    RehearsedImage,
    judged_structures,
    with_rehearsal,
)

RECIPE = load_recipe(
    "denoising/exposures", ["augmentation.new_noise=0.5", "augmentation.rehearsal=0.25"]
)
BOX = (slice(0, 32), slice(16, 48))


def recorded(gain: float = 3.0, offset: float = 100.0) -> RecordedImage:
    generator = np.random.default_rng(1)
    smooth = gaussian_filter(generator.standard_normal((1, 96, 96)), (0, 3, 3))
    clean = np.clip(smooth / smooth.max(), 0, 1)
    source = offset + gain * generator.poisson(20 * clean) + generator.normal(0, 2, clean.shape)
    target = 1000 * clean + 50
    pair = PairedImage("pair", {}, source.astype(np.float32), target.astype(np.float32), RAW, RAW)
    return RecordedImage.of(pair, 0.5)


@pytest.fixture(scope="module")
def image() -> RecordedImage:
    return recorded()


def test_structures_are_in_the_pairs_units_with_its_noise(image):
    found = judged_structures(RECIPE, [image])
    assert len(found) == JUDGED
    for other in found:
        expected = other.recording.expected(other.target)
        noise = other.source - expected
        dark = expected < 101
        if dark.mean() > 0.05:
            assert noise[dark].std() == pytest.approx(2, rel=0.25)
        light = np.maximum(expected - 100, 0)
        assert noise.std() == pytest.approx(np.sqrt((3 * light + 4).mean()), rel=0.1)
        assert other.target.min() >= 45
    brightest = [other.target.max() for other in found]
    assert max(brightest) > 2 * image.target.max() > min(brightest), "in various light"


def test_structures_to_judge_by_are_others_than_those_to_learn_from(image):
    (rehearsed,) = with_rehearsal(RECIPE, [image])
    assert isinstance(rehearsed, RehearsedImage)
    names = {other.name for other in rehearsed.others}
    assert len(names) == REHEARSED
    assert not names & {other.name for other in judged_structures(RECIPE, [image])}


def test_each_microscope_has_its_turn():
    first, second = recorded(), recorded(gain=1.0, offset=900.0)
    found = judged_structures(RECIPE, [first, second])
    backgrounds = [np.percentile(other.source, 2) for other in found]
    assert sum(value > 500 for value in backgrounds) == JUDGED // 2


def test_patches_take_their_share_and_repeat_themselves(image):
    (rehearsed,) = with_rehearsal(RECIPE, [image])
    own = PairedImage.patch(image, BOX, np.random.default_rng(0))[1]
    drawn = [rehearsed.patch(BOX, np.random.default_rng(number)) for number in range(80)]
    assert all(source.shape == target.shape == (1, 32, 32) for source, target in drawn)
    others = [not np.array_equal(target, own) for _, target in drawn]
    assert 10 <= sum(others) <= 32, "a quarter"
    again = rehearsed.patch(BOX, np.random.default_rng(others.index(True)))
    assert np.array_equal(again[0], drawn[others.index(True)][0])


def test_stacks_are_as_large_as_patches():
    clean = np.zeros((1, 8, 32, 32), np.float32)
    clean[:, 3:5, 10:20, 8:24] = 500
    noisy = clean + np.random.default_rng(0).normal(100, 5, clean.shape).astype(np.float32)
    image = RecordedImage.of(PairedImage("stack", {}, noisy, clean, RAW, RAW), 0.5)
    settings = ["augmentation.new_noise=0.5", "augmentation.rehearsal=0.5"]
    recipe = load_recipe("denoising/nuclei", [*settings, "training.patch=[32,48,48]"])
    found = judged_structures(recipe, [image])
    assert {other.shape for other in found} == {(1, 32, 96, 96)}


def test_nothing_is_rehearsed_where_no_recording_is_known(image):
    plain: list[TrainingImage] = [PairedImage("p", {}, image.source, image.target, RAW, RAW)]
    assert with_rehearsal(RECIPE, plain) == plain
    assert judged_structures(RECIPE, plain) == []
    without = load_recipe("denoising/exposures", ["augmentation.new_noise=0.5"])
    assert with_rehearsal(without, [image]) == [image]
    assert judged_structures(without, [image]) == []


def test_structures_are_rehearsed_without_new_noise_of_the_pair(image):
    settings = ["augmentation.new_noise=0", "augmentation.rehearsal=0.5"]
    recipe = load_recipe("denoising/exposures", settings)
    pair = PairedImage("pair", {}, image.source, image.target, RAW, RAW)
    _, images = with_new_noise(recipe, [pair])
    (rehearsed,) = with_rehearsal(recipe, images)
    own = pair.patch(BOX, np.random.default_rng(0))
    drawn = [rehearsed.patch(BOX, np.random.default_rng(number)) for number in range(40)]
    kept = [source for source, target in drawn if np.array_equal(target, own[1])]
    assert 10 <= len(kept) <= 30
    assert all(np.array_equal(source, own[0]) for source in kept)
