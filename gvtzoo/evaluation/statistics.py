"""How sure a mean is, and whether one model is better than another: statistics over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gvtzoo.core.errors import GvtzooError

LOWER_IS_BETTER = frozenset({"nrmse", "mse", "mae", "resolution"})
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
        the first is better. Infinite where all differences are the same, 0 where they are none,
        not a number for a single image.
    t, wilcoxon : float
        Statistics of the one-tailed paired t-test (as in the paper's Fig. 2b), and of Wilcoxon's
        signed-rank test.
    t_p_value, wilcoxon_p_value : float
        Probability of such a difference, or a larger one, if the first were not better; 1 where
        there are no differences, not a number for a single image.
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
    differences = _checked(first_values) - _checked(second_values)
    differences = differences[np.isfinite(differences)]
    mean = float(differences.mean()) if len(differences) else math.nan
    gains = -differences if metric in LOWER_IS_BETTER else differences
    t, t_p, wilcoxon, wilcoxon_p = _tests(gains)
    return Comparison(
        first,
        second,
        metric,
        len(gains),
        mean,
        _effect_size(gains),
        t,
        t_p,
        wilcoxon,
        wilcoxon_p,
    )


def _tests(gains: np.ndarray) -> tuple[float, float, float, float]:
    """Statistic and p value of the t-test and of Wilcoxon's test that gains are above 0."""
    from scipy import stats

    if len(gains) < 2:
        return math.nan, math.nan, math.nan, math.nan
    if not gains.any():
        return 0.0, 1.0, 0.0, 1.0
    ranks = stats.wilcoxon(gains, alternative="greater")
    if np.ptp(gains) == 0:
        sign = float(np.sign(gains[0]))
        t, p = sign * math.inf, 0.0 if sign > 0 else 1.0
    else:
        test = stats.ttest_1samp(gains, 0, alternative="greater")
        t, p = float(test.statistic), float(test.pvalue)
    return t, p, float(ranks.statistic), float(ranks.pvalue)


def _effect_size(gains: np.ndarray) -> float:
    if len(gains) < 2:
        return math.nan
    if not gains.any():
        return 0.0
    deviation = float(gains.std(ddof=1))
    return float(gains.mean()) / deviation if deviation else math.copysign(math.inf, gains.mean())


def _checked(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise GvtzooError("there are no values to summarize: no image was evaluated")
    return array
