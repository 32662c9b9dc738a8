"""Linear structural models: covariances in closed form, the eight published settings, metrics after unscrambling."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data.sems import causal_weights, draw_sem, sample_sem, unscrambled, weight_errors
from mlrisk.errors import BadInput

FLAGS = list(itertools.product((False, True), repeat=3))
COUNT = 50_000


@pytest.mark.parametrize(("confounded", "noisy_target", "unit_weights"), FLAGS)
def test_covariances_are_those_of_the_equations(confounded, noisy_target, unit_weights):
    sem = draw_sem(jax.random.key(0), 3, confounded=confounded, scrambled=True, unit_weights=unit_weights)
    scale = 2.0
    table = sample_sem(jax.random.key(1), sem, COUNT, scale, noisy_target=noisy_target)
    a, b, c, d, e, s = (np.asarray(leaf, float) for leaf in sem)
    hidden = scale**2 * np.eye(3)
    causes = a.T @ hidden @ a + scale**2 * np.eye(3)
    cross = a.T @ hidden  # causes by hidden
    target_noise = scale**2 if noisy_target else 1.0
    target = b.T @ causes @ b + b.T @ cross @ c + (b.T @ cross @ c).T + c.T @ hidden @ c + target_noise * np.eye(3)
    hidden_target = hidden @ a @ b + hidden @ c  # hidden by target
    causes_target = causes @ b + cross @ c
    effects_target = d.T @ target + e.T @ hidden_target
    expected = s.T @ np.concatenate([causes_target.sum(1), effects_target.sum(1)])
    found = np.asarray(table.inputs).T @ np.asarray(table.targets) / COUNT
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max() + 0.3)
    np.testing.assert_allclose(np.mean(np.square(table.targets)), target.sum(), rtol=0.05)


def test_fully_observed_least_squares_on_the_causes_is_causal():
    sem = draw_sem(jax.random.key(0), 4)
    table = sample_sem(jax.random.key(1), sem, COUNT, 0.5, noisy_target=False)
    found = jnp.linalg.lstsq(table.inputs[:, :4], table.targets)[0]
    np.testing.assert_allclose(found, causal_weights(sem)[:4], atol=0.05)


def test_errors_are_of_the_unscrambled_weights():
    sem = draw_sem(jax.random.key(2), 4, confounded=True, scrambled=True, unit_weights=False)
    np.testing.assert_allclose(sem.scramble @ sem.scramble.T, jnp.eye(8), atol=1e-5)
    right = sem.scramble.T @ causal_weights(sem)
    assert max(weight_errors(sem, right)) < 1e-10
    moved = right + sem.scramble.T @ jnp.concatenate([jnp.full(4, 0.5), jnp.zeros(4)])
    np.testing.assert_allclose(weight_errors(sem, moved), (0.25, 0.0), atol=1e-5)
    np.testing.assert_allclose(unscrambled(sem, right), causal_weights(sem), atol=1e-5)


@pytest.mark.parametrize("make", [lambda: draw_sem(jax.random.key(0), 0),
                                  lambda: sample_sem(jax.random.key(0), draw_sem(jax.random.key(0), 2), 0, 1.0,
                                                     noisy_target=False)])  # fmt: skip
def test_no_causes_and_no_examples_are_refused(make):
    with pytest.raises(BadInput, match="0 is not a positive number of"):
        make()
