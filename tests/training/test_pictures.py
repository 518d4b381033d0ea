"""Pictures of a run folder fill their canvas, say what was measured, and how large things are."""

from __future__ import annotations

import numpy as np
import pytest
from imagecodecs import png_decode
from matplotlib.figure import Figure

from gvtzoo.training import pictures
from gvtzoo.training.pictures import (
    LIKELIHOOD,
    Panel,
    draw_losses,
    draw_panels,
    draw_prediction,
    loss_label,
    score_text,
)

MICROMETERS = {"pixel_size": {"y": 0.26, "x": 0.26}, "unit": "micrometer"}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figure that a function has saved."""
    figures = []
    save = Figure.savefig

    def kept(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", kept)

    def draw(function, *args, **kwargs) -> Figure:
        function(tmp_path / "picture.png", *args, **kwargs)
        return figures[-1]

    return draw


def words(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in (axes.title, *axes.texts)]


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 8, 40, 176), (1, 32, 64, 10)])
def test_images_fill_the_picture(drawn, tmp_path, shape):
    image = np.random.default_rng(0).random(shape)
    figure = drawn(draw_panels, [Panel(name, image) for name in "abcd"], {})
    width, height = figure.get_size_inches()
    boxes = [axes.get_position() for axes in figure.axes]
    rows, columns = shape[-2:]
    for box in boxes:
        assert box.height * height / rows == pytest.approx(box.width * width / columns)
    filled = sum(box.width * box.height for box in boxes)
    assert filled > (0.5 if columns >= rows else 0.3)
    assert png_decode((tmp_path / "picture.png").read_bytes()).shape[0] > 100


def test_predictions_have_scores_and_the_first_image_a_scale_bar(drawn):
    generator = np.random.default_rng(0)
    truth = generator.random((1, 6, 40, 40))
    noisy = truth + generator.normal(0, 0.2, truth.shape)
    figure = drawn(draw_prediction, noisy, truth + 0.01, truth, MICROMETERS)
    assert words(figure)[:2] == ["source", "2 µm"]
    assert "NRMSE 0.000, SSIM 1.000" in words(figure)[2]
    blind = drawn(draw_prediction, noisy, truth, truth, {}, truth=False)
    assert words(blind) == ["source", "prediction\nNRMSE 0.000", "target (noisy, too)"]


def test_what_cannot_be_measured_has_no_score():
    image = np.random.default_rng(0).random((1, 20, 20))
    hidden = np.where(image > 0.5, np.nan, image)
    assert score_text(hidden, image, truth=True) == ""
    assert score_text(np.ones_like(image), image, truth=True) == ""


def test_losses_have_a_panel_each_and_say_what_they_are(drawn):
    rows = [
        {"step": "0", "loss": "", "val_loss": "0.0"},
        {"step": "30", "loss": "-0.07", "val_loss": "-0.2"},
        {"step": "60", "loss": "-0.08", "val_loss": "-0.1"},
    ]
    label = loss_label("mae_with_uncertainty")
    training, validation = drawn(draw_losses, rows, label, "score").axes
    assert training.get_ylabel() == LIKELIHOOD
    assert "below 0" in LIKELIHOOD
    assert "need not fall" in loss_label("mae_with_uncertainty", 0.5)
    assert validation.get_ylabel() == "score"
    assert validation.get_legend().get_texts()[0].get_text() == "best: -0.2 at step 30"
    (alone,) = drawn(draw_losses, [rows[1] | {"val_loss": ""}], loss_label("mae"), "").axes
    assert alone.get_ylabel() == "mean absolute error"
    assert pictures.loss_label("mse") == "mean squared error"
