"""Bounds over a data set: equal to the evidence with the exact posterior, whatever the batches."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures.bounds import data_elbo, data_log_likelihood
from mlrisk.objectives import standard_normal_log_density

INPUTS = jnp.asarray(np.random.default_rng(0).normal(size=(7, 2)), jnp.float32)
KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _distrax_broadcasts():
    with jax.numpy_rank_promotion("allow"):
        yield


def log_likelihood(latents, inputs):
    """``x|z ~ N(z, I)``, so that ``x ~ N(0, 2 I)`` and ``z|x ~ N(x / 2, I / 2)``."""
    return standard_normal_log_density(inputs - latents)


def posterior(inputs, shift=0.0):
    return distrax.Independent(distrax.Normal(inputs / 2 + shift, jnp.full_like(inputs, 0.5**0.5)), 1)


EVIDENCE = stats.norm(0, 2**0.5).logpdf(np.asarray(INPUTS)).sum(1)


@pytest.mark.parametrize("batch_size", [2, 7, 100])
def test_the_exact_posterior_gives_the_evidence_in_any_batches(batch_size):
    def both(inputs):
        terms = data_elbo(posterior, log_likelihood, inputs, KEY, num_samples=3, batch_size=batch_size)
        weighted = data_log_likelihood(
            posterior, log_likelihood, inputs, KEY, num_samples=5, batch_size=batch_size, chunk=2
        )
        return terms.elbo, weighted

    for found in jax.jit(both)(INPUTS):
        np.testing.assert_allclose(found, EVIDENCE, rtol=1e-5)


def test_another_posterior_loses_its_divergence_on_average():
    def wrong(inputs):
        return posterior(inputs, 0.5)

    terms = jax.jit(lambda x: data_elbo(wrong, log_likelihood, x, KEY, num_samples=20_000, batch_size=4))(INPUTS)
    np.testing.assert_allclose(terms.elbo, EVIDENCE - 2 * 0.5**2, atol=0.05)
    exact = 0.5 * (2 * 0.5 + jnp.square(INPUTS / 2 + 0.5).sum(1) - 2 + 2 * np.log(2))
    np.testing.assert_allclose(terms.kl, exact, atol=0.05)


@pytest.mark.parametrize(("samples", "batch"), [(0, 4), (3, 0)])
def test_counts_must_be_positive(samples, batch):
    for bound in (data_elbo, data_log_likelihood):
        with pytest.raises(BadInput, match=r"^num_samples: [^\n]*$"):
            bound(posterior, log_likelihood, INPUTS, KEY, num_samples=samples, batch_size=batch)
