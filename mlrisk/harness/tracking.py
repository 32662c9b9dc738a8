"""What the loop keeps beside the parameters: their average, the best snapshot, and the reason to stop."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlrisk.types import Metrics, Params


class Best(NamedTuple):
    """The parameters at the best probe so far, the metric there, and the step."""

    params: Params
    value: Float[Array, ""]
    step: Int[Array, ""]


class BestRule(NamedTuple):
    """Keep the parameters at the best value of ``metric`` (a history name such as ``val/accuracy``).

    With ``patience`` p, a lane whose best is more than p probe blocks old stops; with a ``target``, one whose best
    has reached it. A stopped lane's state stays as it is, and its later history repeats the last row. A value that
    is not finite is never the best. With ``of="average"`` the snapshot is of the averaged parameters: for metrics
    whose probe reads ``state.average``.
    """

    metric: str
    mode: Literal["max", "min"] = "max"
    patience: int | None = None
    of: Literal["params", "average"] = "params"
    target: float | None = None

    @property
    def stops(self) -> bool:
        """Whether a lane may end before its last step."""
        return self.patience is not None or self.target is not None

    def start(self, params: Params) -> Best:
        """The snapshot before any probe: the initial parameters, at the worst possible value."""
        worst = -jnp.inf if self.mode == "max" else jnp.inf
        return Best(params, jnp.float32(worst), jnp.int32(0))

    def update(self, state: Any, row: Metrics, probe_every: int) -> Any:
        """The state after a probe: a better snapshot, or a lane that has waited long enough and stops.

        Raises:
            KeyError: the history has no metric of that name.
        """
        if self.metric not in row:
            raise KeyError(f"best.metric: {self.metric!r} is not one of {', '.join(sorted(row))}")
        value = row[self.metric].astype(jnp.float32)
        better = value > state.best.value if self.mode == "max" else value < state.best.value
        better &= jnp.isfinite(value)
        fresh = Best(getattr(state, self.of), value, state.step)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), fresh, state.best)
        state = state._replace(best=best)
        if not self.stops:
            return state
        return state._replace(stopped_at=jnp.where(self._done(best, state.step, probe_every), state.step, -1))

    def _done(self, best: Best, step: Int[Array, ""], probe_every: int) -> Bool[Array, ""]:
        done = jnp.zeros((), bool)
        if self.patience is not None:
            done |= (step - best.step) > self.patience * probe_every
        if self.target is not None:
            done |= best.value >= self.target if self.mode == "max" else best.value <= self.target
        return done


def average(previous: Params | None, params: Params, step: Int[Array, ""], decay: float | None) -> Params | None:
    """The debiased exponential average after one more step, from the debiased average before it.

    ``a_t = sum_{s<=t} d^(t-s) p_s / sum_{s<=t} d^(t-s)``, written as ``a + w_t (p_t - a)`` with
    ``w_t = (1 - d) / (1 - d^(t+1))``, so the first value is the first parameters, whatever the decay.

    Args:
        previous: the average so far (ignored at step 0), or None to keep none.
        params: the parameters after this step.
        step: the number of steps before this one.
        decay: d in [0, 1).

    Returns:
        A tree like ``params``, or None.
    """
    if previous is None or decay is None:
        return None
    weight = (1 - decay) / (1 - decay ** (step.astype(jnp.float32) + 1))
    return jax.tree.map(lambda a, p: (a + weight * (p - a)).astype(p.dtype), previous, params)
