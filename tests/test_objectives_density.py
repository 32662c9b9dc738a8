"""Maximum likelihood and reverse KL of an affine flow, for which everything has a closed form."""

import math
from typing import NamedTuple

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlrisk.errors import BadInput
from mlrisk.harness import make_train
from mlrisk.objectives import Tempered, draw, fitness, log_density, maximum_likelihood, reverse_kl, tempering
from mlrisk.types import Model

BASE = distrax.Independent(distrax.Normal(jnp.zeros(2), jnp.ones(2)), 1)
MEAN, SCALE = jnp.asarray([1.0, -2.0]), jnp.asarray([0.5, 2.0])
EXACT = {"shift": MEAN, "log_scale": jnp.log(SCALE)}


@pytest.fixture(autouse=True)
def distrax_broadcasts():
    """Distributions with vector parameters promote ranks, and adam promotes its step count."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


class Affine(NamedTuple):
    """x = exp(log_scale) z + shift."""

    def init(self, key):
        del key
        return {"shift": jnp.zeros(2), "log_scale": jnp.zeros(2)}

    def bijector(self, params):
        return distrax.Block(distrax.ScalarAffine(params["shift"], log_scale=params["log_scale"]), 1)


FLOW = Affine()


def log_target(points):
    """A Gaussian with mean MEAN and scale SCALE, times exp(3)."""
    return 3 + distrax.Independent(distrax.Normal(MEAN, SCALE), 1).log_prob(points)


def kl(params, weight=1.0):
    """E_q[log q - w log N(MEAN, SCALE)] of the affine flow in closed form."""
    shift, scale = params["shift"], jnp.exp(params["log_scale"])
    entropy = jnp.sum(0.5 * math.log(2 * math.pi * math.e) + jnp.log(scale))
    quadratic = ((scale / SCALE) ** 2 + ((shift - MEAN) / SCALE) ** 2) / 2
    cross = jnp.sum(0.5 * math.log(2 * math.pi) + jnp.log(SCALE) + quadratic)
    return weight * cross - entropy


def test_likelihood_is_that_of_the_gaussian():
    points = jax.random.normal(jax.random.key(0), (50, 2)) * 3
    want = distrax.Independent(distrax.Normal(MEAN, SCALE), 1).log_prob(points)
    np.testing.assert_allclose(log_density(FLOW, BASE, EXACT, points), want, rtol=1e-4)
    loss, metrics = maximum_likelihood(FLOW, BASE)(EXACT, points, None, jax.random.key(1))
    np.testing.assert_allclose(loss, -want.mean(), rtol=1e-5)
    assert metrics == {"loss": loss}


def test_maximum_likelihood_ends_at_the_moments():
    points = MEAN[None] + SCALE[None] * jax.random.normal(jax.random.key(2), (4000, 2))
    train = make_train(Model(FLOW.init, lambda p, x: x), maximum_likelihood(FLOW, BASE), optax.adam(0.05),
                       lambda key, step: points, num_steps=400)  # fmt: skip
    params = jax.jit(train)(jax.random.key(3)).state.params
    np.testing.assert_allclose(params["shift"], points.mean(0), atol=1e-3)
    np.testing.assert_allclose(jnp.exp(params["log_scale"]), points.std(0), rtol=1e-3)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_reverse_kl_and_its_gradient_are_unbiased(weight):
    params, objective = FLOW.init(None), reverse_kl(FLOW, log_target, 100_000, BASE)
    hyper = Tempered(jnp.float32(weight)) if weight != 1 else None
    gradient = jax.jit(jax.value_and_grad(lambda p: objective(p, None, hyper, jax.random.key(4))[0]))
    value, slope = gradient(params)
    want, want_slope = jax.value_and_grad(kl)(params, weight)
    np.testing.assert_allclose(value, want - 3 * weight, atol=0.06)
    jax.tree.map(lambda got, exact: np.testing.assert_allclose(got, exact, atol=0.08), slope, want_slope)


def test_reverse_kl_of_the_target_itself_has_no_variance():
    objective = reverse_kl(FLOW, log_target, 7, BASE)
    loss, metrics = objective(EXACT, None, None, jax.random.key(5))
    np.testing.assert_allclose([loss, metrics["elbo"]], [-3, 3], atol=1e-5)


def test_targets_may_differ_from_lane_to_lane():
    objective = reverse_kl(FLOW, lambda points, hyper: log_target(points) + hyper, 7, BASE)
    losses = jax.vmap(lambda h: objective(EXACT, None, h, jax.random.key(6))[0])(jnp.asarray([0.0, 2.0]))
    np.testing.assert_allclose(losses, [-3, -5], atol=1e-5)
    tempered, metrics = objective(EXACT, None, Tempered(jnp.float32(1), jnp.float32(2)), jax.random.key(6))
    np.testing.assert_allclose([tempered, metrics["elbo"]], [-5, 5], atol=1e-5)


def test_reverse_kl_ends_at_the_target():
    train = make_train(Model(FLOW.init, lambda p, x: x), reverse_kl(FLOW, log_target, 64, BASE), optax.adam(optax.cosine_decay_schedule(0.05, 1000)),
                       lambda key, step: None, num_steps=1000, schedule=tempering(0.2, 400))  # fmt: skip
    fit = jax.jit(train)(jax.random.key(7))
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, atol=0.02), fit.state.params, EXACT)


def test_the_tempering_schedule_rises_and_stays():
    schedule = tempering(0.2, 100)
    weights = [float(schedule(None, jnp.int32(step)).weight) for step in (0, 40, 80, 1000)]
    np.testing.assert_allclose(weights, [0.2, 0.6, 1.0, 1.0], rtol=1e-6)
    assert schedule("inner", jnp.int32(0)).target == "inner"


def test_draws_come_with_their_log_density():
    points, log_q = draw(FLOW, BASE, EXACT, jax.random.key(8), 20)
    np.testing.assert_allclose(log_q, log_density(FLOW, BASE, EXACT, points), atol=1e-4)


def test_fitness_of_an_exact_and_of_a_wide_flow():
    found, points, weights = fitness(FLOW, log_target, BASE, EXACT, jax.random.key(9), 100)
    np.testing.assert_allclose(found, [3, 3, 1], atol=1e-4)
    assert (points.shape, weights.shape) == ((100, 2), (100,))
    wide = {"shift": MEAN, "log_scale": EXACT["log_scale"] + math.log(2)}
    found, *_ = jax.jit(lambda: fitness(FLOW, log_target, BASE, wide, jax.random.key(9), 200_000))()
    # per dimension: KL = log(1/2) - 1/2 + 2 read backwards; E[w^2] / E[w]^2 = 4 / sqrt(7)
    np.testing.assert_allclose(found.elbo, 3 - 2 * (math.log(0.5) - 0.5 + 2), atol=0.02)
    np.testing.assert_allclose(found.log_normaliser, 3, atol=0.01)
    np.testing.assert_allclose(found.efficiency, 7 / 16, atol=0.01)


@pytest.mark.parametrize(("bad", "line"), [((-0.1, 5), "start: -0.1"), ((0.2, 0), "steps: 0")])
def test_wrong_schedules_get_one_line(bad, line):
    with pytest.raises(BadInput, match=line):
        tempering(*bad)
    with pytest.raises(BadInput, match="batch_size: 0"):
        reverse_kl(FLOW, log_target, 0, BASE)
