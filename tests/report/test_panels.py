"""Panels of images: what is fitted, what is shown, and at which size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import round_length
from gvtzoo.metrics.pair import paper_normalize
from gvtzoo.report.panels import PIXELS, choose_view, fit_intensities, image_panel

SIZES = {"z": 0.6, "y": 0.2, "x": 0.2}


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    truth = generator.gamma(1, 100, (8, 30, 20))
    noisy = truth + generator.normal(0, 50, truth.shape)
    return noisy, truth, {"network": 3 * truth + 7 + generator.normal(0, 20, truth.shape)}


def titled(figure) -> dict[str, list]:
    """Axes by their title; the xz section follows its plane."""
    found: dict[str, list] = {}
    for axes in figure.axes:
        title = axes.get_title()
        if title:
            last = found.setdefault(title, [])
        if axes.images:
            last.append(axes)
    return found


def test_fit_is_that_of_the_metrics(images):
    _, truth, predictions = images
    found = fit_intensities(truth, predictions["network"])
    normalized, fitted = paper_normalize(truth, predictions["network"])
    own = found.truth(truth)
    np.testing.assert_allclose(own - own.mean(), normalized, atol=1e-12)
    np.testing.assert_allclose(found.prediction(predictions["network"]) - own.mean(), fitted)
    assert np.percentile(own, (0.1, 99.9)) == pytest.approx((0, 1))
    slope = np.ptp(fitted) / np.ptp(predictions["network"])
    assert found.sigma(np.ones(1)) == pytest.approx(slope)


def test_prediction_and_truth_have_the_same_contrast_and_errors_are_symmetric(images):
    noisy, truth, predictions = images
    sigmas = {"network": np.full_like(truth, 20)}
    found = titled(image_panel(noisy, truth, predictions, sigmas, pixel_size=SIZES, unit="µm"))
    assert set(found) == {"input", "truth", "network", "error", "σ"}
    limits = {title: [axes.images[0].get_clim() for axes in part] for title, part in found.items()}
    assert limits["truth"] == limits["network"] == [(0, 1)] * 2
    low, high = limits["error"][0]
    assert low == -high
    error = found["error"][0].images[0].get_array()
    shown = [found[title][0].images[0].get_array() for title in ("network", "truth")]
    np.testing.assert_allclose(error, shown[0] - shown[1], atol=1e-5)


def test_voxels_have_their_true_shape(images):
    figure = image_panel(*images, pixel_size=SIZES, unit="micrometer")
    width, height = figure.get_size_inches()
    for axes in titled(figure)["truth"]:
        rows, columns = axes.images[0].get_array().shape
        box = axes.get_position()
        tall, wide = box.height * height / rows, box.width * width / columns
        assert tall / wide == pytest.approx(3 if rows == 8 else 1, rel=1e-6)


def test_scale_bar_is_there_where_the_size_is_known(images):
    def words(figure) -> list[str]:
        return [text.get_text() for axes in figure.axes for text in axes.texts]

    assert words(image_panel(*images, pixel_size=SIZES, unit="micrometer")) == ["1 µm"]
    assert words(image_panel(*images)) == []


@given(st.floats(1e-3, 1e6))
def test_scale_bars_are_round_and_not_too_long(width):
    length = round_length(width)
    assert width / 10 <= length * 1.0001 <= width / 4 * 1.0002
    assert f"{length:.6e}"[0] in "125"


def test_of_a_projection_the_input_is_its_maximum(images):
    noisy, truth, _ = images
    plane = truth.max(axis=0)
    found = titled(image_panel(noisy, plane, {"m": plane + 1, "n": plane * 2}))
    assert {title: len(part) for title, part in found.items()} == {
        "input": 1,
        "truth": 1,
        "m": 1,
        "error": 2,
        "n": 1,
    }
    shown = found["input"][0].images[0].get_array()
    np.testing.assert_allclose(shown, noisy.max(axis=0), rtol=1e-5)


def test_the_plane_with_most_contrast_is_shown():
    truth = np.random.default_rng(0).normal(0, 1, (5, 20, 20))
    truth[3] *= 4
    assert choose_view(truth, 4).plane == 3


def test_of_large_images_the_part_with_most_contrast_is_shown():
    truth = np.zeros((900, 1700))
    truth[600:700, 1500:1600] = np.random.default_rng(0).normal(0, 1, (100, 100))
    view = choose_view(truth, 14)
    assert view.xy(truth).size * 14 <= PIXELS
    assert view.rows.start <= 600 < 700 <= view.rows.stop
    assert view.columns.start <= 1500 < 1600 <= view.columns.stop


def test_images_that_do_not_fit_are_refused(images):
    noisy, truth, predictions = images
    with pytest.raises(GvtzooError, match="differ along y and x"):
        image_panel(noisy[..., :-1], truth, predictions)
    with pytest.raises(GvtzooError, match="differ in shape"):
        image_panel(noisy, truth, {"m": truth[:-1]})
    with pytest.raises(GvtzooError, match="constant"):
        image_panel(noisy, np.ones_like(truth), predictions)


def test_narrow_stacks_are_drawn_large():
    """44 voxels across, as wide as other images of a panel are."""
    generator = np.random.default_rng(0)
    truth = generator.gamma(1, 100, (16, 64, 44))
    sizes = {"z": 0.29, "y": 0.26, "x": 0.26}
    figure = image_panel(truth, truth, {"network": truth + 1}, pixel_size=sizes, unit="µm")
    (axes, _) = titled(figure)["truth"]
    width = axes.get_position().width * figure.get_size_inches()[0]
    assert width > 2.4


def test_long_names_of_models_are_whole():
    truth = np.random.default_rng(0).gamma(1, 100, (32, 32))
    name = "gvtnet-denoising-of-exposures-by-ada-second-try-with-mitochondria"
    figure = image_panel(truth, truth, {name: truth + 1, "b": truth})
    assert name in [title.replace("\n", "") for title in titled(figure)]
    for axes in figure.axes:
        box = axes.title.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
