"""Intervals and paired tests, against numbers known by hand and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.statistics import bootstrap_interval, compare_paired, holm, summarize


def test_summary_of_known_numbers():
    summary = summarize([1.0, 2.0, 3.0, 6.0])
    assert (summary.count, summary.mean, summary.median) == (4, 3.0, 2.5)
    assert summary.deviation == pytest.approx(math.sqrt(14 / 3))
    assert 1 < summary.low < 3 < summary.high < 6


def test_a_single_value_is_its_own_interval():
    summary = summarize([0.5])
    assert (summary.low, summary.high, summary.deviation) == (0.5, 0.5, 0.0)
    assert bootstrap_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_infinite_values_do_not_count():
    assert summarize([1.0, math.inf, 3.0]).mean == 2.0
    assert summarize([math.inf]).count == 0
    assert math.isnan(summarize([math.inf]).mean)


def test_the_interval_holds_the_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    intervals = [
        bootstrap_interval(generator.normal(1, 1, 30).tolist(), samples=500) for _ in range(100)
    ]
    inside = sum(low < 1 < high for low, high in intervals)
    assert 87 <= inside <= 100


def test_a_comparison_of_known_numbers():
    first, second = [0.9, 0.8, 0.95, 0.7], [0.85, 0.78, 0.9, 0.71]
    found = compare_paired(first, second, metric="ssim", first="a", second="b")
    differences = np.subtract(first, second)
    assert found.difference == pytest.approx(0.0275)
    assert found.effect_size == pytest.approx(0.0275 / differences.std(ddof=1))
    expected = stats.ttest_rel(first, second, alternative="greater")
    assert found.t == pytest.approx(expected.statistic)
    assert found.t_p_value == pytest.approx(expected.pvalue)
    # ranks of |d|: .01 → 1, .02 → 2, .05 → 3.5 twice; the positive ones sum up to 9
    assert found.wilcoxon == pytest.approx(9)


def test_lower_is_better_for_errors():
    better = compare_paired([1, 2, 3.1], [2, 3, 4], metric="nrmse", first="a", second="b")
    assert better.difference < 0 < better.effect_size
    assert better.t_p_value < 0.01
    worse = compare_paired([1, 2, 3.1], [2, 3, 4], metric="ssim", first="a", second="b")
    assert worse.effect_size < 0
    assert worse.t_p_value > 0.99


def test_swapping_the_models_turns_the_test_around():
    first, second = np.random.default_rng(0).random((2, 12))
    there = compare_paired(first, second, metric="r", first="a", second="b")
    back = compare_paired(second, first, metric="r", first="b", second="a")
    assert there.t_p_value == pytest.approx(1 - back.t_p_value)
    assert there.effect_size == pytest.approx(-back.effect_size)


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ([1.0], [2.0], 1),
        ([2.0, 3.0], [1.0, 1.0], 2),
        ([2.0, 3.0, math.inf], [1.0, 1.0, 5.0], 2),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 3),
        ([0.3, 0.9, 0.5], [0.2, 0.8, 0.4], 3),  # equal, but for rounding
    ],
)
def test_too_few_or_equal_differences_give_neither_p_nor_effect_size(first, second, count):
    found = compare_paired(first, second, metric="r", first="a", second="b")
    assert found.count == count
    assert found.difference == pytest.approx(np.mean(np.subtract(first, second)[:count]))
    for value in (found.effect_size, found.t, found.t_p_value, found.wilcoxon_p_value):
        assert math.isnan(value)


def test_holm_of_known_numbers():
    # The worked example of Holm's procedure: 0.01 · 4, 0.013 · 3, then max(0.014 · 2, 0.039) …
    assert holm([0.014, 0.01, 0.19, 0.013]) == pytest.approx([0.04, 0.04, 0.19, 0.04])
    corrected = holm([0.02, math.nan, 0.6, 0.9])
    assert corrected[0] == pytest.approx(0.06)
    assert math.isnan(corrected[1])
    assert corrected[2:] == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values):
    corrected = holm(p_values)
    assert all(new >= old for new, old in zip(corrected, p_values, strict=True))
    assert all(new <= 1 for new in corrected)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)


def test_only_the_same_images_are_compared():
    with pytest.raises(GvtzooError, match="a has 2 images and b 1"):
        compare_paired([1, 2], [1], metric="r", first="a", second="b")
    with pytest.raises(GvtzooError, match="no image was evaluated"):
        summarize([])
