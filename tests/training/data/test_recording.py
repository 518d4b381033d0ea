"""What made a source of its target is found, and noise that is made by it is of the same kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.recipes.recipe import Recipe, load_recipe, with_settings
from gvtzoo.training.data.images import RAW, PairedImage
from gvtzoo.training.data.noisy import BlindSpotImage
from gvtzoo.training.data.recording import RecordedImage, Recording, with_new_noise

SIZES = {2: (1, 128, 160), 3: (1, 12, 64, 64)}


def structure(dimensions: int = 2) -> np.ndarray:
    """Between 0 and 1, float32."""
    image = np.random.default_rng(5).standard_normal(SIZES[dimensions])
    smooth = gaussian_filter(image, 3, axes=(-2, -1))
    return (np.clip(smooth / smooth.max(), 0, 1)).astype(np.float32)


def counts(
    clean: np.ndarray,
    *,
    photons: float = 20,
    gain: float = 3,
    read_noise: float = 5,
    blur: float = 0,
    correlation: float = 0,
    rows: float = 0,
) -> np.ndarray:
    generator = np.random.default_rng(6)
    seen = gaussian_filter(clean, blur, axes=(-2, -1)) if blur else clean
    noise = generator.poisson(seen * photons) - seen * photons
    noise = gain * noise + generator.normal(0, read_noise, clean.shape)
    if correlation:
        smooth = gaussian_filter(noise, correlation, axes=(-2, -1))
        noise = smooth * noise.std() / smooth.std()
    noise += rows * generator.standard_normal((*clean.shape[:-1], 1))
    return 100 + gain * seen * photons + noise


def pair(source: np.ndarray, target: np.ndarray, **changes) -> PairedImage:
    return PairedImage("pair", {}, source, target, RAW, RAW, **changes)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_gain_read_noise_and_offset_are_found(dimensions):
    clean = structure(dimensions)
    found = Recording.of(counts(clean), 500 * clean + 40)
    assert found.gain == pytest.approx(3, rel=0.1)
    assert found.read_noise == pytest.approx(5, rel=0.1)
    assert found.dark == pytest.approx(100, abs=2)
    assert not found.directed
    assert found.expected(500 * clean + 40) == pytest.approx(100 + 60 * clean, abs=2)


def test_blur_is_found():
    clean = structure()
    found = Recording.of(counts(clean, blur=1, read_noise=1), clean)
    seen = 100 + 60 * gaussian_filter(clean, 1, axes=(-2, -1))
    error = found.expected(clean) - seen
    assert error.std() < 0.3 * (60 * clean + 100 - seen).std()


def neighbours(noise: np.ndarray) -> list[float]:
    """Correlation of voxels that are neighbours along y, and along x."""
    return [
        float(np.corrcoef(noise[..., 1:, :].ravel(), noise[..., :-1, :].ravel())[0, 1]),
        float(np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1]),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"photons": 2, "read_noise": 1},
        {"correlation": 0.8},
        {"rows": 12},
        {"correlation": 0.7, "rows": 15},
    ],
)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_new_noise_is_like_the_recorded(dimensions, kind):
    clean = structure(dimensions)
    source = counts(clean, **kind)
    recording = Recording.of(source, clean)
    assert recording.directed == ("rows" in kind)
    expected = recording.expected(clean)
    made = recording.record(expected, np.random.default_rng(7)) - expected
    real = source - expected
    assert made.std() == pytest.approx(real.std(), rel=0.1)
    by_chance = 0.25 if "rows" in kind else 0.1  # there are few rows
    assert neighbours(made) == pytest.approx(neighbours(real), abs=by_chance)
    assert abs(np.corrcoef(made.ravel(), real.ravel())[0, 1]) < 0.4, "not the same noise"
    bright, dark = clean > 0.5, clean == 0
    if "rows" not in kind:
        assert made[bright].std() / made[dark].std() == pytest.approx(
            real[bright].std() / real[dark].std(), rel=0.2
        )


def test_images_without_noise_and_flat_ones_are_taken():
    clean = structure()
    found = Recording.of(clean, clean)
    assert found.record(clean, np.random.default_rng(0)) == pytest.approx(clean, abs=0.02)
    flat = np.full_like(clean, 7)
    found = Recording.of(counts(flat * 0), flat)
    made = found.record(found.expected(flat), np.random.default_rng(0))
    assert (made.mean(), made.std()) == pytest.approx((100, 5), rel=0.05)


def test_patches_are_normalized_and_get_new_noise():
    clean = structure()
    image = RecordedImage.of(
        replace(
            pair(counts(clean), clean),
            source_normalization=FittedNormalization(100, 60),
            target_normalization=FittedNormalization(0, 1),
        ),
        0.75,
    )
    for box in ((slice(0, 64), slice(96, 160)), (slice(30, 94), slice(17, 81))):
        numbers = range(40)
        made = [image.patch(box, np.random.default_rng(number)) for number in numbers]
        own = PairedImage.patch(image, box, np.random.default_rng(0))
        kept = [np.array_equal(source, own[0]) for source, _ in made]
        assert 4 <= sum(kept) <= 16, "about a quarter"
        assert all(np.array_equal(target, own[1]) for _, target in made)
        mean = np.mean([source for source, _ in made], axis=0)
        assert np.abs(mean - own[1]).mean() < 0.4 * np.abs(own[0] - own[1]).mean()
        again = image.patch(box, np.random.default_rng(3))
        assert all(np.array_equal(*both) for both in zip(again, made[3], strict=True))


def test_a_box_shows_what_the_whole_image_shows():
    clean = structure()
    image = RecordedImage.of(pair(counts(clean, blur=1), clean), 1)
    whole = image.recording.expected(clean)
    for box in ((slice(0, 16), slice(0, 32)), (slice(40, 64), slice(100, 160))):
        assert image._expected(box) == pytest.approx(whole[(slice(None), *box)], rel=1e-9)


@pytest.fixture
def recipe() -> Recipe:
    settings = ["augmentation.new_noise=0.5", "augmentation.turns=true"]
    return load_recipe("denoising/exposures", settings)


def test_targets_with_noise_of_their_own_are_left_as_they_are(recipe):
    clean = structure()
    noisy = pair(counts(clean), counts(clean) + np.random.default_rng(0).normal(0, 3, clean.shape))
    projected = pair(np.repeat(clean[:, None], 4, axis=1), clean)
    blind = BlindSpotImage("blind", {}, clean, clean, RAW, RAW)
    _, kept = with_new_noise(recipe, [noisy, projected])
    assert kept == [noisy, projected]
    blind_recipe = recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"without_truth": "blind_spots"})}
    )
    assert with_new_noise(blind_recipe, [blind])[1] == [blind]


def test_patches_with_lines_are_not_turned(recipe):
    clean = structure()
    plain, images = with_new_noise(recipe, [pair(counts(clean), clean)])
    assert isinstance(images[0], RecordedImage)
    assert plain.augmentation.turns
    lined, _ = with_new_noise(recipe, [pair(counts(clean, rows=12), clean)])
    assert not lined.augmentation.turns
    assert lined.augmentation.flips
    unchanged = with_settings(recipe, training={"steps": 3})
    assert with_new_noise(unchanged, [])[0] == unchanged


def test_pixels_that_jump_are_left_as_they_are(recipe):
    clean = structure()
    source = counts(clean)
    jumps = np.random.default_rng(8).random(clean.shape) < 0.02
    image = pair(source + 100 * jumps, clean)
    assert with_new_noise(recipe, [image])[1] == [image]
    assert isinstance(with_new_noise(recipe, [pair(source, clean)])[1][0], RecordedImage)
