"""Probes that more than one experiment attaches to its lanes."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mlrisk.data.conditions import Condition
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
