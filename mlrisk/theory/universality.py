"""Why mixtures of sigmoids fit every increasing function: the step construction, and targets to try it on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

from mlrisk.errors import BadInput

Reals = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Monotone:
    """A strictly increasing continuous function from an interval into (0, 1).

    Attributes:
        function: acts on float64 arrays.
        low: left end of the interval.
        high: right end.
    """

    function: Callable[[Reals], Reals]
    low: float = -5.0
    high: float = 5.0

    def __call__(self, x: Reals) -> Reals:
        """The function's values (n,)."""
        return self.function(x)

    def inverse(self, levels: Reals) -> Reals:
        """Where the function takes each level (n,), to 1e-12; the nearer end for levels that it does not reach."""
        first, last = self.function(np.asarray([self.low, self.high]))
        return np.asarray([self.low if level <= first else self.high if level >= last else self._solve(level)
                           for level in levels])  # fmt: skip

    def _solve(self, level: float) -> float:
        root: Any = optimize.brentq(
            lambda x: float(self.function(np.asarray([x]))[0]) - level, self.low, self.high, xtol=1e-12
        )
        return float(root)


class Construction(NamedTuple):
    """Steps of heights ``weights`` at ``knots``, and the width that turns each into a sigmoid."""

    knots: Float[np.ndarray, " steps"]
    weights: Float[np.ndarray, " steps"]
    width: float

    def stairs(self, x: Reals) -> Reals:
        """``S*(x) = sum_j w_j [x >= k_j]`` (n,)."""
        return ((x[:, None] >= self.knots) * self.weights).sum(1)

    def smooth(self, x: Reals) -> Reals:
        """``S_n(x) = sum_j w_j sigmoid((x - k_j) / width)`` (n,): what one deep sigmoidal map is before its logit."""
        return special.expit((x[:, None] - self.knots) / self.width) @ self.weights


def construct(target: Monotone, count: int) -> Construction:
    """Steps through an increasing function at its ``k / count`` quantiles, and sigmoids narrow enough to follow them.

    Knots at ``S^-1(k / n)`` for ``k = 1, ..., n - 1``; each step is ``1 / n`` high, the last ``2 / n``. The width is
    the least distance of two knots over ``logit(1 - 1 / (2 n))``: a sigmoid is within ``1 / (2 n)`` of its step from
    the next knot on. So ``|S* - S| <= 1 / n`` and ``|S_n - S| <= 2.5 / n`` wherever S is between ``1 / n`` and
    ``1 - 1 / n``, or goes on to 0 and 1 outside the interval.

    Args:
        target: S.
        count: n, at least 3; the construction has n - 1 sigmoids.

    Raises:
        BadInput: ``count`` is smaller, or two quantiles coincide because S does not reach them.

    Source:
        Huang et al. 2018, universality of sigmoidal flows and the figure of its step functions, with n = 7.
    """
    if count < 3:
        raise BadInput(f"count: {count} is not allowed, the construction needs at least 3 levels")
    knots = target.inverse(np.arange(1, count) / count)
    least = float(np.diff(knots).min())
    if least <= 0:
        raise BadInput(f"count: {count} is not allowed, the target does not reach all multiples of 1/{count}")
    weights = np.full(count - 1, 1 / count)
    weights[-1] += 1 / count
    return Construction(knots, weights, least / float(special.logit(1 - 1 / (2 * count))))


def _unit(x: Reals) -> Reals:
    """From [-5, 5] to [0, 1]."""
    return (x + 5) / 10


def _inside(share: Reals) -> Reals:
    """From [0, 1] to [0.01, 0.99]."""
    return 0.01 + 0.98 * share


def _two_bumps(x: Reals) -> Reals:
    return 0.5 * special.ndtr((x + 2.5) / 0.5) * 0.998 + 0.5 * special.ndtr((x - 2.5) / 0.5) * 0.998 + 1e-4 * (x + 10)


MONOTONE: Mapping[str, Monotone] = {
    "sigmoid": Monotone(lambda x: special.expit(x)),
    "line": Monotone(lambda x: _inside(_unit(x))),
    "cube": Monotone(lambda x: _inside(0.5 + 4 * (_unit(x) - 0.5) ** 3 * 0.98 + 0.02 * (_unit(x) - 0.5))),
    "two bumps": Monotone(_two_bumps),
    "waves": Monotone(lambda x: _inside(_unit(x) + 0.9 * np.sin(8 * math.pi * _unit(x)) / (8 * math.pi))),
}
"""Targets on [-5, 5]: the figure's own; straight; flat in the middle; the distribution of a bimodal variable; wavy."""
