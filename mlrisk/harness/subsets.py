"""Memorization scores: many small models, each trained on its own random part of the examples."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Int

from mlrisk import prng
from mlrisk.data.sampling import epoch_rows, permuted_index, require_batch
from mlrisk.errors import BadInput
from mlrisk.harness.loop import make_train
from mlrisk.harness.sweep import sweep
from mlrisk.measures.memorization import Memorization, memorization_score
from mlrisk.objectives.classification import classification
from mlrisk.types import Examples, Model, Params, RandomKey

Apply = Callable[[Params, Array], Array]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["examples"], meta_fields=["size", "batch_size"])
@dataclass(frozen=True)
class SubsetSampler:
    """Batches without replacement from a random part of the examples, another part for each key.

    Args:
        examples: inputs (n, *shape), labels (n,).
        size: how many examples the part has, from ``batch_size`` to n (static).
        batch_size: examples per step (static).

    Raises:
        BadInput: the size or the batch size is out of range.
    """

    examples: Examples
    size: int
    batch_size: int

    def __post_init__(self) -> None:
        require_batch(self.examples, self.batch_size, at_most=True)
        count = getattr(getattr(self.examples, "labels", None), "shape", (self.size,))[0]
        if not self.batch_size <= self.size <= count:
            raise BadInput(
                f"size: {self.size} is not from {self.batch_size} (the batch size) to {count} (all examples)"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the part."""
        return self.size // self.batch_size

    def __call__(self, key: RandomKey, step: Int[Array, ""] | int) -> Examples:
        """The batch of one step; see `EpochSampler.__call__`."""
        part_key, order_key = prng.streams(key, "part", "order")
        places = epoch_rows(order_key, step, self.size, self.batch_size)
        rows = permuted_index(part_key, places, self.examples.labels.shape[0])
        return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), self.examples)

    def member(self, key: RandomKey) -> Bool[Array, " n"]:
        """Which examples are in the part that a key stands for."""
        count = self.examples.labels.shape[0]
        rows = permuted_index(prng.stream(key, "part"), jnp.arange(self.size), count)
        return jnp.zeros(count, bool).at[rows].set(True)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["sampler"], meta_fields=["apply"])
@dataclass(frozen=True)
class SubsetProbe:
    """What a lane's model predicts for each example, and which examples it was trained with."""

    sampler: SubsetSampler
    apply: Apply

    def __call__(self, state: Any, key: RandomKey, /) -> dict[str, Array]:
        """``member``, bool (n,), and ``predicted``, the classes (n,)."""
        member = self.sampler.member(prng.stream(state.key, "data"))
        logits = self.apply(state.params, self.sampler.examples.inputs)
        return {"member": member, "predicted": jnp.argmax(logits, axis=-1)}


class SubsetModels(NamedTuple):
    """Which examples each model was trained with, and the class that it gives to each of all."""

    member: Bool[np.ndarray, "models n"]
    predicted: Int[np.ndarray, "models n"]


def train_on_subsets(
    model: Model,
    optimizer: optax.GradientTransformation,
    examples: Examples,
    key: RandomKey,
    *,
    models: int,
    epochs: int,
    batch_size: int,
    share: float = 0.7,
    lanes: int | Literal["auto", "wide"] = "auto",
    run_dir: str | Path | None = None,
) -> SubsetModels:
    """Train models from different seeds, each on its own random share of the examples, by cross-entropy.

    Args:
        model: any init and apply pair.
        optimizer: an optax transformation.
        examples: inputs (n, *shape), labels (n,).
        key: typed key; the models are its lanes.
        models: how many; each is one lane of a `sweep`.
        epochs: passes over its part that each model makes.
        batch_size: examples in a step.
        share: of the examples in each part, above 0 and below 1; ``round(share n)`` of them.
        lanes: see `sweep`.
        run_dir: see `sweep`.

    Raises:
        BadInput: fewer than 2 models, a share out of range, or a part smaller than a batch.
    """
    if models < 2 or epochs < 1:
        raise BadInput(f"models: {models} models of {epochs} epochs are not allowed, at least 2 of 1 are needed")
    if not 0 < share < 1:
        raise BadInput(f"share: {share} is not above 0 and below 1")
    sampler = SubsetSampler(examples, round(share * examples.labels.shape[0]), batch_size)
    probes = {"subset": SubsetProbe(sampler, model.apply)}
    steps = epochs * sampler.steps_per_epoch
    train = make_train(model, classification(model), optimizer, sampler, probes, num_steps=steps, keep_state=False)
    found = sweep(train, prng.lane_keys(key, models), lanes=lanes, run_dir=run_dir).history
    return SubsetModels(found["subset/member"][:, 0], found["subset/predicted"][:, 0])


def memorization_scores(
    model: Model,
    optimizer: optax.GradientTransformation,
    examples: Examples,
    key: RandomKey,
    **options: Any,
) -> Memorization:
    """The memorization score of every example, from models trained on random subsets.

    Args:
        model: see `train_on_subsets`.
        optimizer: see `train_on_subsets`.
        examples: see `train_on_subsets`.
        key: see `train_on_subsets`.
        options: the others of `train_on_subsets`: models, epochs, batch_size, share, lanes, run_dir.

    Returns:
        See `mlrisk.measures.memorization_score`.

    Source: Feldman and Zhang 2020, section 2: subsets of 70 % of the examples.
    """
    found = train_on_subsets(model, optimizer, examples, key, **options)
    correct = found.predicted == np.asarray(examples.labels)
    return memorization_score(correct, found.member)
