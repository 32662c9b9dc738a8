"""The deep sigmoidal flow's scalar map: the logit of a mixture of sigmoids, exact in log space, both ways."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.bijectors.checks import require_broadcast, require_floating
from mlrisk.bijectors.increasing import IncreasingMap, require_positive, units_first
from mlrisk.bijectors.log_space import sigmoids, weights

Units = tuple[Array, Array, Array]
"""Slopes, offsets and weights (or logits)."""


def evaluate(units: Units, x: Array) -> tuple[Array, Array]:
    """``(y, log y')`` for slopes, offsets and unnormalised weights shaped (K, *x.shape)."""
    slopes, offsets, masses = units
    parts = sigmoids(slopes * x[None] + offsets)
    log_s = jnp.log((masses * parts.below).sum(0)) + parts.log_below
    log_c = jnp.log((masses * parts.above).sum(0)) + parts.log_above
    log_d = jnp.log((masses * slopes * parts.slope).sum(0)) + parts.log_slope
    return log_s - log_c, log_d + jnp.log(masses.sum(0)) - log_s - log_c


def bracket(units: Units, y: Array) -> tuple[Array, Array, Array]:
    """``min_j`` and ``max_j`` of ``(y - b_j) / a_j``, between which the root lies, and their weighted mean to start at.

    From the mean, Newton's method takes a step or two fewer than from the middle of the bracket.
    """
    slopes, offsets, masses = units
    ends = (y[None] - offsets) / slopes
    return ends.min(0), ends.max(0), (masses * ends).sum(0) / masses.sum(0)


class DeepSigmoidal(IncreasingMap):
    """An increasing map of the real line onto itself: ``y = logit(sum_j w_j sigmoid(a_j x + b_j))``.

    ``w = softmax(logits)``; ``y = S - C`` with ``S = log sum_j w_j sigmoid(p_j)`` and
    ``C = log sum_j w_j sigmoid(-p_j)``, and
    ``log y' = log sum_j w_j a_j sigmoid(p_j) sigmoid(-p_j) - S - C``. Both tails are straight with slope
    ``min_j a_j``; ``y'`` never exceeds ``max_j a_j``. The inverse starts from the exact bracket
    ``min_j (y - b_j) / a_j <= x <= max_j (y - b_j) / a_j`` and has the gradient of the implicit function.

    Elementwise (events of no dimension): the batch shape of the parameters broadcasts against that of x.

    Args:
        slopes: a, all positive, (*batch, K).
        offsets: b, (*batch, K).
        logits: unnormalised log-weights, (*batch, K).

    Raises:
        ValueError: shapes or dtypes do not fit, there is no unit, or a slope is not positive.

    Source:
        Huang et al. 2018, section 3.1 (deep sigmoidal flows, equation 8).

    Differs:
        The original squeezes the mixture into ``[5e-7, 1 - 5e-7]``, which keeps ``|y| < 14.51``: values beyond had
        no inverse, and densities did not integrate to one. No value is clipped here; a logit more than 60 below the
        largest (600 in float64) counts as lying there.
    """

    _function, _bracket = staticmethod(evaluate), staticmethod(bracket)

    def __init__(
        self,
        slopes: Float[Array, "*batch K"],
        offsets: Float[Array, "*batch K"],
        logits: Float[Array, "*batch K"],
    ) -> None:
        super().__init__(event_ndims_in=0)
        named = {"slopes": slopes, "offsets": offsets, "logits": logits}
        for name, value in named.items():
            require_floating(name, value, jnp.result_type(slopes))
            if jnp.ndim(value) < 1 or jnp.shape(value)[-1] != jnp.shape(slopes)[-1] or not jnp.shape(value)[-1]:
                shape = jnp.shape(value)
                raise ValueError(
                    f"{name}: shape {shape} is not allowed; slopes, offsets and logits end in K >= 1 units"
                )
        require_positive("slopes", slopes)
        self._batch = require_broadcast("offsets", jnp.shape(offsets)[:-1], "slopes", jnp.shape(slopes)[:-1])
        self._batch = require_broadcast("logits", jnp.shape(logits)[:-1], "slopes and offsets", self._batch)
        self._slopes, self._offsets, self._logits = slopes, offsets, logits

    def _parameters(self) -> Units:
        return self._slopes, self._offsets, self._logits

    def _prepared(self, shape: tuple[int, ...]) -> Units:
        slopes, offsets, logits = (units_first(unit, shape) for unit in self._parameters())
        return slopes, offsets, weights(logits)
