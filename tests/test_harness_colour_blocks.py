"""Blocks of one colour: every picture once, none beside another colour, and the numbers of painted pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrisk.data.coloured import paint
from mlrisk.harness.colour_blocks import colour_blocks, coloured_logits, coloured_mlp

KEY = jax.random.key(0)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=40),
    st.integers(1, 50),
)
def test_every_picture_is_once_in_a_block_of_its_colour(colours, size):
    blocks = colour_blocks(jnp.asarray(colours), 4, size)
    rows, count = np.asarray(blocks.rows), len(colours)
    assert rows.shape == (-(-count // size) + 3, size)
    assert sorted(rows[rows < count]) == list(range(count))
    for own, colour in zip(rows, np.asarray(blocks.colours), strict=True):
        assert {colours[row] for row in own if row < count} <= {colour}
    assert rows.reshape(-1)[np.asarray(blocks.places)].tolist() == list(range(count))


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("keep_products", [False, True])
def test_logits_and_gradients_are_those_of_painted_pictures(channels, size, keep_products):
    model = coloured_mlp(5, 6, channels)
    params = model.painted.init(KEY)
    pictures = jax.random.uniform(KEY, (30, 6))
    colours = jax.random.randint(jax.random.key(1), (30,), 0, max(channels - 1, 1))  # the last colour has no picture
    weights = jnp.arange(30.0)

    def ours(params):
        found = coloured_logits(model, params, pictures, colours, size, keep_products=keep_products)
        return (weights * found).sum(), found

    def plain(params):
        inputs = pictures if channels == 1 else paint(pictures, colours, channels)
        found = model.painted.apply(params, inputs)[:, 0]
        return (weights * found).sum(), found

    (gradient, found), (other, expected) = (jax.jit(jax.grad(one, has_aux=True))(params) for one in (ours, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), gradient, other)


def test_lanes_with_other_colours_are_the_lanes_one_by_one():
    model = coloured_mlp(5, 6)
    params, pictures = model.painted.init(KEY), jax.random.uniform(KEY, (30, 6))
    colours = jax.random.randint(jax.random.key(2), (3, 30), 0, 2)
    together = jax.vmap(lambda own: coloured_logits(model, params, pictures, own, 7))(colours)
    for own, found in zip(colours, together, strict=True):
        np.testing.assert_allclose(found, coloured_logits(model, params, pictures, own, 7), rtol=1e-4, atol=1e-6)
