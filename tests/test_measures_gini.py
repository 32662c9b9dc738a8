"""The Gini coefficient: closed forms, invariances, its definition by pairs, and wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.errors import BadInput
from mlrisk.measures import gini

shares = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=20).map(lambda v: np.asarray(v, np.float32))


@given(values=shares)
def test_gini_is_half_the_mean_difference_of_pairs_over_the_mean(values):
    total = values.astype(np.float64).sum()
    pairs = np.abs(values[:, None].astype(np.float64) - values[None, :]).sum()
    expected = pairs / (2 * len(values) * total) if total > 0 else 0.0
    np.testing.assert_allclose(gini(values), expected, atol=2e-6)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_equal_values_give_0_and_one_owner_gives_all_but_1_in_n(n):
    np.testing.assert_allclose(gini(np.full(n, 3.0, np.float32)), 0, atol=1e-7)
    np.testing.assert_allclose(gini(np.eye(n, dtype=np.float32)[0]), (n - 1) / n, rtol=1e-6)
    assert float(gini(np.zeros(n, np.float32))) == 0.0


def test_gini_of_1_to_n_and_of_exponential_values():
    n = 50
    np.testing.assert_allclose(gini(np.arange(1, n + 1, dtype=np.float32)), (n - 1) / (3 * n), rtol=1e-5)
    drawn = jax.random.exponential(jax.random.key(0), (20_000,))
    np.testing.assert_allclose(gini(drawn), 0.5, atol=0.01)


@given(values=shares, scale=st.sampled_from([1e-20, 0.5, 7.0, 1e30]), seed=st.integers(0, 5))
def test_neither_unit_nor_order_matters(values, scale, seed):
    moved = np.random.default_rng(seed).permutation(values) * np.float32(scale)
    if (moved[values.argsort()] > 0).sum() == (values > 0).sum():
        np.testing.assert_allclose(gini(moved), gini(values), atol=3e-6)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_axis_jit_and_vmap_agree_with_a_loop(axis):
    values = jax.random.exponential(jax.random.key(1), (4, 5))
    each = [gini(row) for row in np.moveaxis(np.asarray(values), axis, -1)]
    np.testing.assert_allclose(gini(values, axis), each, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda v: gini(v, axis))(values), each, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(gini)(jnp.moveaxis(values, axis, -1)), each, rtol=1e-6)


def test_a_value_that_is_not_finite_gives_nan():
    assert np.isnan(gini(np.asarray([1.0, np.nan, 2.0], np.float32)))
    assert np.isnan(gini(np.asarray([1.0, np.inf, 2.0], np.float32)))


@pytest.mark.parametrize(
    ("values", "axis", "line"),
    [
        (np.asarray([1.0, -1.0, -2.0]), 0, "values: 2 of 3 are negative; shares are of values from 0 up"),
        (np.ones(3), 1, r"axis: 1 is not an axis of values of shape \(3,\)"),
        (np.ones((3, 0)), -1, r"values: shape \(3, 0\) has nothing along axis -1"),
        (np.float32(1), -1, r"axis: -1 is not an axis of values of shape \(\)"),
    ],
)
def test_wrong_arguments_get_one_line(values, axis, line, as_a_user):
    with pytest.raises(BadInput, match=line):
        gini(values, axis)
