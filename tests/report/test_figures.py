"""Figures: what they show, and that nothing in them overlaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluations import make_evaluation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.results import Evaluation
from gvtzoo.evaluation.statistics import LOWER_IS_BETTER
from gvtzoo.evaluation.sweep import SweepRow
from gvtzoo.metrics.metric_info import DESCRIPTIONS
from gvtzoo.report import figures
from gvtzoo.report.style import COLORS, INK, label_of, svg_address, to_svg

LONG = "a model with a name that is longer than any legend could ever show in one line"


def texts(figure) -> list[str]:
    """All words of a figure."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def assert_nothing_overlaps(figure) -> None:
    """Tick labels, titles and texts beside the axes are apart, and inside the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    boxes = []
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        labels = [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
        (x_low, x_high), (y_low, y_high) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
        for axis, low, high in ((axes.xaxis, x_low, x_high), (axes.yaxis, y_low, y_high)):
            ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False)
            labels += [
                label for place, label in ticks if low <= place <= high and not label.get_rotation()
            ]
        boxes += [
            (label.get_text(), label.get_window_extent(renderer))
            for label in labels
            if label.get_text() and label.get_visible()
        ]
    boxes += [
        (text.get_text(), text.get_window_extent(renderer))
        for legend in figure.legends
        for text in legend.get_texts()
    ]
    assert boxes
    for number, (name, box) in enumerate(boxes):
        assert box.x0 >= figure.bbox.x0 - 1, name
        assert box.x1 <= figure.bbox.x1 + 1, name
        assert box.y1 <= figure.bbox.y1 + 1, name
        for other, another in boxes[:number]:
            assert not box.overlaps(another), (name, other)


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory):
    """Makes evaluations; each with as many models and so on as is asked for."""
    return lambda **settings: make_evaluation(tmp_path_factory.mktemp("images"), **settings)


@pytest.fixture(scope="module")
def evaluation(evaluations) -> Evaluation:
    return evaluations(conditions=("2 photons", "8 photons"))


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize(
    "groups",
    [
        {},
        {"structures": ("tom20", LONG, "dna")},
        {"conditions": ("2 photons", "8 photons", f"16 photons, {LONG}")},
    ],
    ids=["all", "structures", "conditions"],
)
def test_labels_stay_apart(evaluations, count, groups):
    names = [f"{LONG} {number}" if number % 2 else f"m{number}" for number in range(count)]
    found = evaluations(models=names, images=("a", "b"), shape=(12, 12), **groups)
    assert_nothing_overlaps(figures.box_and_whiskers(found, "ssim"))
    assert_nothing_overlaps(figures.metric_by_condition(found, "ssim"))
    assert_nothing_overlaps(figures.intensity_histograms(found))
    assert_nothing_overlaps(figures.calibration_curve(found))
    if count > 1:
        assert_nothing_overlaps(figures.paired_differences(found, "ssim", *names[:2]))


def test_boxes_have_a_dot_for_each_image_and_the_p_value_beside(evaluation):
    figure = figures.box_and_whiskers(evaluation, "ssim")
    dots = [part.get_offsets() for part in figure.axes[0].collections if part.get_paths()]
    by_count = [len(offsets) for offsets in dots if len(offsets) == 4]
    assert len(by_count) == 4  # two models in two conditions
    found = texts(figure)
    assert found.count("p = 0.037") == 2
    assert "SSIM (higher is better)" in found
    assert {"2 photons", "8 photons", "network", "filter"} <= set(found)


def test_values_that_are_not_finite_are_left_out(evaluation):
    first = evaluation.results[0]
    broken = first.model_copy(update={"metrics": first.metrics | {"psnr": np.inf, "ssim": np.nan}})
    changed = evaluation.model_copy(update={"results": (broken, *evaluation.results[1:])})
    for metric in ("psnr", "ssim"):
        assert_nothing_overlaps(figures.box_and_whiskers(changed, metric))
        figures.paired_differences(changed, metric, "network", "filter")
    none = [row.model_copy(update={"metrics": {"ssim": np.nan}}) for row in evaluation.results]
    with pytest.raises(GvtzooError, match="no image has a finite 'ssim'"):
        figures.box_and_whiskers(evaluation.model_copy(update={"results": tuple(none)}), "ssim")


def test_a_model_has_the_same_colour_everywhere(evaluation):
    def colors(figure) -> set:
        return {tuple(handle.get_facecolor()) for handle in figure.legends[0].get_patches()}

    wanted = {to_rgba(color) for color in COLORS[:2]}
    assert colors(figures.box_and_whiskers(evaluation, "r")) == wanted
    assert colors(figures.metric_by_condition(evaluation, "r")) == wanted
    assert wanted < colors(figures.intensity_histograms(evaluation))
    assert colors(figures.calibration_curve(evaluation)) == {to_rgba(COLORS[0])}


def test_intervals_are_those_of_the_summaries(evaluation):
    figure = figures.metric_by_condition(evaluation, "nrmse")
    drawn = figure.axes[0].containers[1].lines[2][0].get_segments()
    rows = [r for r in evaluation.summaries if r.model == "filter" and r.metric == "nrmse"]
    ends = [segment[:, 1] for segment in drawn]
    assert ends == [pytest.approx((row.low, row.high)) for row in rows if row.condition]


def test_lines_of_pairs_say_which_model_is_better(evaluation):
    assert "the first is better in 8 of 8 images" in texts(
        figures.paired_differences(evaluation, "nrmse", "network", "filter")
    )
    assert "the first is better in 0 of 8 images" in texts(
        figures.paired_differences(evaluation, "ssim", "filter", "network")
    )


def test_without_histograms_or_sigma_there_is_no_such_figure(evaluation):
    bare = evaluation.model_copy(update={"histograms": (), "calibrations": ()})
    with pytest.raises(GvtzooError, match="no histograms"):
        figures.intensity_histograms(bare)
    with pytest.raises(GvtzooError, match="no model gives σ"):
        figures.calibration_curve(bare)


def test_sweep_ends_with_the_whole_image():
    rows = [
        SweepRow(tile, (4, 4, 4), r, 1 - r, {"ssim": r / 2})
        for tile, r in (((8, 32, 32), 0.95), ((4, 16, 16), 0.9), (None, 1.0))
    ]
    figure = figures.sweep_curve({"with halo": rows, "blocks": rows[:2]}, "pearson_r")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["4×16×16", "8×32×32", "whole"]
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.9, 0.95, 1.0]
    assert len(figure.axes[0].lines[1].get_ydata()) == 2
    assert "tile size (voxels, z×y×x)" in texts(figure)
    assert list(figures.sweep_curve(rows).axes[0].lines[0].get_ydata()) == [0.45, 0.475, 0.5]
    exact = [replace(row, method="exact") for row in rows[:2]]
    both = figures.sweep_curve([*rows, *exact])
    assert [len(line.get_ydata()) for line in both.axes[0].lines] == [3, 3]
    assert {"tiles with a halo", "exact tiles"} <= set(texts(both))
    with pytest.raises(GvtzooError, match="'psnr'"):
        figures.sweep_curve(rows, "psnr")


def test_transfer_shows_the_numbers_and_leaves_out_what_is_not_known():
    values = np.array([[0.91, np.nan], [0.5, 0.123456]])
    figure = figures.transfer_matrix(["m_1", LONG], ["tom20", "dna"], values, "r")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.910", "0.500", "0.123"]
    assert_nothing_overlaps(figure)
    with pytest.raises(GvtzooError, match="shape"):
        figures.transfer_matrix(["m"], ["tom20", "dna"], values, "r")


@pytest.mark.parametrize("name", ["$x$ and $", "_hidden", "a\nb\x00", "<script>", "{}", "\\frac"])
def test_names_are_shown_as_they_are(evaluations, name):
    from xml.etree import ElementTree

    found = evaluations(models=(name, "other"), images=("a", "b"), shape=(12, 12))
    figure = figures.box_and_whiskers(found, "ssim")
    assert label_of(name) in texts(figure)
    ElementTree.fromstring(to_svg(figure))


def test_descriptions_and_tests_agree_on_what_is_better():
    lower = {name for name, text in DESCRIPTIONS.items() if text.better == "lower"}
    assert lower == LOWER_IS_BETTER


def test_svg_is_light_and_dark_and_always_the_same(evaluation):
    figure = figures.box_and_whiskers(evaluation, "ssim")
    assert figure.get_facecolor() == (1, 1, 1, 1), "elsewhere, figures are dark on white"
    svg = to_svg(figure)
    assert "#ffffff" not in svg
    assert svg.count(INK) == 1
    assert "prefers-color-scheme:dark" in svg
    assert svg == to_svg(figures.box_and_whiskers(evaluation, "ssim"))
    address = svg_address(svg)
    assert address.startswith("data:image/svg+xml,")
    assert not set('<>"#\n') & set(address)
