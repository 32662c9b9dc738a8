"""Penalties that switch on: weights by step, rescaled losses, optimisers that start afresh."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlrisk.objectives import rescaled, reset_at, stepped_weight


def test_the_weight_changes_once_and_from_the_step_named():
    found = [float(stepped_weight(step, 3, 50.0)) for step in range(6)]
    assert found == [1, 1, 1, 50, 50, 50]
    assert float(stepped_weight(0, 0, 50.0)) == 50
    lanes = jax.vmap(lambda switch: stepped_weight(jnp.int32(4), switch, 9.0, before=0.0))(jnp.asarray([2, 4, 5]))
    np.testing.assert_array_equal(lanes, [9, 9, 0])


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 6.0), (1.0, 6.0), (3.0, 2.0)])
def test_losses_are_divided_by_weights_above_one(weight, expected):
    assert float(rescaled(jnp.float32(6), weight)) == expected


def path(optimizer, steps=8):
    def step(carry, count):
        params, state = carry
        grads = {"w": jnp.cos(params["w"]) * (1 + count)}
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params["w"]

    start = {"w": jnp.asarray([0.3, -1.0])}
    return jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(steps, dtype=jnp.float32))[1]


@pytest.mark.parametrize("inner", [optax.adam(0.1), optax.adamw(0.1), optax.sgd(0.1, momentum=0.9)])
@jax.numpy_dtype_promotion("standard")  # optax counts in int32
def test_a_reset_optimiser_goes_on_as_a_new_one(inner):
    params, state = {"w": jnp.asarray([0.3, -1.0])}, None
    expected = []
    for count in range(8):
        state = inner.init(params) if count in (0, 5) else state
        updates, state = inner.update({"w": jnp.cos(params["w"]) * (1 + count)}, state, params)
        params = optax.apply_updates(params, updates)
        expected.append(params["w"])
    np.testing.assert_allclose(path(reset_at(inner, 5)), jnp.stack(expected), rtol=1e-5)
    np.testing.assert_allclose(path(reset_at(inner, -1)), path(inner), rtol=1e-6)
    lanes = jax.vmap(lambda switch: path(reset_at(inner, switch)))(jnp.asarray([-1, 5]))
    np.testing.assert_allclose(lanes[1], jnp.stack(expected), rtol=1e-5)
