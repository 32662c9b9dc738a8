"""Probes that more than one experiment attaches to its lanes."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.data.conditions import Condition
from mlrisk.harness.blocks import in_blocks
from mlrisk.types import Examples, Params, RandomKey


@functools.partial(jax.tree_util.register_dataclass, data_fields=["conditions"], meta_fields=["apply"])
@dataclass(frozen=True)
class ConditionProbe:
    """Which examples of its own condition a lane's network classifies as their label says.

    Args:
        conditions: inputs (conditions, n, *shape), labels (conditions, n).
        apply: ``(params, inputs) -> logits`` on a batch.
    """

    conditions: Examples
    apply: Callable[[Params, Array], Array]

    def __call__(self, state: Any, key: RandomKey, hyper: Condition, /) -> dict[str, Array]:
        """``correct``, bool (n,), and their mean, ``accuracy``."""
        inputs, labels = jax.tree.map(lambda leaf: leaf[hyper.condition], self.conditions)
        correct = jnp.argmax(self.apply(state.params, inputs), axis=-1) == labels
        return {"correct": correct, "accuracy": jnp.mean(correct.astype(jnp.float32))}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["rows"], meta_fields=["log_prob", "batch_size"])
@dataclass(frozen=True)
class LikelihoodProbe:
    """The mean log-likelihood of held-out rows under the averaged parameters, or the last where no average is kept.

    Args:
        rows: (n, d).
        log_prob: ``(params, rows) -> (n,)``, in nats.
        batch_size: rows judged at a time, to bound the memory.
    """

    rows: Float[Array, "n d"]
    log_prob: Callable[[Params, Array], Array]
    batch_size: int = 1000

    def __call__(self, state: Any, key: RandomKey, /) -> dict[str, Array]:
        """``log_likelihood``, a scalar in nats."""
        params = state.params if state.average is None else state.average
        return {
            "log_likelihood": in_blocks(lambda rows: self.log_prob(params, rows), self.rows, self.batch_size).mean()
        }


def judged(
    log_prob: Callable[[Params, Array], Array], params: Params, rows: Float[Array, "n d"], batch_size: int
) -> Float[Array, "lanes n"]:
    """``log_prob`` of the rows under the stacked parameters of several lanes, one lane after another; compiled."""

    def one(own: Params, rows: Array) -> Array:
        return in_blocks(lambda block: log_prob(own, block), rows, batch_size)

    return jax.jit(lambda lanes, rows: jax.lax.map(lambda own: one(own, rows), lanes))(params, rows)
