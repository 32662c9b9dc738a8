"""Batches of rows without labels, for density estimation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.data.sampling import epoch_rows
from mlrisk.errors import BadInput
from mlrisk.types import RandomKey


@functools.partial(jax.tree_util.register_dataclass, data_fields=["rows"], meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class RowSampler:
    """Batches of rows without replacement, reshuffled every epoch: `EpochSampler` for tables.

    Args:
        rows: (n, d), on the device.
        batch_size: rows per step, from 1 to n (static).

    Raises:
        BadInput: ``batch_size`` is not in [1, n].
    """

    rows: Float[Array, "n d"]
    batch_size: int

    def __post_init__(self) -> None:
        if getattr(self.rows, "ndim", None) == 2 and not 1 <= self.batch_size <= len(self.rows):
            raise BadInput(f"batch_size: {self.batch_size} is not from 1 to {len(self.rows)} (the number of rows)")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the rows."""
        return self.rows.shape[0] // self.batch_size

    def __call__(self, key: RandomKey, step: Int[Array, ""] | int) -> Float[Array, "batch d"]:
        """The rows (batch_size, d) of one step; see `EpochSampler.__call__`."""
        index = epoch_rows(key, step, self.rows.shape[0], self.batch_size)
        return jnp.asarray(self.rows).at[index].get(mode="promise_in_bounds")
