"""Domains over a few inputs: the heteroskedastic example to the published decimals, and affine mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.objectives import erm, v_rex
from mlrisk.theory.discrete_domains import (
    HETEROSKEDASTIC,
    DiscreteDomains,
    affine_mixture,
    expected_risks,
    hybrid_risks,
    scale_slopes,
    six_dimensional_example,
)

DOMAINS = HETEROSKEDASTIC
LOSSES = {
    "ERM": lambda z, w: erm(expected_risks(z, DOMAINS)),
    "REx": lambda z, w: v_rex(expected_risks(z, DOMAINS), w * w, 1) / w,
    "IRM, summed": lambda z, w: (
        erm(expected_risks(z, DOMAINS)) + jnp.minimum(w, 100) * jnp.mean(scale_slopes(z, DOMAINS).sum(0) ** 2)
    ),
    "IRM": lambda z, w: (
        erm(expected_risks(z, DOMAINS)) + jnp.minimum(w, 100) * jnp.mean(scale_slopes(z, DOMAINS) ** 2, 1).sum()
    ),
    "REx-HD": lambda z, w: (
        10 * hybrid_risks(z, DOMAINS).sum() / w + w * jnp.var(hybrid_risks(z, DOMAINS), axis=1, ddof=1).sum()
    ),
}
PREDICTED = {
    "ERM": (0.5000, 0.7500, 0.1334),
    "REx": (0.5000, 0.5002, 0.4995),
    "IRM, summed": (0.5000, 0.7500, 0.4929),
    "IRM": (0.5000, 0.7500, 0.1431),
    "REx-HD": (0.5000, 0.7465, 0.4967),
}


@pytest.mark.parametrize("name", LOSSES)
def test_predictions_after_500_steps(name):
    def step(z, w):
        return z - 0.1 * jax.grad(LOSSES[name])(z, w), None

    z, _ = jax.lax.scan(step, jnp.zeros(3), jnp.arange(1, 501, dtype=jnp.float32))
    np.testing.assert_allclose(jax.nn.sigmoid(z), PREDICTED[name], atol=6e-4)
    if name == "REx":
        np.testing.assert_allclose(expected_risks(z, DOMAINS), 0.6927, atol=6e-4)


def test_hybrid_risks_have_the_risks_on_their_diagonal_and_slopes_are_derivatives():
    z = jnp.asarray([0.3, -1.0, 2.0])
    np.testing.assert_allclose(jnp.diag(hybrid_risks(z, DOMAINS)), expected_risks(z, DOMAINS), rtol=1e-6)
    slopes = jax.jacrev(lambda scale: expected_risks(scale * z, DOMAINS))(jnp.ones(3))
    np.testing.assert_allclose(scale_slopes(z, DOMAINS), slopes, rtol=1e-5, atol=1e-7)


def test_the_six_dimensional_example():
    cells = jnp.asarray([0.05, 0.1, 0.2, 0.25, 0.1, 0.3])
    found = np.asarray(six_dimensional_example(cells, 0.04), np.float64)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    base, labels, inputs = found.reshape(3, 3, 2)
    given_x = [rows[:, 1] / rows.sum(1) for rows in (base, labels, inputs)]
    np.testing.assert_allclose(given_x[2], given_x[0], rtol=1e-5)
    np.testing.assert_allclose(given_x[1][:2], given_x[0][:2], rtol=1e-5)
    assert given_x[1][2] > given_x[0][2] + 0.05
    np.testing.assert_allclose(labels.sum(1), base.sum(1), rtol=1e-5)
    weights = jnp.asarray([4.0, 3.0, -6.0])
    mixed = affine_mixture(weights, jnp.asarray(found, jnp.float32))
    losses = jnp.asarray([0.3, 1.0, 0.2, 0.6, 1.4, 0.1])
    risks = jnp.asarray(found, jnp.float32) @ losses
    np.testing.assert_allclose(mixed @ losses, weights @ risks, rtol=1e-5)
    assert (mixed < 0).any()  # a quasi-distribution
    assert np.linalg.matrix_rank(found[1:] - found[0]) == 2


WRONG = {
    "inputs: rows sum to": lambda: expected_risks(jnp.zeros(3), DOMAINS._replace(inputs=DOMAINS.inputs / 2)),
    "targets: some are outside [0, 1]": lambda: hybrid_risks(jnp.zeros(3), DOMAINS._replace(targets=-DOMAINS.targets)),
    "inputs, targets: shapes (1, 3) and (1, 3)": lambda: expected_risks(
        jnp.zeros(3), DiscreteDomains(DOMAINS.inputs[:1], DOMAINS.targets[:1])
    ),
    "weights: they sum to 2, not to 1": lambda: affine_mixture(jnp.ones(2), jnp.ones((2, 6))),
    "shift: 0.5 is not in [-0.3, 0.1]": lambda: six_dimensional_example(
        jnp.asarray([0.05, 0.1, 0.2, 0.25, 0.1, 0.3]), 0.5
    ),
    "cells: P(x = 0) = 0.5 is above": lambda: six_dimensional_example(jnp.asarray([0.2, 0.3, 0.1, 0.1, 0.1, 0.2]), 0.0),
}


@pytest.mark.parametrize("line", WRONG)
def test_bad_input_is_one_line(line, as_a_user):
    with pytest.raises(BadInput) as caught:
        WRONG[line]()
    assert str(caught.value).startswith(line)
