"""Risks from moments: those of the examples themselves, their slopes, and the two published losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.errors import BadInput
from mlrisk.objectives import v_rex
from mlrisk.objectives.linear_risks import (
    corrected_risks,
    domain_moments,
    irm_loss,
    linear_risks,
    representation_slopes,
    rex_loss,
)

COUNT, SIZE = 40, 4
SEEDS = st.integers(0, 2**16)


def tables(seed):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(0.3, 1, (2, COUNT, SIZE)).astype(np.float32)
    return inputs, (inputs.sum(2) + rng.normal(0, 1, (2, COUNT))).astype(np.float32), rng


@jax.jit
def found(inputs, targets, weights, signs):
    moments = domain_moments(inputs, targets)
    return linear_risks(moments, weights), corrected_risks(moments, weights, signs[0], signs[1], COUNT)


@given(SEEDS, st.sampled_from([(0.0, 0.0), (-1.0, -1.0), (-1.0, 1.0)]))
def test_risks_are_those_of_the_examples(seed, signs):
    inputs, targets, rng = tables(seed)
    weights = rng.normal(0, 1, SIZE).astype(np.float32)
    risks, corrected = found(inputs, targets, weights, jnp.asarray(signs))
    predicted = inputs @ weights
    expected = np.square(predicted - targets).mean(1)
    np.testing.assert_allclose(risks, expected, rtol=1e-3, atol=1e-4)
    expected += signs[0] * targets.var(1, ddof=1) + signs[1] * predicted.var(1, ddof=1)
    np.testing.assert_allclose(corrected, expected, rtol=1e-3, atol=1e-3)


@jax.jit
def slopes(inputs, targets, representation):
    moments = domain_moments(inputs, targets)
    by_hand = jax.jacobian(lambda classifier: linear_risks(moments, representation @ classifier))
    return representation_slopes(moments, representation), by_hand(jnp.ones(SIZE))


@given(SEEDS)
def test_slopes_are_the_derivatives_in_the_classifier(seed):
    inputs, targets, rng = tables(seed)
    closed, derived = slopes(inputs, targets, rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32))
    np.testing.assert_allclose(closed, derived, rtol=1e-3, atol=1e-3)


def test_losses_are_shares_of_risk_and_penalty():
    inputs, targets, _ = tables(0)
    moments, eye = domain_moments(jnp.asarray(inputs), jnp.asarray(targets)), jnp.eye(SIZE)
    risks = linear_risks(moments, jnp.ones(SIZE))
    np.testing.assert_allclose(rex_loss(risks, jnp.float32(1)), risks.sum(), rtol=1e-6)
    np.testing.assert_allclose(2 * rex_loss(risks, jnp.float32(0.5)), v_rex(risks, 4.0), rtol=1e-5)
    np.testing.assert_allclose(irm_loss(moments, eye, jnp.float32(1)), risks.sum(), rtol=1e-6)
    each = representation_slopes(moments, eye)
    np.testing.assert_allclose(irm_loss(moments, eye, jnp.float32(0)), (each**2).sum() / SIZE, rtol=1e-5)


def test_the_variance_corrected_risk_is_linear_where_means_are_zero():
    inputs, targets, _ = tables(1)
    inputs, targets = inputs - inputs.mean(1, keepdims=True), targets - targets.mean(1, keepdims=True)
    moments = domain_moments(jnp.asarray(inputs), jnp.asarray(targets))
    # a large count leaves no difference between the two variances
    one, two = (corrected_risks(moments, size * jnp.ones(SIZE), -1.0, -1.0, 10**8) for size in (1, 2))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-3)
    np.testing.assert_allclose(one, -2 * moments.cross.sum(1), rtol=1e-3)


def test_rows_that_do_not_belong_together_are_refused(as_a_user):
    with pytest.raises(BadInput, match=r"shapes \(2, 3, 4\) and \(2, 4\) are not"):
        domain_moments(jnp.ones((2, 3, 4)), jnp.ones((2, 4)))
    with pytest.raises(BadInput, match=r"shapes \(2, 0, 4\) and \(2, 0\) are not"):
        domain_moments(jnp.ones((2, 0, 4)), jnp.ones((2, 0)))
