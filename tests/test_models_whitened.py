"""Whitening: moments as promised, and a density that still integrates over the data's own units."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.bijectors import Flow, masked_autoregressive_flow
from mlrisk.errors import BadInput
from mlrisk.models.whitened import fit_whitening, gaussian_log_density, whitened
from mlrisk.objectives.density import log_density

ROWS = np.random.default_rng(0).normal(size=(500, 3)) @ np.asarray([[2.0, 0, 0], [1, 0.01, 0], [3, 1, 5]]) + 7


@pytest.mark.parametrize("kind", ["scale", "cholesky"])
def test_whitened_rows_have_the_promised_moments(kind):
    found = fit_whitening(ROWS, kind)
    z = (ROWS - found.mean) @ found.matrix.T
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    covariance = np.cov(z.T)
    np.testing.assert_allclose(covariance if kind == "cholesky" else np.diag(covariance), np.eye(3) if kind == "cholesky" else 1, atol=1e-9)  # fmt: skip
    assert np.array_equal(found.matrix, np.tril(found.matrix))


def test_an_identity_flow_behind_a_whitening_is_the_fitted_gaussian():
    def init(key):
        return ()

    flow = whitened(Flow(init, lambda params, context=None: distrax.Block(distrax.Shift(jnp.zeros(3)), 1)), fit_whitening(ROWS, "cholesky"))  # fmt: skip
    base = distrax.Independent(distrax.Normal(jnp.zeros(3), jnp.ones(3)), 1)
    covariance = np.cov(ROWS.T)
    gap = ROWS - ROWS.mean(axis=0)
    expected = -0.5 * np.einsum("ni,ij,nj->n", gap, np.linalg.inv(covariance), gap)
    expected -= 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    with jax.numpy_rank_promotion("allow"):
        found = log_density(flow, base, (), jnp.asarray(ROWS, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-2)
    np.testing.assert_allclose(gaussian_log_density(fit_whitening(ROWS, "cholesky"), ROWS), expected, rtol=1e-9)


def test_noise_goes_to_data_and_back():
    flow = whitened(masked_autoregressive_flow(3, num_layers=1, hidden_sizes=(8,)), fit_whitening(ROWS))
    params = flow.init(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (6, 3))
    with jax.numpy_rank_promotion("allow"):
        x, log_det = jax.jit(lambda z: flow.bijector(params).forward_and_log_det(z))(z)
        back, inverse_log_det = jax.jit(lambda x: flow.bijector(params).inverse_and_log_det(x))(x)
    np.testing.assert_allclose(back, z, atol=1e-4)
    np.testing.assert_allclose(log_det, -inverse_log_det, atol=1e-4)


def test_degenerate_rows_are_refused():
    with pytest.raises(BadInput, match="rows: a column is constant"):
        fit_whitening(np.ones((9, 2)))
