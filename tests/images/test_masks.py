from __future__ import annotations

import numpy as np
import pytest

from gvtzoo.images.lazy import View
from gvtzoo.images.masks import without_mask
from gvtzoo.images.normalization import PercentileNormalization, ZScoreNormalization
from gvtzoo.images.raw import RawArray

KINDS = [PercentileNormalization(), ZScoreNormalization()]


def camera(shape=(3, 40, 50), dtype=np.uint16):
    """An image with an offset of 100, and a few bright spots."""
    random = np.random.default_rng(0)
    image = random.normal(100, 5, shape)
    image += 3000 * (random.random(shape) > 0.98)
    return image.astype(dtype)


def around(image, value):
    """The image in the middle of a larger one, its corners cut off."""
    image = image.copy()
    wide = np.full([image.shape[0], image.shape[1] + 30, image.shape[2] + 40], value, image.dtype)
    wide[:, 10:-20, 15:-25] = image
    return wide


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize(("dtype", "value"), [("u2", 0), ("f4", 0), ("f4", np.nan), ("f8", np.nan)])
def test_a_mask_around_an_image_decides_no_statistics(kind, dtype, value):
    image = camera(dtype=dtype)
    whole = kind.fit(image)
    fitted = kind.fit(around(image, value))
    assert fitted.offset == pytest.approx(whole.offset, rel=1e-6)
    assert fitted.scale == pytest.approx(whole.scale, rel=1e-6)
    assert whole.masked == 0
    assert fitted.masked == pytest.approx(1 - image.size / around(image, value).size)


def test_it_is_the_same_of_what_is_read_in_parts(tmp_path):
    image = around(camera(), 0)
    image.tofile(tmp_path / "a")
    lazily = View(RawArray(tmp_path / "a", image.shape, image.dtype, (0,)), (0, 1, 2))
    for kind in KINDS:
        assert kind.fit(lazily) == kind.fit(image)


@pytest.mark.parametrize(
    "image",
    [
        np.clip(camera(dtype=np.float32) - 100, 0, None),  # the background subtracted
        np.random.default_rng(0).poisson(0.5, (40, 50)).astype(np.uint16),
        (np.random.default_rng(0).random((40, 50)) > 0.5).astype(np.uint8),
        np.pad(np.full((20, 20), 7, np.uint8), 10),
        camera(),
    ],
    ids=["clipped", "photons", "binary", "one object", "camera"],
)
def test_dark_voxels_of_the_image_itself_count(image):
    assert without_mask(image) is image
