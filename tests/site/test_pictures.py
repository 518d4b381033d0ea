"""What a card compares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagecodecs import png_decode

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import NormalizationConfig
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.writer import write_package
from gvtzoo.recipes.metadata import default_metadata
from gvtzoo.site.pictures import pictures_of, side_by_side

SMALL = NetworkConfig(
    dimensions=3,
    depth=2,
    features=2,
    encoder_blocks=(1, 0),
    downsampling=("convolution",),
    upsampling=("gvto_v2",),
    decoder_blocks=(1,),
)


def ramp(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.linspace(0.0, 1.0, shape[-1]), shape)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(1, 200), width=st.integers(50, 700))
def test_pictures_are_at_least_512_pixels_wide_and_keep_their_proportions(height, width):
    image = ramp(height, width)
    pictures = side_by_side(image, image, "Test", same_contrast=True)
    assert pictures.width >= 512
    assert pictures.width * height == pictures.height * width
    for png in (pictures.before, pictures.after):
        assert png_decode(png).shape == (pictures.height, pictures.width)


def test_same_contrast_is_that_of_the_prediction():
    prediction = ramp(8, 512)
    pictures = side_by_side(2 * prediction - 0.5, prediction, "Test", same_contrast=True)
    before, after = png_decode(pictures.before)[0], png_decode(pictures.after)[0]
    assert after[0] == 0
    assert after[-1] == 255
    # What has the same value looks the same: both are 0.5 in the middle, …
    assert abs(int(before[256]) - int(after[256])) <= 1
    # … and what the prediction's contrast does not hold is black or white.
    assert (before[:120] == 0).all()
    assert (before[-120:] == 255).all()
    assert "same contrast" in pictures.caption


def test_own_contrast_shows_all_of_each_image():
    prediction = ramp(8, 512)
    pictures = side_by_side(100 * prediction + 7, prediction, "Test", same_contrast=False)
    assert pictures.before == pictures.after
    assert "same contrast" not in pictures.caption


def test_the_slice_that_shows_most_is_taken():
    stack = np.stack([np.zeros((4, 512)), 0.2 * ramp(4, 512), ramp(4, 512), np.ones((4, 512))])
    pictures = side_by_side(stack, stack, "Test", same_contrast=True)
    assert pictures.caption.startswith("Test, slice 3 of 4;")
    assert len(np.unique(png_decode(pictures.after))) > 200


def test_a_projection_is_compared_with_the_middle_slice():
    stack = np.stack([np.zeros((4, 512)), ramp(4, 512), np.zeros((4, 512))])
    pictures = side_by_side(stack, ramp(4, 512), "Test", same_contrast=True)
    assert "slice 2 of 3" in pictures.caption
    assert pictures.before == pictures.after


def test_a_constant_image_is_black():
    pictures = side_by_side(np.ones((4, 4)), np.ones((4, 4)), "Test", same_contrast=True)
    assert not png_decode(pictures.after).any()


def test_images_of_different_places_are_refused():
    with pytest.raises(GvtzooError, match=r"\(4, 8\).*\(4, 9\)"):
        side_by_side(ramp(4, 8), ramp(4, 9), "Test", same_contrast=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A package whose samples are a ramp, in camera counts and normalized."""
    import torch

    config = PackageConfig(
        task="denoising",
        network=SMALL,
        normalization=NormalizationConfig(),
        metadata=default_metadata("ramp", "denoising"),
    )
    torch.manual_seed(0)
    return write_package(
        tmp_path_factory.mktemp("package") / "ramp.zip",
        network=SMALL.build(),
        config=config,
        example=100 + 50 * ramp(8, 32, 32)[None].astype(np.float32),
        sample=(
            (100 + 50 * ramp(3, 8, 512)).astype(np.float32),
            ramp(3, 8, 512).astype(np.float32),
        ),
    )


def test_samples_of_a_package_are_brought_to_the_same_units(made):
    pictures = pictures_of(open_package(made))
    before, after = png_decode(pictures.before), png_decode(pictures.after)
    # percentiles 2 and 99.8 of the input become 0 and 1
    assert np.abs(before.astype(float) - after).max() <= 8
    assert len(np.unique(after)) > 200
    assert pictures.caption == (
        "From the package’s sample, slice 1 of 3; the same contrast on both sides."
    )


def test_a_package_without_samples_is_named(made):
    package = open_package(made)
    del package.rdf["inputs"][0]["sample_tensor"]
    with pytest.raises(GvtzooError, match="names no sample inputs"):
        pictures_of(package)


def test_scale_bar_is_a_round_length_where_pixels_have_a_size():
    image = ramp(4, 176)
    options = {"same_contrast": True, "unit": "micrometer"}
    bar = side_by_side(image, image, "Test", pixel_size=0.26, **options).bar
    assert bar.label == "10 µm"
    assert bar.percent == pytest.approx(100 * 10 / (176 * 0.26), abs=0.01)
    assert side_by_side(image, image, "Test", pixel_size=None, **options).bar is None


def test_truth_is_shown_at_the_same_place_in_its_own_contrast():
    prediction = np.stack([ramp(4, 512) * scale for scale in (0.1, 1.0)])
    truth = 700 + 50 * prediction
    pictures = side_by_side(prediction, prediction, "Test", same_contrast=True, truth=truth)
    before, shown = png_decode(pictures.after), png_decode(pictures.truth)
    assert shown.shape == before.shape
    assert np.abs(shown.astype(int) - before.astype(int)).max() <= 1
    assert side_by_side(prediction, prediction, "Test", same_contrast=True).truth is None
