"""How a time that may be censored grows with a size: the slope between their logarithms."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, special, stats

from mlrisk.errors import BadInput
from mlrisk.measures.intervals import Interval, bootstrap_interval

_RESOLUTION = 1e-5
"""The least spread of log times that is told from none; keeps the likelihood of runs without any spread finite."""
_WIDEST = 60.0
_MOST_STEPS = 100


def elasticity(
    sizes: Float[np.ndarray, " sizes"],
    times: Float[np.ndarray, "sizes seeds"],
    censored: Bool[np.ndarray, "sizes seeds"],
    *,
    interval: Literal["profile", "seeds"] = "profile",
    level: float = 0.95,
) -> Interval:
    """The exponent e of ``T = c n^e``: the slope of log time on log size, by maximum likelihood.

    ``log T = a + e log n + s z`` with standard normal z; a time that was reached adds the normal density to the
    likelihood, a censored one the probability to be later than its bound. Leaving censored runs out, or taking
    their bounds for times, pulls the slope towards 0.

    Args:
        sizes: numbers of examples or widths, positive, at least two different.
        times: one a size and seed (sizes, seeds), positive.
        censored: True where the time is only a lower bound.
        interval: ``"profile"`` inverts the likelihood-ratio test (all runs are independent); ``"seeds"`` draws
            whole seeds again and keeps those of one seed together (needs 5 or more to mean much).
        level: coverage, between 0 and 1.

    Returns:
        ``(slope, low, high)``. An end that the data do not bound is infinite. With fewer than two sizes at which
        some seed arrived, or fewer than three arrivals, there is no estimate: ``(nan, -inf, inf)``.

    Raises:
        BadInput: shapes that do not fit, sizes or times that are not positive and finite, one size only, or
            ``level`` out of range.

    Source:
        Tobin, Estimation of relationships for limited dependent variables, Econometrica 26 (1958), with the
        parameters ``(a / s, e / s, 1 / s)`` of Olsen, Econometrica 46 (1978), in which it is concave.
    Differs:
        The likelihood ratio is held to ``m log(1 + t^2 / (m - 2))``, with m times reached and t Student's
        quantile at m - 2 degrees: without censoring this is exactly the interval of least squares.
    """
    sizes, times, censored = _checked(sizes, times, censored, level)
    x = np.log(sizes)[:, None] - np.log(sizes).mean() + np.zeros(times.shape)
    y = np.log(times)
    if not _estimable(x, censored):
        return Interval(float("nan"), -np.inf, np.inf)
    if interval == "profile":
        return _profile_interval(x.ravel(), y.ravel(), censored.ravel(), level)
    seeds = np.stack([x.T, y.T, censored.T], axis=1)
    return bootstrap_interval(seeds, _slope_of_seeds, seed=0, level=level, resamples=200)


def _slope_of_seeds(seeds: np.ndarray) -> float:
    x, y, censored = (seeds[:, i].ravel() for i in range(3))
    return _fit(x, y, censored > 0)[0] if _estimable(x, censored > 0) else np.nan


def _estimable(x: np.ndarray, censored: np.ndarray) -> bool:
    return len(np.unique(x[~censored])) > 1 and int(np.count_nonzero(~censored)) > 2


def _profile_interval(x: np.ndarray, y: np.ndarray, censored: np.ndarray, level: float) -> Interval:
    slope, top = _fit(x, y, censored)
    freedom = int(np.count_nonzero(~censored)) - 2
    t = stats.t.ppf((1 + level) / 2, freedom)
    allowed = float((freedom + 2) / 2 * np.log1p(t**2 / freedom))

    def spare(at: float) -> float:
        return _fit(None, y - at * x, censored)[1] - top + allowed

    return Interval(slope, _end(spare, slope, -1.0), _end(spare, slope, 1.0))


def _end(spare: Callable[[float], float], slope: float, sign: float) -> float:
    reach = 1e-3
    while spare(slope + sign * reach) > 0:
        reach *= 2
        if reach > _WIDEST:
            return float(sign * np.inf)
    found: Any = optimize.brentq(lambda r: spare(slope + sign * r), 0.0, reach, xtol=1e-7)
    return float(slope + sign * found)


def _fit(x: np.ndarray | None, y: np.ndarray, censored: np.ndarray) -> tuple[float, float]:
    """The slope (0 without x) and the greatest log-likelihood, by Newton's method in Olsen's parameters."""
    predictors = [np.ones(y.size)] if x is None else [np.ones(y.size), x]
    design = np.stack([*(-column for column in predictors), y], axis=1)
    weights = np.linalg.lstsq(design[:, :-1], -y, rcond=None)[0]
    sharpness = 1 / max(float(np.std(y + design[:, :-1] @ weights)), _RESOLUTION)
    parameters = np.append(weights, 1.0) * sharpness
    value, gradient, curvature = _likelihood(parameters, design, censored)
    for _ in range(_MOST_STEPS):
        step = np.linalg.solve(curvature, gradient)
        while (found := _likelihood(parameters + step, design, censored))[0] < value and np.abs(step).max() > 1e-12:
            step = step / 2
        gain, (value, gradient, curvature), parameters = found[0] - value, found, parameters + step
        if gain < 1e-10:
            break
    return 0.0 if x is None else float(parameters[1] / parameters[-1]), float(value)


def _likelihood(
    parameters: np.ndarray, design: np.ndarray, censored: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """The log-likelihood, its gradient, and minus its Hessian, which is positive definite."""
    sharpness, reached = parameters[-1], ~censored
    if sharpness <= 0:
        return -np.inf, parameters, np.eye(len(parameters))
    residual = design @ parameters
    tail = special.log_ndtr(-residual)
    hazard = np.exp(-(residual**2) / 2 - tail) / np.sqrt(2 * np.pi)
    count, last = reached.sum(), np.eye(len(parameters))[-1]
    value = np.where(reached, np.log(sharpness) - (residual**2 + (_RESOLUTION * sharpness) ** 2) / 2, tail).sum()
    pull = np.where(reached, residual, hazard)
    weight = np.where(reached, 1.0, hazard * (hazard - residual))
    gradient = -design.T @ pull + last * count * (1 / sharpness - _RESOLUTION**2 * sharpness)
    curvature = (design.T * weight) @ design + np.outer(last, last) * count * (1 / sharpness**2 + _RESOLUTION**2)
    return float(value), gradient, curvature


def _checked(
    sizes: np.ndarray, times: np.ndarray, censored: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes, times, censored = np.asarray(sizes, float), np.asarray(times, float), np.asarray(censored, bool)
    if sizes.ndim != 1 or times.ndim != 2 or times.shape != censored.shape or len(times) != len(sizes):
        raise BadInput(f"times: shape {times.shape}, with censored {censored.shape}, is not (sizes, seeds) "
                       f"for sizes {sizes.shape}")  # fmt: skip
    for field, values in (("sizes", sizes), ("times", times)):
        if not values.size or not (np.isfinite(values).all() and (values > 0).all()):
            raise BadInput(f"{field}: are not all positive and finite")
    if len(np.unique(sizes)) < 2:
        raise BadInput(f"sizes: {sizes.tolist()} has fewer than two different sizes; a slope needs two")
    if not 0 < level < 1:
        raise BadInput(f"level: {level} is not between 0 and 1")
    return sizes, times, censored
