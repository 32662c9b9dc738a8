"""What an audit asks of trained networks, example by example: along training, near each input, and through training."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from mlrisk import prng
from mlrisk.data.orders import epoch_order
from mlrisk.data.sampling import EpochSampler
from mlrisk.harness.blocks import in_blocks
from mlrisk.harness.optimizers import OptimizerConfig
from mlrisk.measures.adversaries import lass
from mlrisk.measures.curvature import input_curvature
from mlrisk.measures.sensitivity import loss_sensitivity
from mlrisk.measures.trajectory import SGD
from mlrisk.objectives.classification import cross_entropy
from mlrisk.types import Examples, Model, Params, RandomKey

Apply = Callable[[Params, Array], Array]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["examples"],
    meta_fields=["apply", "directions", "batch_size"],
)
@dataclass(frozen=True)
class ExampleProbe:
    """What a lane's network says about each training example: its class, the loss, and the loss's curvature.

    Args:
        examples: inputs (n, *shape), labels (n,).
        apply: ``(params, inputs) -> logits`` on a batch, as for prediction.
        directions: of each curvature; few are enough, as looks and seeds are averaged.
        batch_size: examples judged at a time.
    """

    examples: Examples
    apply: Apply
    directions: int = 1
    batch_size: int = 1000

    def __call__(self, state: Any, key: RandomKey, /) -> dict[str, Array]:
        """``predicted`` classes, ``loss`` in nats and ``curvature``, each (n,)."""

        def judged(batch: Examples) -> dict[str, Array]:
            predict = functools.partial(self.apply, state.params)
            logits = predict(batch.inputs)
            return {
                "predicted": jnp.argmax(logits, axis=-1).astype(jnp.int16),
                "loss": cross_entropy(logits, batch.labels),
                "curvature": input_curvature(predict, *batch, key, directions=self.directions),
            }

        return in_blocks(judged, self.examples, self.batch_size)


def critical_examples(
    apply: Apply,
    params: Params,
    examples: Examples,
    key: RandomKey,
    radii: Sequence[float],
    *,
    num_steps: int = 10,
    batch_size: int = 1000,
) -> Bool[np.ndarray, "lanes radii n"]:
    """Near which examples each of several networks changes its class, by `mlrisk.measures.lass`, at each radius.

    Args:
        apply: ``(params, inputs) -> logits``, as for prediction.
        params: of the lanes, stacked.
        examples: inputs (n, *shape), labels (n,); labels play no part.
        key: typed key.
        radii: in the unit of the inputs, positive.
        num_steps: iterations at most.
        batch_size: examples searched at a time.
    """

    def search(own: Params, examples: Examples, radius: Array) -> Bool[Array, " n"]:
        predict = functools.partial(apply, own)
        options = {"radius": radius, "num_steps": num_steps}
        return in_blocks(lambda batch: lass(predict, batch.inputs, key, **options).found, examples, batch_size)

    @jax.jit
    def every(params: Params, examples: Examples, radii: Array) -> Bool[Array, "lanes radii n"]:
        return jax.lax.map(lambda own: jax.lax.map(lambda r: search(own, examples, r), radii), params)

    return np.asarray(every(params, examples, jnp.asarray(radii, jnp.float32)))


def training_sensitivity(
    model: Model,
    optimizer: OptimizerConfig,
    sampler: EpochSampler,
    keys: Key[Array, " lanes"],
    *,
    epochs: int,
    targets: int,
) -> Float[np.ndarray, "lanes n"] | None:
    """The loss-sensitivity of each training example in the very training of lanes, made again.

    Args:
        model: any init and apply pair.
        optimizer: of the lanes.
        sampler: of the lanes.
        keys: the lanes' keys, as given to `sweep`.
        epochs: how much of the training is differentiated.
        targets: at how many times, evenly spaced, the loss is asked for.

    Returns:
        See `mlrisk.measures.loss_sensitivity`, NaN for lanes that overflowed. None where it is not defined: for
        other optimisers than SGD without clipping, and models whose training differs from prediction.
    """
    if optimizer.name != "sgd" or optimizer.clip_norm is not None or model.apply_train is not None:
        return None
    steps = epochs * sampler.steps_per_epoch
    times = sorted({max(1, round(steps * (i + 1) / targets)) for i in range(targets)})

    def one(key: RandomKey, examples: Examples) -> Float[Array, " n"]:
        init, data = prng.stream(key, "init"), prng.stream(key, "data")
        count, batch = examples.labels.shape[0], sampler.batch_size
        sgd = SGD(epoch_order(data, count, batch, steps), optimizer.learning_rate, optimizer.momentum)
        segment = max(1, math.isqrt(steps))
        return loss_sensitivity(model.apply, model.init(init), examples, sgd, times, segment=segment).mean

    every = jax.jit(lambda keys, examples: jax.lax.map(lambda key: one(key, examples), keys))
    return np.asarray(every(keys, sampler.examples))
