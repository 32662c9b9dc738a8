"""Times of several runs that may be censored: their mean, their ratio to others, and differences of estimates."""

import numpy as np
from jaxtyping import Bool, Float

from mlrisk.errors import BadInput
from mlrisk.measures.elasticity import elasticity
from mlrisk.measures.intervals import Interval
from mlrisk.measures.means import student_mean

NO_ESTIMATE = Interval(float("nan"), -np.inf, np.inf)


def interval_difference(first: Interval, second: Interval) -> Interval:
    """The difference of two independent estimates, from their intervals alone.

    With estimates a, b and intervals [la, ua], [lb, ub]:
    ``[a - b - sqrt((a - la)^2 + (ub - b)^2), a - b + sqrt((ua - a)^2 + (b - lb)^2)]``.

    Args:
        first: a with its ends, which may be infinite and at any distance from it.
        second: b with its ends at the same coverage.

    Returns:
        ``(a - b, low, high)``; ``(nan, -inf, inf)`` where either estimate is NaN.

    Source:
        Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008).
    """
    if np.isnan(first.value) or np.isnan(second.value):
        return NO_ESTIMATE
    value = first.value - second.value
    down = np.hypot(first.value - first.low, second.high - second.value)
    up = np.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, float(value - down), float(value + up))


def log_time_ratio(
    times: Float[np.ndarray, " seeds"],
    censored: Bool[np.ndarray, " seeds"],
    reference_times: Float[np.ndarray, " seeds"],
    reference_censored: Bool[np.ndarray, " seeds"],
) -> Interval:
    """How much later one group arrives than another: the difference of their mean log times.

    ``log T = a + d g + s z`` with g 1 in the group and 0 in the reference, standard normal z, fitted by maximum
    likelihood with censored runs as lower bounds.

    Args:
        times: one a seed, positive.
        censored: True where the time is only a lower bound.
        reference_times: those of the reference, as many.
        reference_censored: likewise.

    Returns:
        ``(d, low, high)`` at 95 %. Where no run of one group arrived, what its bounds say: ``high`` is infinite if it
        is the group, ``low`` is if it is the reference. Without any arrival ``(nan, -inf, inf)``.

    Raises:
        BadInput: shapes that do not fit, or times that are not positive and finite.

    Source:
        Tobin, Econometrica 26 (1958); see `mlrisk.measures.elasticity`.
    """
    if len({values.shape for values in (times, censored, reference_times, reference_censored)}) != 1:
        raise BadInput(f"times: shape {times.shape} and the others' do not agree; one time and flag a seed and group")
    late, early = bool(censored.all()), bool(reference_censored.all())
    if late and early:
        return NO_ESTIMATE
    if late or early:
        bound = student_mean(np.log(times) - np.log(reference_times))
        return Interval(bound.value, -np.inf if early else bound.low, np.inf if late else bound.high)
    groups, flags = np.stack([reference_times, times]), np.stack([reference_censored, censored])
    return elasticity(np.asarray([1.0, np.e]), groups, flags)


def geometric_mean_time(times: Float[np.ndarray, " seeds"], censored: Bool[np.ndarray, " seeds"]) -> Interval:
    """The geometric mean of times, ``exp(mean log T)``; where some are lower bounds, itself a lower bound.

    Args:
        times: one a seed, positive.
        censored: True where the time is only a lower bound.

    Returns:
        ``(mean, low, high)`` with Student's 95 % interval of the log; ``high`` is infinite with censored runs.
    """
    mean = Interval(*(float(np.exp(end)) for end in student_mean(np.log(times))))
    return mean._replace(high=float("inf")) if censored.any() else mean
