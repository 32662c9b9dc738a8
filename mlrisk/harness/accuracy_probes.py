"""Probes of accuracy: on fixed examples, and on the training set of a lane's own noise level."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from mlrisk.data.noise_levels import NoisyExamples
from mlrisk.harness.blocks import in_blocks
from mlrisk.objectives.classification import cross_entropy
from mlrisk.types import Examples, Params, RandomKey

Apply = Callable[[Params, Array], Array]


def judge(apply: Apply, params: Params, examples: Examples, batch_size: int) -> tuple[Bool[Array, " n"], Array]:
    """Which examples are classified as their labels say, and their mean cross-entropy in nats."""
    logits = in_blocks(lambda inputs: apply(params, inputs), examples.inputs, batch_size)
    return jnp.argmax(logits, axis=-1) == examples.labels, cross_entropy(logits, examples.labels).mean()


@functools.partial(jax.tree_util.register_dataclass, data_fields=["examples"], meta_fields=["apply", "batch_size"])
@dataclass(frozen=True)
class AccuracyProbe:
    """Accuracy and mean loss on fixed examples.

    Args:
        examples: inputs (n, *shape), labels (n,).
        apply: ``(params, inputs) -> logits`` on a batch, as for prediction.
        batch_size: examples judged at a time.
    """

    examples: Examples
    apply: Apply
    batch_size: int = 250

    def __call__(self, state: Any, key: RandomKey, /) -> dict[str, Array]:
        """``accuracy`` in [0, 1] and ``loss`` in nats."""
        correct, loss = judge(self.apply, state.params, self.examples, self.batch_size)
        return {"accuracy": jnp.mean(correct.astype(jnp.float32)), "loss": loss}


@functools.partial(jax.tree_util.register_dataclass, data_fields=["noisy"], meta_fields=["apply", "batch_size"])
@dataclass(frozen=True)
class NoisyAccuracyProbe:
    """Accuracy on a lane's own training set, in all and on its real and its noise examples.

    Args:
        noisy: see `mlrisk.data.noisy_examples`.
        apply: ``(params, inputs) -> logits`` on a batch, as for prediction: regularisers are off.
        batch_size: examples judged at a time.
    """

    noisy: NoisyExamples
    apply: Apply
    batch_size: int = 250

    def __call__(self, state: Any, key: RandomKey, hyper: Any, /) -> dict[str, Array]:
        """``accuracy`` and ``loss``; ``real_accuracy`` and ``noise_accuracy``, NaN where there are no such examples."""
        by_input, by_label = self.noisy.replaced(hyper)
        noise = by_input | by_label
        correct, loss = judge(self.apply, state.params, self.noisy.at(hyper), self.batch_size)
        parts = {"accuracy": jnp.ones_like(noise), "real_accuracy": ~noise, "noise_accuracy": noise}
        return {name: jnp.mean(correct.astype(jnp.float32), where=part) for name, part in parts.items()} | {
            "loss": loss
        }
