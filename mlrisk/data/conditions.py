"""Several versions of one training set, stacked, so that lanes of one compile can train on different ones."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from mlrisk import prng
from mlrisk.data.noise import rand_x, rand_y
from mlrisk.data.preprocess import Per
from mlrisk.data.sampling import epoch_rows, require_batch
from mlrisk.types import Examples, RandomKey

CONDITIONS = ("real", "randX", "randY")


class Condition(NamedTuple):
    """The hyper of a lane: which of the stacked conditions its network sees."""

    condition: Int[Array, "..."]


def noise_conditions(key: RandomKey, real: Examples, num_classes: int, moments: Per = "global") -> Examples:
    """The real examples, the same with random inputs, and with random labels, stacked in the order of `CONDITIONS`.

    Args:
        key: typed key; the noise is drawn once from it and frozen.
        real: inputs (n, *shape), labels (n,).
        num_classes: number of classes.
        moments: see `rand_x`.

    Returns:
        Inputs (3, n, *shape), labels (3, n).

    Source: Arpit et al. 2017, section 3 (randX and randY).
    """
    x_key, y_key = prng.streams(key, "randX", "randY")
    random_x = rand_x(x_key, real, moments=moments).examples
    random_y = rand_y(y_key, real, num_classes).examples
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), real, random_x, random_y)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["conditions"], meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class ConditionSampler:
    """Batches without replacement from the condition that a lane's `Condition` names.

    Args:
        conditions: inputs (conditions, n, *shape), labels (conditions, n).
        batch_size: examples per step, from 1 to n (static).

    Raises:
        BadInput: ``batch_size`` is not in [1, n].
    """

    conditions: Examples
    batch_size: int

    def __post_init__(self) -> None:
        require_batch(self.conditions, self.batch_size, at_most=True, stacked=1)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over a condition's examples."""
        return self.conditions.labels.shape[1] // self.batch_size

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Condition, /) -> Examples:
        """Inputs (batch_size, *shape), labels (batch_size,)."""
        rows = epoch_rows(key, step, self.conditions.labels.shape[1], self.batch_size)
        return jax.tree.map(lambda leaf: leaf[hyper.condition, rows], self.conditions)
