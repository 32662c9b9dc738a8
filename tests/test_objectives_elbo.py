"""The evidence lower bound on a linear-Gaussian model, where every quantity is known in closed form."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from mlrisk.errors import BadInput
from mlrisk.objectives import (
    bernoulli_log_likelihood,
    elbo_terms,
    importance_weighted_bounds,
    importance_weighted_log_likelihood,
    kl_annealing,
    negative_elbo,
    penalised_kl,
    standard_normal_log_density,
)
from mlrisk.types import Examples

NOISE = 0.5
WEIGHTS = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]], np.float32)
DATA = np.array([[0.5, -1.0, 0.2], [2.0, 1.0, -1.5], [0.0, 0.0, 0.0], [-1.0, 0.3, 0.9]], np.float32)
COVARIANCE = np.linalg.inv(np.eye(2) + WEIGHTS @ WEIGHTS.T / NOISE**2)
MEANS = DATA @ WEIGHTS.T @ COVARIANCE / NOISE**2
EVIDENCE = stats.multivariate_normal(np.zeros(3), WEIGHTS.T @ WEIGHTS + NOISE**2 * np.eye(3)).logpdf(DATA)


@pytest.fixture(autouse=True)
def _distrax_broadcasts():
    with jax.numpy_rank_promotion("allow"):
        yield


def log_likelihood(latents):
    """``x|z ~ N(z W, 0.25 I)``, with ``z ~ N(0, I)``."""
    scaled = (jnp.asarray(DATA) - latents @ jnp.asarray(WEIGHTS)) / NOISE
    return standard_normal_log_density(scaled) - 3 * np.log(NOISE)


def log_joint(latents):
    return log_likelihood(latents) + standard_normal_log_density(latents)


def exact_posterior():
    factor = np.broadcast_to(np.linalg.cholesky(COVARIANCE), (4, 2, 2))
    return distrax.MultivariateNormalTri(jnp.asarray(MEANS, jnp.float32), jnp.asarray(factor, jnp.float32))


def wrong_posterior():
    mean = jnp.asarray(MEANS + 0.3, jnp.float32)
    return distrax.Independent(distrax.Normal(mean, jnp.full_like(mean, 0.6)), 1)


def wrong_divergence():
    """KL(q || p(z|x)) of `wrong_posterior`, in closed form; the same for every example."""
    precision = np.linalg.inv(COVARIANCE)
    quadratic = 0.36 * np.trace(precision) + 0.09 * precision.sum()
    return 0.5 * (quadratic - 2 + np.log(np.linalg.det(COVARIANCE)) - 4 * np.log(0.6))


def over_keys(function, count):
    return jax.jit(jax.vmap(function))(jax.random.split(jax.random.key(0), count))


def test_the_exact_posterior_gives_the_evidence_at_every_draw():
    found = over_keys(lambda key: elbo_terms(log_likelihood, exact_posterior(), key).elbo, 20)
    np.testing.assert_allclose(found, np.broadcast_to(EVIDENCE, (20, 4)), rtol=1e-5, atol=1e-5)


def test_another_posterior_loses_its_divergence():
    found = np.asarray(over_keys(lambda key: elbo_terms(log_likelihood, wrong_posterior(), key).elbo, 20_000))
    error = 5 * found.std(0) / np.sqrt(len(found))
    assert (abs(found.mean(0) - (EVIDENCE - wrong_divergence())) < error).all()
    assert error.max() < 0.1 < wrong_divergence()


def test_the_sampled_kl_is_the_divergence_from_the_prior():
    found = np.asarray(over_keys(lambda key: elbo_terms(log_likelihood, wrong_posterior(), key).kl, 20_000))
    exact = 0.5 * (2 * 0.36 + ((MEANS + 0.3) ** 2).sum(1) - 2 - 4 * np.log(0.6))
    assert (abs(found.mean(0) - exact) < 5 * found.std(0) / np.sqrt(len(found))).all()


def importance(posterior, samples, **options):
    def bound(key):
        return importance_weighted_log_likelihood(log_joint, posterior, key, samples, **options)

    return bound


def test_the_exact_posterior_needs_one_sample():
    for samples in (1, 7):
        found = jax.jit(importance(exact_posterior(), samples))(jax.random.key(1))
        np.testing.assert_allclose(found, EVIDENCE, rtol=1e-5, atol=1e-5)


def test_the_bound_rises_with_samples_and_stays_below_the_evidence():
    means = [np.asarray(over_keys(importance(wrong_posterior(), k), 3000)).mean(0) for k in (1, 4, 60)]
    assert (np.diff(means, axis=0) > 0).all()
    np.testing.assert_allclose(means[0], EVIDENCE - wrong_divergence(), atol=0.1)
    np.testing.assert_allclose(means[-1], EVIDENCE, atol=0.05)
    assert (means[-1] < EVIDENCE).all()


def test_the_mean_weight_is_unbiased():
    bounds = over_keys(importance(wrong_posterior(), 10), 4000)
    ratios = np.exp(np.asarray(bounds) - EVIDENCE)
    assert (abs(ratios.mean(0) - 1) < 5 * ratios.std(0) / np.sqrt(len(ratios))).all()


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_chunks_change_nothing(chunk):
    key = jax.random.key(2)
    whole = importance(wrong_posterior(), 10, chunk=10)(key)
    np.testing.assert_allclose(importance(wrong_posterior(), 10, chunk=chunk)(key), whole, rtol=1e-5)


def test_memory_grows_with_the_chunk_not_with_the_samples():
    def temporary(samples, chunk):
        bound = jax.jit(importance(wrong_posterior(), samples, chunk=chunk))
        return bound.lower(jax.random.key(0)).compile().memory_analysis().temp_size_in_bytes

    assert temporary(20_000, 10) == temporary(2_000, 10)
    assert temporary(20_000, 10_000) > 20 * temporary(20_000, 10)


def test_both_bounds_come_from_the_same_weights():
    def bounds(key):
        return importance_weighted_bounds(log_joint, wrong_posterior(), key, 7, chunk=3)

    keys = [jax.random.fold_in(jax.random.key(3), k) for k in range(7)]
    weights = np.stack([elbo_terms(log_likelihood, wrong_posterior(), key).elbo for key in keys])
    found = jax.jit(bounds)(jax.random.key(3))
    np.testing.assert_allclose(found.elbo, weights.mean(0), rtol=1e-4)
    np.testing.assert_allclose(found.log_likelihood, logsumexp(weights, axis=0) - np.log(7), rtol=1e-4)


def test_weights_far_below_the_smallest_number_still_count():
    def far(latents):
        return log_joint(latents) - 1e4

    found = importance_weighted_log_likelihood(far, exact_posterior(), jax.random.key(0), 5)
    np.testing.assert_allclose(found, EVIDENCE - 1e4, rtol=1e-6)


def test_bernoulli_log_likelihood_equals_scipy():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (5, 12)).astype(np.float32)
    pixels = rng.integers(0, 2, (5, 12)).astype(np.float32)
    expected = stats.bernoulli(1 / (1 + np.exp(-logits.astype(np.float64)))).logpmf(pixels).sum(1)
    found = bernoulli_log_likelihood(jnp.asarray(logits), jnp.asarray(pixels))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_bernoulli_log_likelihood_is_finite_where_probabilities_round_to_one():
    sure = bernoulli_log_likelihood(jnp.array([[200.0, -200.0]]), jnp.array([[0.0, 0.0]]))
    np.testing.assert_allclose(sure, [-200.0], rtol=1e-6)


def test_standard_normal_equals_scipy():
    latents = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    found = standard_normal_log_density(jnp.asarray(latents))
    np.testing.assert_allclose(found, stats.norm.logpdf(latents).sum(-1), rtol=1e-5)


@pytest.mark.parametrize(("step", "weight"), [(0, 1e-4), (1, 1e-4), (5, 1e-4), (6, 1.2e-4), (25_000, 0.5), (50_000, 1.0), (90_000, 1.0)])  # fmt: skip
def test_the_annealing_weight(step, weight):
    np.testing.assert_allclose(kl_annealing(step), weight, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(kl_annealing)(jnp.int32(step)), weight, rtol=1e-6)


def test_no_warmup_is_a_weight_of_one():
    np.testing.assert_array_equal(kl_annealing(0, warmup=0), 1.0)


def test_free_bits_are_on_the_weighted_total():
    kl = jnp.array([-0.3, 0.05, 0.15, 30.0])
    np.testing.assert_allclose(penalised_kl(kl, 0.5, 0.1), [0.1, 0.1, 0.1, 15.0], rtol=1e-6)
    np.testing.assert_allclose(penalised_kl(kl, 1.0, 0.1), [0.1, 0.1, 0.15, 30.0], rtol=1e-6)
    np.testing.assert_allclose(penalised_kl(kl), kl)


def test_free_bits_have_no_gradient_below_and_the_weight_above():
    slopes = jax.grad(lambda kl: penalised_kl(kl, 0.5, 0.1).sum())(jnp.array([0.1, 30.0]))
    np.testing.assert_allclose(slopes, [0.0, 0.5])


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: importance(exact_posterior(), 0)(jax.random.key(0)),
        lambda: importance(exact_posterior(), 5, chunk=0)(jax.random.key(0)),
        lambda: kl_annealing(0, warmup=-1),
        lambda: kl_annealing(0, floor=2.0),
    ],
)
def test_mistakes_get_one_line(mistake):
    with pytest.raises(BadInput, match=r"^\w+: [^\n]*$"):
        mistake()


def test_the_objective_is_the_mean_of_what_each_example_pays():
    def at(params):
        return lambda inputs: wrong_posterior(), lambda latents, inputs: params * log_likelihood(latents)

    batch, key = Examples(jnp.asarray(DATA), jnp.zeros(4, jnp.int32)), jax.random.key(5)
    terms = elbo_terms(lambda latents: 2.0 * log_likelihood(latents), wrong_posterior(), key)
    loss, metrics = negative_elbo(at, 0.1)(jnp.float32(2), batch, jnp.float32(0.3), key)
    np.testing.assert_allclose(loss, np.mean(np.maximum(0.3 * terms.kl, 0.1) - terms.log_likelihood), rtol=1e-5)
    np.testing.assert_allclose(metrics["elbo"], terms.elbo.mean(), rtol=1e-5)
    whole, _ = negative_elbo(at)(jnp.float32(2), batch, None, key)
    np.testing.assert_allclose(whole, -metrics["elbo"], rtol=1e-5)
