"""Optimisers by name: their learning-rate schedules, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.harness.optimizers import OptimizerConfig, make_optimizer


def updates(count, config, **schedule):
    """What each step adds to a parameter whose gradient is always 1."""
    optimizer = make_optimizer(config, **schedule)
    one, found = jnp.ones(()), []
    state = optimizer.init(one)
    for _ in range(count):
        update, state = optimizer.update(one, state, one)
        found.append(float(update))
    return found


def test_the_learning_rate_is_halved_after_each_period():
    found = updates(7, OptimizerConfig("sgd", 0.4), halving_steps=3)
    np.testing.assert_allclose(found, [-0.4] * 3 + [-0.2] * 3 + [-0.1], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_halving_scales_the_step_and_leaves_the_momentum_alone(name):
    config = OptimizerConfig(name, 0.1, momentum=0.9)
    with jax.numpy_dtype_promotion("standard"):
        plain, halved = updates(6, config), updates(6, config, halving_steps=2)
    np.testing.assert_allclose(halved, np.asarray(plain) * 0.5 ** (np.arange(6) // 2), rtol=1e-6)
