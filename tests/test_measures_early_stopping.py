"""Early stopping against curves whose best is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.errors import BadInput
from mlrisk.measures import early_stopping, value_at


def test_the_first_best_its_time_and_what_it_gains():
    curves = jnp.asarray([[0.2, 0.9, 0.9, 0.6], [0.1, 0.2, 0.3, 0.4]])
    found = early_stopping(curves, jnp.asarray([1, 3, 5, 7]))
    np.testing.assert_allclose(found.best, [0.9, 0.4])
    np.testing.assert_allclose(found.gain, [0.3, 0.0], atol=1e-6)
    np.testing.assert_array_equal(found.time, [3, 7])
    np.testing.assert_allclose(value_at(jnp.asarray([[1.0, 2.0, 3.0, 4.0]] * 2), curves), [2.0, 4.0])


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8))
def test_the_gain_is_never_negative_and_jit_equals_eager(values):
    curve, times = jnp.asarray(values, jnp.float32), jnp.arange(len(values)) + 1
    found = early_stopping(curve, times)
    assert float(found.gain) >= 0
    assert float(found.final) == pytest.approx(values[-1])
    assert float(value_at(curve, curve)) == float(found.best)
    if len(values) == 3:
        jax.tree.map(np.testing.assert_array_equal, found, jax.jit(early_stopping)(curve, times))


def test_a_diverged_curve_has_no_best():
    found = early_stopping(jnp.asarray([0.5, jnp.nan, 0.4]), jnp.arange(3))
    assert np.isnan(found.best)
    assert np.isnan(found.time)


def test_curves_that_do_not_fit_are_refused():
    with pytest.raises(BadInput, match=r"times: shape \(2,\) is not one time for each block of curves \(3,\)"):
        early_stopping(jnp.ones(3), jnp.ones(2))
    with pytest.raises(BadInput, match=r"curve: shape \(2,\) is not that of its guide, \(3,\)"):
        value_at(jnp.ones(2), jnp.ones(3))
