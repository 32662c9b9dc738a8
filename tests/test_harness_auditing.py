"""What an audit asks of networks: in batches as at once, each lane by itself, and of the very training that was run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk import prng
from mlrisk.data import EpochSampler, epoch_order
from mlrisk.harness import make_train
from mlrisk.harness.auditing import ExampleProbe, critical_examples, training_sensitivity
from mlrisk.harness.blocks import in_blocks
from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer
from mlrisk.measures import SGD, lass, loss_sensitivity
from mlrisk.models import mlp
from mlrisk.objectives import classification, cross_entropy
from mlrisk.types import Examples

KEY = jax.random.key(0)
EXAMPLES = Examples(jax.random.normal(KEY, (12, 3)), jnp.arange(12) % 2)
MODEL = mlp((3,), (4,), 2)
PARAMS = jax.vmap(MODEL.init)(prng.lane_keys(KEY, 2))
OPTIMIZER = OptimizerConfig(learning_rate=0.3)


@pytest.mark.parametrize("batch_size", [1, 5, 12, 50])
def test_batches_change_nothing(batch_size):
    found = jax.jit(
        lambda examples: in_blocks(lambda b: b.inputs.sum(1) * b.labels.astype(jnp.float32), examples, batch_size)
    )(EXAMPLES)
    np.testing.assert_allclose(found, EXAMPLES.inputs.sum(1) * EXAMPLES.labels.astype(jnp.float32), rtol=1e-5)


def test_the_probe_says_what_the_model_says():
    train = make_train(MODEL, classification(MODEL), make_optimizer(OPTIMIZER), EpochSampler(EXAMPLES, 4),
                       {"examples": ExampleProbe(EXAMPLES, MODEL.apply, batch_size=5)}, num_steps=3)  # fmt: skip
    fit = jax.jit(lambda key: train(key))(KEY)
    logits = MODEL.apply(fit.state.params, EXAMPLES.inputs)
    np.testing.assert_array_equal(fit.history["examples/predicted"][0], jnp.argmax(logits, -1))
    np.testing.assert_allclose(fit.history["examples/loss"][0], cross_entropy(logits, EXAMPLES.labels), rtol=1e-5)
    assert (fit.history["examples/curvature"] >= 0).all()


def test_each_lane_and_radius_is_searched_by_itself():
    radii = (0.1, 2.0)
    found = critical_examples(MODEL.apply, PARAMS, EXAMPLES, KEY, radii, batch_size=12)

    @jax.jit
    def alone(params, radius):
        return lass(functools.partial(MODEL.apply, params), EXAMPLES.inputs, KEY, radius=radius, num_steps=10).found

    for lane in range(2):
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], PARAMS)
        for i, radius in enumerate(radii):
            np.testing.assert_array_equal(found[lane, i], alone(own, jnp.float32(radius)))
    assert (found[:, 1] | ~found[:, 0]).all()
    assert found[:, 1].sum() > found[:, 0].sum()


@pytest.mark.slow
def test_the_sensitivity_is_of_the_training_that_was_run():
    sampler, keys = EpochSampler(EXAMPLES, 4), prng.lane_keys(KEY, 2)
    found = training_sensitivity(MODEL, OPTIMIZER, sampler, keys, epochs=2, targets=2)
    train = make_train(MODEL, classification(MODEL), make_optimizer(OPTIMIZER), sampler, num_steps=6)
    data = prng.stream(keys[1], "data")
    order = epoch_order(data, 12, 4, 6)
    start = MODEL.init(prng.stream(keys[1], "init"))
    again = jax.jit(lambda start, order: loss_sensitivity(MODEL.apply, start, EXAMPLES, SGD(order, 0.3), (3, 6)))(
        start, order
    )
    trained = jax.jit(lambda key: train(key))(keys[1]).state.params
    for one, other in zip(jax.tree.leaves(again.params), jax.tree.leaves(trained), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1], again.mean, rtol=1e-4)


@pytest.mark.parametrize("other", [OptimizerConfig(name="adam"), OptimizerConfig(clip_norm=1.0)])
def test_other_optimisers_have_no_sensitivity(other):
    keys = prng.lane_keys(KEY, 1)
    assert training_sensitivity(MODEL, other, EpochSampler(EXAMPLES, 4), keys, epochs=1, targets=1) is None
