"""Objectives on vectors of risks: limits, closed forms against a linear programme, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from mlrisk import objectives
from mlrisk.errors import BadInput

RISKS = arrays(np.float32, st.integers(2, 6), elements=st.floats(0, 4, width=32))
OBJECTIVES = {
    "erm": objectives.erm,
    "erm mean": lambda r: objectives.erm(r, reduction="mean"),
    "erm sizes": lambda r: objectives.erm(r, sizes=1 + jnp.arange(r.shape[0], dtype=jnp.float32)),
    "group_dro": objectives.group_dro,
    "mm_rex": lambda r: objectives.mm_rex(r, -3.0),
    "v_rex": lambda r: objectives.v_rex(r, 5.0),
    "v_rex unbiased": lambda r: objectives.v_rex(r, 5.0, ddof=1, reduction="mean"),
    "eqrm": lambda r: objectives.eqrm(r, 0.8),
    "online": lambda r: objectives.online_group_dro(jnp.full(r.shape, 1 / r.shape[0]), r, 0.1).loss,
}


@given(RISKS, st.floats(-10, 0.16))
def test_mm_rex_is_the_linear_programme_over_the_weights(risks, least):
    count = len(risks)
    solved = linprog(-risks.astype(float), A_eq=np.ones((1, count)), b_eq=[1.0], bounds=[(least, None)] * count)
    np.testing.assert_allclose(objectives.mm_rex(jnp.asarray(risks), least), -solved.fun, rtol=2e-5, atol=2e-5)


@given(RISKS)
def test_limits(risks):
    risks = jnp.asarray(risks)
    count = risks.shape[0]
    assert objectives.mm_rex(risks, 0.0) == objectives.group_dro(risks) == risks.max()
    np.testing.assert_allclose(objectives.mm_rex(risks, 1 / count), risks.mean(), rtol=1e-5, atol=1e-6)
    assert objectives.v_rex(risks, 0.0) == objectives.erm(risks)
    assert objectives.v_rex(risks, 0.0, reduction="mean") == objectives.erm(risks, reduction="mean")
    np.testing.assert_allclose(objectives.erm(risks, sizes=jnp.full(count, 7.0)), objectives.erm(risks), rtol=1e-5)


@given(arrays(np.float32, 2, elements=st.floats(0, 4, width=32)), st.floats(0, 100))
def test_two_domains_are_the_squared_and_absolute_difference(risks, weight):
    total, apart = float(risks.sum()), float(abs(risks[0] - risks[1]))
    risks = jnp.asarray(risks)
    squared = total + weight * apart**2
    np.testing.assert_allclose(objectives.v_rex(risks, 4 * weight), squared, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(objectives.v_rex(risks, 2 * weight, ddof=1), squared, rtol=1e-4, atol=1e-4)
    absolute = 2 * objectives.mm_rex(risks, (1 - weight) / 2)
    np.testing.assert_allclose(absolute, total + weight * apart, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_jit_equals_eager_and_vmap_equals_loop(name):
    function = OBJECTIVES[name]
    batch = jax.random.uniform(jax.random.key(3), (5, 4))
    loop = jnp.stack([function(row) for row in batch])
    np.testing.assert_allclose(jax.vmap(function)(batch), loop, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(function)(batch[0]), loop[0], rtol=1e-5)


@pytest.mark.parametrize("name", sorted({*OBJECTIVES} - {"online"}))
def test_gradients_against_finite_differences(name):
    with jax.enable_x64(True):
        function = OBJECTIVES[name] if name != "erm sizes" else lambda r: objectives.erm(r, sizes=1 + jnp.arange(4.0))
        risks = jnp.asarray([0.3, 1.1, 0.7, 2.0])
        step = 1e-6
        rises = [(function(risks + step * e) - function(risks - step * e)) / (2 * step) for e in jnp.eye(4)]
        np.testing.assert_allclose(jax.grad(function)(risks), jnp.stack(rises), rtol=1e-6, atol=1e-8)


def test_v_rex_field_is_the_papers():
    first, second, weight = 0.9, 0.4, 3.0
    found = jax.grad(objectives.v_rex)(jnp.asarray([first, second]), 4 * weight)
    np.testing.assert_allclose(found, [1 + 2 * weight * (first - second), 1 - 2 * weight * (first - second)], rtol=1e-5)


def test_online_weights_follow_the_worst_domain_and_carry_no_gradient():
    risks, weights = jnp.asarray([0.1, 1.0, 0.5]), jnp.full(3, 1 / 3)
    for _ in range(200):
        loss, weights = objectives.online_group_dro(weights, risks, 0.5)
    np.testing.assert_allclose(loss, objectives.group_dro(risks), rtol=1e-5)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    moved = jax.grad(lambda r: objectives.online_group_dro(weights, r, 0.5).loss)(risks)
    np.testing.assert_allclose(moved, objectives.online_group_dro(weights, risks, 0.5).weights, rtol=1e-6)


def test_eqrm_is_the_quantile_of_its_density():
    risks = jnp.asarray([0.3, 1.1, 0.7, 2.0])
    width = 1.06 * 4**-0.2 * float(jnp.std(risks, ddof=1))
    draws = risks[:, None] + width * jax.random.normal(jax.random.key(0), (4, 100_000))
    for level in (0.1, 0.5, 0.95):
        np.testing.assert_allclose(objectives.eqrm(risks, level), jnp.quantile(draws, level), atol=0.02)
    equal = jnp.full(3, 0.5)
    np.testing.assert_allclose(objectives.eqrm(equal, 0.9), 0.5, atol=1e-5)
    assert jnp.isfinite(jax.grad(objectives.eqrm)(equal, 0.9)).all()


TWO = jnp.asarray([0.5, 1.0])
WRONG = {
    "lambda_min: 0.6 is not at most 1 / 2; the weights of 2 domains sum to 1": lambda: objectives.mm_rex(TWO, 0.6),
    "beta: -1.0 is not zero or more": lambda: objectives.v_rex(TWO, -1.0),
    "ddof: 2 is not 0 (population) or 1 (unbiased)": lambda: objectives.v_rex(TWO, 1.0, ddof=2),
    "risks: shape (1,) is not (m,) with m of at least 2, one risk for each domain": lambda: objectives.group_dro(
        TWO[:1]
    ),
    "risks: shape (0,) is not (m,) with m of at least 1, one risk for each domain": lambda: objectives.erm(TWO[:0]),
    "quantile: 1.0 is not in (0, 1)": lambda: objectives.eqrm(TWO, 1.0),
    "sizes: shape (1,) is not (2,), one for each domain": lambda: objectives.erm(TWO, sizes=TWO[:1]),
    "reduction: 'median' is not one of sum, mean": lambda: objectives.erm(TWO, reduction="median"),
}


@pytest.mark.parametrize("line", WRONG)
def test_bad_input_is_one_line(line, as_a_user):
    with pytest.raises(BadInput) as caught:
        WRONG[line]()
    assert str(caught.value).startswith(line)
