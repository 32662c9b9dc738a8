"""Networks block by block: the same values and gradients as at once, with less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.harness.blocks import in_blocks

ROWS = (jax.random.normal(jax.random.key(0), (10, 4)), jnp.arange(10.0))
WEIGHTS = jax.random.normal(jax.random.key(1), (4, 3))


def network(weights, rows):
    inputs, scales = rows
    return {"outputs": jnp.tanh(inputs @ weights) * scales[:, None], "sums": inputs.sum(1)}


@pytest.mark.parametrize("size", [1, 3, 4, 10, 50])
@pytest.mark.parametrize("keep_products", [False, True])
def test_blocks_change_nothing(size, keep_products):
    def blocked(weights):
        return in_blocks(lambda rows: network(weights, rows), ROWS, size, keep_products=keep_products)

    whole = network(WEIGHTS, ROWS)
    found = jax.jit(blocked)(WEIGHTS)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, whole)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, whole)
    gradient = jax.grad(lambda w: (network(w, ROWS)["outputs"] ** 2).sum())(WEIGHTS)
    again = jax.grad(lambda w: (blocked(w)["outputs"] ** 2).sum())(WEIGHTS)
    np.testing.assert_allclose(again, gradient, rtol=1e-4, atol=1e-5)


def test_kept_products_take_less_memory_than_everything():
    rows = jnp.ones((4096, 64))
    weights = jnp.ones((64, 64))

    def need(keep_products):
        def loss(w):
            def apply(x):
                hidden = jnp.tanh(jnp.sin(x) @ w)
                return jnp.exp(jnp.sin(jnp.tanh(hidden))) @ w

            return in_blocks(apply, rows, 256, keep_products=keep_products).sum()

        return jax.jit(jax.grad(loss)).lower(weights).compile().memory_analysis().temp_size_in_bytes

    assert need(True) < 0.75 * need(False)


def test_no_rows_and_no_block_are_refused():
    with pytest.raises(BadInput, match="block_size: 0 for 10 rows; both must be at least 1"):
        in_blocks(lambda rows: rows, ROWS[1], 0)
    with pytest.raises(BadInput, match="block_size: 4 for 0 rows"):
        in_blocks(lambda rows: rows, ROWS[1][:0], 4)
