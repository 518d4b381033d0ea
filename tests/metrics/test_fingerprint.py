"""Features that tell images of one kind from others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gvtzoo.images.normalization import PercentileNormalization
from gvtzoo.metrics.fingerprint import (
    FEATURES,
    distance,
    features,
    look,
    only_noise,
    summary,
    triangle,
    whitening,
)

NORMALIZATION = PercentileNormalization()


def blobs(seed, shape=(1, 96, 96), width=3.0, noise=0.05):
    generator = np.random.default_rng(seed)
    smooth = gaussian_filter(generator.normal(size=shape), (0, width, width))
    smooth = smooth / smooth.std()
    return (smooth + generator.normal(0, noise, shape)).astype(np.float32)


def seen(image, seed=0):
    return look([image], NORMALIZATION, np.random.default_rng(seed))


def group(found, name):
    return found[[feature.group == name for feature in FEATURES]]


def test_features_are_finite_but_for_planes_where_there_are_none():
    found = seen(blobs(0))
    assert len(found) == len(FEATURES)
    assert np.isnan(group(found, "planes")).all()
    assert np.isfinite(found).sum() == len(FEATURES) - 3
    assert np.isfinite(seen(blobs(0, (16, 64, 64))[None])).all()


def test_units_do_not_matter():
    image = blobs(0)
    np.testing.assert_allclose(seen(image), seen(3 * image + 500), atol=2e-3)


def test_noise_is_its_deviation():
    generator = np.random.default_rng(0)
    found = features([generator.normal(0, 0.1, (1, 128, 128))])
    assert 10 ** float(group(found, "noise")[0]) == pytest.approx(0.1, rel=0.05)


def test_noise_alone_is_told_from_little_structure():
    generator = np.random.default_rng(0)
    assert only_noise(seen(generator.normal(size=(1, 32, 96, 96))))
    assert not only_noise(seen(blobs(0, noise=1.0)))


def test_stripes_have_a_direction():
    stripes = blobs(0) + 2 * (np.arange(96) % 16 < 8)
    assert group(seen(stripes), "direction")[0] < group(seen(blobs(0)), "direction")[0] - 0.3


@pytest.mark.parametrize(
    "image", [np.ones((1, 96, 96)), np.full((1, 96, 96), np.nan), blobs(0, (1, 12, 96))]
)
def test_nothing_to_see_is_none(image):
    assert seen(image) is None


def test_only_boxes_are_read():
    class OnDisk:
        shape = (1, 4000, 4000)
        read = 0

        def __getitem__(self, box):
            sizes = [part.stop - part.start for part in box]
            self.read += int(np.prod(sizes))
            return np.random.default_rng(self.read).normal(size=sizes)

    image = OnDisk()
    assert look([image], NORMALIZATION, np.random.default_rng(0)) is not None
    assert image.read < 0.02 * 4000**2


def test_images_like_the_others_are_within_the_limit_and_others_are_not():
    views = np.array([seen(blobs(n), n) for n in range(24)])
    kept = summary(views, np.array([f"image {n:02}" for n in range(24)]))
    mean, factor = np.array(kept["mean"]), triangle(kept["factor"])
    like = [distance(seen(blobs(100 + n)), mean, factor) for n in range(12)]
    assert max(like) <= kept["limit"]
    for other in (blobs(0, width=8), blobs(0, noise=1.0), -np.exp(blobs(0))):
        assert distance(seen(other), mean, factor) > kept["limit"]


def test_of_few_images_the_limit_is_wider():
    views = np.array([seen(blobs(n), n) for n in range(16)])
    one = summary(views, np.array(["a"] * 16))["limit"]
    two = summary(views, np.array(["a", "b"] * 8))["limit"]
    assert one > two


def test_whitening_whitens():
    views = np.random.default_rng(0).normal(size=(4000, len(FEATURES))) * 5
    views[:, -1] = np.nan
    mean, factor = whitening(views)
    assert np.isnan(mean[-1])
    rest = distance(views, mean, factor)
    assert float(np.mean(rest**2)) == pytest.approx(1, abs=0.12)
    np.testing.assert_array_equal(triangle(factor[np.tril_indices(len(factor))]), factor)
