"""Means with intervals in closed form: over few seeds, and over many examples that may come in clusters."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures.intervals import Interval

LEVEL = 0.95


def student_mean(values: Float[np.ndarray, " n"]) -> Interval:
    """The mean of a few normal values with Student's interval, ``m -+ t_{n-1} s / sqrt(n)``.

    Args:
        values: one a seed (n,), finite. With two seeds the interval is wide (t = 12.7), as it should be, where a
            bootstrap would give their range.

    Returns:
        ``(mean, low, high)`` at 95 %; both ends NaN for one value.

    Raises:
        BadInput: no values, or some are not finite.
    """
    return _interval(values, np.arange(len(values)), len(values) - 1)


def clustered_mean(values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"] | None = None) -> Interval:
    """The mean of many examples with an interval over the clusters that they were cut from.

    With r_g the sum over cluster g of ``x_i - m`` and G clusters: ``se^2 = G / (G - 1) sum_g r_g^2 / n^2``, and the
    interval is ``m -+ t_{G-1} se``.

    Args:
        values: one an example (n,), finite.
        groups: the number of each example's cluster; None where each is its own.

    Returns:
        ``(mean, low, high)`` at 95 %; both ends NaN for one cluster.

    Raises:
        BadInput: no values, some are not finite, or the groups are not one an example.

    Source:
        Liang and Zeger, Longitudinal data analysis using generalized linear models, Biometrika 73 (1986), for the
        mean, with the usual correction for few clusters.
    """
    groups = np.arange(len(values)) if groups is None else groups
    if len(groups) != len(values):
        raise BadInput(f"groups: {len(groups)} of them do not fit {len(values)} values")
    return _interval(values, groups, len(np.unique(groups)) - 1)


def _interval(values: np.ndarray, groups: np.ndarray, freedom: int) -> Interval:
    values = np.asarray(values, np.float64)
    if not values.size or not np.isfinite(values).all():
        raise BadInput(
            f"values: {np.count_nonzero(~np.isfinite(values))} of {values.size} are not finite; need 1 or more"
        )
    mean = float(values.mean())
    if not freedom:
        return Interval(mean, float("nan"), float("nan"))
    residuals = np.bincount(np.unique(groups, return_inverse=True)[1], values - mean)
    error = np.sqrt((freedom + 1) / freedom * (residuals**2).sum()) / values.size
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * error)
    return Interval(mean, mean - half, mean + half)
