"""Intervals over seeds: the bootstrap, with seeds as the units that are drawn again."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import stats

from mlrisk.errors import BadInput


class Interval(NamedTuple):
    """An estimate and the two ends of its interval, in the unit of the statistic; NaN ends where n is 1."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    samples: Shaped[np.ndarray, "n ..."],
    statistic: Callable[[np.ndarray], float] = np.mean,
    *,
    seed: int,
    level: float | int = 0.95,
    resamples: int = 2000,
) -> Interval:
    """The statistic of the samples with a bootstrap interval over their first axis.

    ``[F^-1(a1), F^-1(a2)]`` with F the distribution of the statistic over resampled seeds, a1 and a2
    corrected for bias and skewness (BCa) where the jackknife allows it, else ``(1 -+ level) / 2``.

    Args:
        samples: one entry a seed along the first axis (n, ...); whole entries are drawn, so a matrix of seeds
            by examples keeps its rows together.
        statistic: function of an array (m, ...) to a number.
        seed: seed of the resampling; the same seed gives the same interval.
        level: coverage, between 0 and 1.
        resamples: number of bootstrap draws.

    Returns:
        ``(value, low, high)``; both ends NaN when there is one sample only.

    Raises:
        BadInput: no samples, samples that are not finite, or ``level`` or ``resamples`` out of range.

    Source:
        Efron, Better bootstrap confidence intervals, JASA 82 (1987), section 4.
    """
    samples = np.asarray(samples)
    _check(samples, level, resamples)
    value = float(statistic(samples))
    if len(samples) == 1:
        return Interval(value, float("nan"), float("nan"))
    for method in ("BCa", "percentile"):
        low, high = _ends(samples, statistic, seed, level, resamples, method)
        if np.isfinite(low) and np.isfinite(high):
            break
    return Interval(value, low, high)


def share_interval(hits: Bool[np.ndarray, " n"], level: float | int = 0.95) -> Interval:
    """The share of hits among n independent trials with its exact interval, which no share makes a point.

    Args:
        hits: one entry a trial, at least one.
        level: coverage, between 0 and 1.

    Returns:
        ``(share, low, high)``.

    Raises:
        BadInput: no trials, or ``level`` out of range.

    Source:
        Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26 (1934).
    """
    _check(hits, level, 1)
    found = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(confidence_level=level)
    return Interval(float(hits.mean()), float(found.low), float(found.high))


def _ends(
    samples: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    seed: int,
    level: float | int,
    resamples: int,
    method: str,
) -> tuple[float, float]:
    # Drawing row numbers instead of values lets one statistic see whole rows of any shape.
    def of_rows(rows: np.ndarray) -> float:
        return float(statistic(samples[np.asarray(rows, int)]))

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (np.arange(len(samples)),),
            of_rows,
            vectorized=False,
            n_resamples=resamples,
            confidence_level=level,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def _check(samples: np.ndarray, level: float | int, resamples: int) -> None:
    if samples.ndim == 0 or len(samples) == 0:
        raise BadInput(f"samples: shape {samples.shape} has no seeds along its first axis")
    wrong = np.count_nonzero(~np.isfinite(samples))
    if wrong:
        raise BadInput(f"samples: {wrong} of {samples.size} values are not finite; leave diverged seeds out")
    if not 0 < level < 1:
        raise BadInput(f"level: {level} is not between 0 and 1")
    if resamples < 1:
        raise BadInput(f"resamples: {resamples} is not a positive number of draws")
