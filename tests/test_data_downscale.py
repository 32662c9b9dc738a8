"""Smaller pictures, and the crossed noise conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data import CONDITIONS, CROSSED, crossed_conditions, downscale, noise_conditions
from mlrisk.errors import BadInput
from mlrisk.types import Examples


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_each_pixel_is_the_mean_of_its_block(factor):
    inputs = jax.random.uniform(jax.random.key(0), (2, 6, 12, 3))
    found = downscale(Examples(inputs, jnp.arange(2)), factor)
    assert found.inputs.shape == (2, 6 // factor, 12 // factor, 3)
    for row, column in ((0, 0), (1, 3)):
        block = inputs[:, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        np.testing.assert_allclose(found.inputs[:, row, column], block.mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(found.labels, [0, 1])


def test_a_factor_that_does_not_divide_and_inputs_that_are_no_pictures_are_refused():
    with pytest.raises(BadInput, match="factor: 3 is not a divisor of the pictures' sides, 8 and 6"):
        downscale(Examples(jnp.ones((1, 8, 6, 1)), jnp.zeros(1, jnp.int32)), 3)
    with pytest.raises(BadInput, match="factor: 0 is not"):
        downscale(Examples(jnp.ones((1, 8, 6, 1)), jnp.zeros(1, jnp.int32)), 0)
    with pytest.raises(BadInput, match=r"inputs: shape \(1, 8\) is not"):
        downscale(Examples(jnp.ones((1, 8)), jnp.zeros(1, jnp.int32)), 2)


def test_crossed_conditions_add_random_inputs_with_random_labels():
    real = Examples(jax.random.normal(jax.random.key(0), (50, 4)), jnp.arange(50) % 5)
    three, four = (make(jax.random.key(1), real, 5) for make in (noise_conditions, crossed_conditions))
    assert (*CONDITIONS, "randXY") == CROSSED
    np.testing.assert_array_equal(four.inputs[:3], three.inputs)
    np.testing.assert_array_equal(four.labels[:3], three.labels)
    np.testing.assert_array_equal(four.inputs[3], three.inputs[1])
    np.testing.assert_array_equal(four.labels[3], three.labels[2])
