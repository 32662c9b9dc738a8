"""Bounds over a data set: equal to the evidence with the exact posterior, whatever the batches."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures.bounds import data_bounds, data_elbo
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
    def all_bounds(inputs):
        terms = data_elbo(posterior, log_likelihood, inputs, KEY, batch_size=batch_size)
        options = {"num_samples": 5, "batch_size": batch_size, "chunk": 2}
        return terms.elbo, *data_bounds(posterior, log_likelihood, inputs, KEY, **options)

    for found in jax.jit(all_bounds)(INPUTS):
        np.testing.assert_allclose(found, EVIDENCE, rtol=1e-5)


def wrong(inputs):
    return posterior(inputs, 0.5)


def test_another_posterior_loses_its_divergence_on_average():
    options = {"num_samples": 20_000, "batch_size": 4}
    found = jax.jit(lambda x: data_bounds(wrong, log_likelihood, x, KEY, **options))(INPUTS)
    np.testing.assert_allclose(found.elbo, EVIDENCE - 2 * 0.5**2, atol=0.05)
    np.testing.assert_allclose(found.log_likelihood, EVIDENCE, atol=0.05)


def test_each_example_has_its_own_draw():
    same = jnp.ones((1000, 2))
    kl = jax.jit(lambda x: data_elbo(wrong, log_likelihood, x, KEY, batch_size=100).kl)(same)
    assert len(np.unique(np.asarray(kl))) > 990
    exact = 0.5 * (2 * 0.5 + 2 * 1.0 - 2 + 2 * np.log(2))
    np.testing.assert_allclose(np.mean(kl), exact, atol=0.2)


def test_counts_must_be_positive():
    with pytest.raises(BadInput, match=r"^batch_size: [^\n]*$"):
        data_elbo(posterior, log_likelihood, INPUTS, KEY, batch_size=0)
    with pytest.raises(BadInput, match=r"^num_samples: 0 in chunks"):
        data_bounds(posterior, log_likelihood, INPUTS, KEY, num_samples=0)
