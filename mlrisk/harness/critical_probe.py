"""Probes of the share of critical samples: of fixed examples, and of the training set of a lane's own condition."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Float

from mlrisk.data.conditions import Condition
from mlrisk.measures.critical_samples import critical_sample_ratio
from mlrisk.types import Params, RandomKey

Apply = Callable[[Params, Array], Array]
_STATIC = ["apply", "radius", "num_steps", "batch_size"]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["inputs"], meta_fields=_STATIC)
@dataclass(frozen=True)
class CriticalSamplesProbe:
    """The critical sample ratio of fixed examples, by `mlrisk.measures.lass`; labels play no part.

    Args:
        inputs: (n, *shape).
        apply: ``(params, inputs) -> logits`` on a batch, as for prediction.
        radius: in the units of the inputs; after standardisation, ``0.3 / 255 / scale`` is the published one.
        num_steps: iterations of the search at most.
        batch_size: examples searched at a time.
    """

    inputs: Float[Array, "n ..."]
    apply: Apply
    radius: float
    num_steps: int = 100
    batch_size: int = 500

    def __call__(self, state: Any, key: RandomKey, /) -> dict[str, Array]:
        """``ratio``, a scalar in [0, 1]; NaN once the network's logits are NaN."""
        return {"ratio": _ratio(self, state.params, self.inputs, key)}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["inputs"], meta_fields=_STATIC)
@dataclass(frozen=True)
class ConditionCriticalSamplesProbe:
    """The same for the inputs of the condition that a lane trains on.

    Args:
        inputs: (conditions, n, *shape).
        apply: and the rest, see `CriticalSamplesProbe`.
        radius: in the units of the inputs.
        num_steps: iterations at most.
        batch_size: examples at a time.
    """

    inputs: Float[Array, "conditions n ..."]
    apply: Apply
    radius: float
    num_steps: int = 100
    batch_size: int = 500

    def __call__(self, state: Any, key: RandomKey, hyper: Condition, /) -> dict[str, Array]:
        """``ratio``, a scalar in [0, 1]; NaN once the network's logits are NaN."""
        return {"ratio": _ratio(self, state.params, self.inputs[hyper.condition], key)}


def _ratio(
    probe: CriticalSamplesProbe | ConditionCriticalSamplesProbe, params: Params, inputs: Array, key: RandomKey
) -> Array:
    return critical_sample_ratio(
        functools.partial(probe.apply, params),
        inputs,
        key,
        radius=probe.radius,
        num_steps=probe.num_steps,
        batch_size=probe.batch_size,
    )
