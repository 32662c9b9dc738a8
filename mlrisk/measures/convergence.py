"""When a training curve reaches a threshold, with those that never do kept as lower bounds."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlrisk.errors import BadInput
from mlrisk.types import is_concrete


class Convergence(NamedTuple):
    """Times (*axes, thresholds), and whether each is only a lower bound as its curve ended below the threshold."""

    time: Float[Array, "*axes thresholds"]
    censored: Bool[Array, "*axes thresholds"]


def time_to_convergence(
    accuracy: Float[Array | np.ndarray, "*axes blocks"],
    times: Float[Array | np.ndarray, " blocks"] | Int[Array | np.ndarray, " blocks"] | float | int,
    thresholds: Sequence[float] | float,
    *,
    stays: bool = False,
) -> Convergence:
    """The first time at which each curve is at or above each threshold: ``min {t_b : a_b >= threshold}``.

    A curve that never gets there is censored, and its time is the last one: the true time is later. A NaN reaches
    nothing, so a run that diverged is censored too.

    Args:
        accuracy: curves (*axes, blocks), or any other quantity that rises as training goes on.
        times: the time of each block (blocks,), rising; or one number, the length of a block, for times
            ``length (1, ..., blocks)``.
        thresholds: one or several, finite.
        stays: count only the first time from which the curve never falls below the threshold again.

    Returns:
        ``(time, censored)``, each (*axes, thresholds).

    Raises:
        BadInput: no blocks or no thresholds, a threshold that is not finite, or times that do not fit or rise.

    Source: Arpit et al. 2017, Figure 4 (thesis Figure 3.6), epochs to 100 % training accuracy.
    Differs: several thresholds, as one ambiguous example decides when 100 % is reached.
    """
    curve = jnp.asarray(accuracy)
    moments, levels = _times(times, curve.shape), _thresholds(thresholds)
    above = curve[..., None, :] >= levels.astype(curve.dtype).reshape((1,) * (curve.ndim - 1) + (-1, 1))
    if stays:
        above = jnp.cumprod(above[..., ::-1].astype(jnp.int32), axis=-1)[..., ::-1].astype(bool)
    reached = jnp.any(above, axis=-1)
    first = jnp.where(reached, jnp.argmax(above, axis=-1), curve.shape[-1] - 1)
    return Convergence(moments[first], ~reached)


def _times(times: Array | np.ndarray | float | int, shape: tuple[int, ...]) -> Float[Array, " blocks"]:
    if not shape or not shape[-1]:
        raise BadInput(f"accuracy: shape {shape} has no blocks along its last axis")
    blocks = shape[-1]
    given = jnp.asarray(times).astype(jnp.float32)
    moments = given * jnp.arange(1, blocks + 1, dtype=jnp.float32) if given.ndim == 0 else given
    if moments.shape != (blocks,):
        raise BadInput(f"times: shape {moments.shape} is not that of the curve's blocks, ({blocks},)")
    if is_concrete(moments):
        found = np.asarray(moments)
        if not (np.isfinite(found).all() and found[0] > 0 and (np.diff(found) > 0).all()):
            raise BadInput("times: are not positive, finite and rising")
    return moments


def _thresholds(thresholds: Sequence[float] | float) -> Float[Array, " thresholds"]:
    levels = np.atleast_1d(np.asarray(thresholds, np.float32))
    if levels.ndim != 1 or not levels.size or not np.isfinite(levels).all():
        raise BadInput(f"thresholds: {thresholds} is not one finite number or a list of them")
    return jnp.asarray(levels)
