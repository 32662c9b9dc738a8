"""The rows that a sampler draws over a whole run, for what must repeat it exactly."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mlrisk.data.sampling import epoch_rows
from mlrisk.errors import BadInput
from mlrisk.types import RandomKey


def epoch_order(key: RandomKey, size: int, batch_size: int, num_steps: int) -> Int[Array, "steps batch"]:
    """Which rows are the batch of each step: those of `EpochSampler` and `ConditionSampler` with the same key.

    Args:
        key: typed key of the whole run; for a lane of `make_train` it is ``stream(lane_key, "data")``.
        size: number of rows (static).
        batch_size: rows per step, from 1 to ``size`` (static).
        num_steps: steps of the run, positive (static).

    Returns:
        Row numbers (num_steps, batch_size), without replacement within an epoch.

    Raises:
        BadInput: ``batch_size`` or ``num_steps`` is out of range.
    """
    if not 1 <= batch_size <= size:
        raise BadInput(f"batch_size: {batch_size} is not from 1 to {size} (the number of examples)")
    if num_steps < 1:
        raise BadInput(f"num_steps: {num_steps} is not a positive number of steps")
    return _rows(key, size, batch_size, num_steps)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _rows(key: RandomKey, size: int, batch_size: int, num_steps: int) -> Int[Array, "steps batch"]:
    return jax.vmap(lambda step: epoch_rows(key, step, size, batch_size))(jnp.arange(num_steps))
