"""How unequally a quantity is shared: the Gini coefficient."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.types import is_concrete


def gini(values: Float[Array | np.ndarray, "..."], axis: int = -1) -> Float[Array, "..."]:
    """The Gini coefficient: 0 if all values are equal, ``(n - 1) / n`` if one has everything.

    With ``v_1 <= ... <= v_n``: ``G = sum_i (2 i - n - 1) v_i / (n sum_i v_i)``.

    Args:
        values: at least one along ``axis``, none negative.
        axis: along which the values share (static).

    Returns:
        One coefficient in [0, 1) per entry of the other axes; 0 where all values are 0, NaN where one is not finite.

    Raises:
        BadInput: no such axis, an empty one, or a negative value.

    Source: Gini 1912; Arpit et al. 2017, section 3.2, where it is taken over the loss-sensitivities of examples.
    """
    _check(values, axis)
    ordered = jnp.sort(jnp.moveaxis(jnp.asarray(values), axis, -1), axis=-1)
    # shares of the largest: sums of values near the largest float would overflow
    largest = ordered[..., -1:]
    shares = ordered / jnp.where(largest > 0, largest, jnp.ones_like(largest))
    n = shares.shape[-1]
    weights = jnp.asarray(2 * np.arange(1, n + 1) - n - 1, shares.dtype)
    total = shares.sum(-1)
    return shares @ weights / (n * jnp.where(total == 0, jnp.ones_like(total), total))


def _check(values: Array | np.ndarray, axis: int) -> None:
    if not -values.ndim <= axis < values.ndim:
        raise BadInput(f"axis: {axis} is not an axis of values of shape {values.shape}")
    if values.shape[axis] < 1:
        raise BadInput(f"values: shape {values.shape} has nothing along axis {axis}; at least 1 value is needed")
    if is_concrete(values) and (negative := np.count_nonzero(np.asarray(values) < 0)):
        raise BadInput(f"values: {negative} of {values.size} are negative; shares are of values from 0 up")
