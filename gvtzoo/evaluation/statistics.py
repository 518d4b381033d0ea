"""How sure a mean is, and whether one model is better than another: statistics over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gvtzoo.core.errors import GvtzooError

LOWER_IS_BETTER = frozenset({"nrmse", "mse", "mae", "resolution"})
FEWEST = 3  # differences that a test or an effect size needs
SAMPLES = 5_000  # of the bootstrap
LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """A metric over images.

    Attributes
    ----------
    count : int
    mean, median : float
    deviation : float
        Standard deviation between images; 0 of one image.
    low, high : float
        95 % bootstrap interval of the mean.
    """

    count: int
    mean: float
    deviation: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Whether the first of two models is better, on the same images.

    Attributes
    ----------
    first, second, metric : str
    count : int
        Images.
    difference : float
        Mean of the first's values minus the second's, in the metric's units.
    effect_size : float
        Cohen's d of the paired differences: their mean / their standard deviation, positive where
        the first is better.
    t, wilcoxon : float
        Statistics of the one-tailed paired t-test (as in the paper's Fig. 2b), and of Wilcoxon's
        signed-rank test.
    t_p_value, wilcoxon_p_value : float
        Probability of such a difference, or a larger one, if the first were not better.

    Notes
    -----
    The effect size, the tests' statistics and their p values are not numbers where there are
    fewer than `FEWEST` images, or all differences are the same: a test has nothing to go by then.
    """

    first: str
    second: str
    metric: str
    count: int
    difference: float
    effect_size: float
    t: float
    t_p_value: float
    wilcoxon: float
    wilcoxon_p_value: float


def bootstrap_interval(
    values: Sequence[float], *, level: float = LEVEL, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float]:
    """An interval that holds the mean with a probability of `level`.

    Bias-corrected and accelerated (Efron, J. Am. Stat. Assoc. 82, 171-185, 1987), by scipy. A
    single value, or equal ones, are their own interval.

    Parameters
    ----------
    values : sequence of float
    level : float
    samples : int
        Draws from the values.
    seed : int
    """
    from scipy.stats import bootstrap

    array = _checked(values)
    if len(array) == 1 or np.ptp(array) == 0:
        return float(array[0]), float(array[0])
    result = bootstrap(
        (array,), np.mean, confidence_level=level, n_resamples=samples, random_state=seed
    )
    interval = result.confidence_interval
    if not np.isfinite([interval.low, interval.high]).all():
        tails = (50 * (1 - level), 50 * (1 + level))
        low, high = np.percentile(result.bootstrap_distribution, tails)
        return float(low), float(high)
    return float(interval.low), float(interval.high)


def summarize(values: Sequence[float]) -> Summary:
    """Mean, spread and bootstrap interval of finite values; infinite ones are left out.

    Infinite are the PSNR of a perfect prediction, and a resolution that is never reached.

    Raises
    ------
    GvtzooError
        When there are no values.
    """
    array = _checked(values)
    array = array[np.isfinite(array)]
    if not len(array):
        nothing = math.nan
        return Summary(0, nothing, nothing, nothing, nothing, nothing)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    mean, median = float(array.mean()), float(np.median(array))
    return Summary(len(array), mean, deviation, median, *bootstrap_interval(array.tolist()))


def compare_paired(
    first_values: Sequence[float],
    second_values: Sequence[float],
    *,
    metric: str,
    first: str,
    second: str,
) -> Comparison:
    """Test whether the first model is better than the second.

    Parameters
    ----------
    first_values, second_values : sequence of float
        Of the same images in the same order. Images of which one is not finite are left out.
    metric : str
        Of `LOWER_IS_BETTER` or, like all others, better the higher it is.
    first, second : str
        Names of the models.

    Raises
    ------
    GvtzooError
        When the values are not as many.
    """
    if len(first_values) != len(second_values):
        raise GvtzooError(
            f"{first} has {len(first_values)} images and {second} {len(second_values)}: only the "
            "same images can be compared"
        )
    ours, theirs = _checked(first_values), _checked(second_values)
    finite = np.isfinite(ours - theirs)
    ours, theirs = ours[finite], theirs[finite]
    differences = ours - theirs
    mean = float(differences.mean()) if len(differences) else math.nan
    gains = -differences if metric in LOWER_IS_BETTER else differences
    found = [math.nan] * 5
    if len(gains) >= FEWEST and np.ptp(gains) > _rounding(ours, theirs):
        found = [float(gains.mean() / gains.std(ddof=1)), *_tests(gains)]
    return Comparison(first, second, metric, len(gains), mean, *found)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values of several tests, corrected so that all of them together keep their level.

    Holm's step-down procedure (Scand. J. Statist. 6, 65-70, 1979): the smallest of n is multiplied
    with n, the next with n − 1, …; none gets smaller than the one before it, or larger than 1. It
    holds however the tests depend on each other. Tests without a p value (NaN) do not count.

    Examples
    --------
    >>> holm([0.25, 0.125, math.nan])
    [0.25, 0.25, nan]
    """
    corrected = np.array(p_values, np.float64)
    known = np.flatnonzero(np.isfinite(corrected))
    order = known[np.argsort(corrected[known], kind="stable")]
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()


def _rounding(first: np.ndarray, second: np.ndarray) -> float:
    """What equal differences of such values may differ by, since they are rounded."""
    return 8 * float(np.finfo(np.float64).eps) * float(np.abs([first, second]).max())


def _tests(gains: np.ndarray) -> tuple[float, float, float, float]:
    """Statistic and p value of the t-test and of Wilcoxon's test that gains are above 0."""
    from scipy import stats

    test = stats.ttest_1samp(gains, 0, alternative="greater")
    ranks = stats.wilcoxon(gains, alternative="greater")
    t, t_p = float(test.statistic), float(test.pvalue)
    return t, t_p, float(ranks.statistic), float(ranks.pvalue)


def _checked(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise GvtzooError("there are no values to summarize: no image was evaluated")
    return array
