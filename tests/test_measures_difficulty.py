"""Difficulty and over-dispersion: known answers, invariances, and calibration against simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.measures import (
    RESAMPLED,
    binomial_null,
    dispersion_index,
    example_difficulty,
    overdispersion,
    split_half_reliability,
    within_class_dispersion,
)

KEY = jax.random.key(0)


def answers(p, seeds, key=KEY):
    """Independent answers (seeds, n), wrong with each example's own probability."""
    return jax.random.uniform(key, (seeds, len(p))) >= jnp.asarray(p, jnp.float32)[None, :]


def test_difficulty_is_the_share_of_wrong_answers():
    correct = jnp.asarray([[True, False, True], [True, False, False]])
    np.testing.assert_array_equal(example_difficulty(correct), [0.0, 1.0, 0.5])


@pytest.mark.parametrize("seeds", [2, 10, 100])
def test_examples_that_are_each_always_right_or_wrong_have_the_largest_dispersion(seeds):
    difficulty = jnp.asarray([0.0, 1.0] * 50)
    np.testing.assert_allclose(dispersion_index(difficulty, seeds), seeds * 100 / 99, rtol=1e-5)


@given(p=st.floats(0.1, 0.9), seeds=st.integers(5, 200))
def test_chance_alone_gives_a_dispersion_of_one(p, seeds):
    draws = binomial_null(KEY, jnp.full(400, p), seeds, draws=200)
    index = np.asarray(dispersion_index(draws, seeds))
    assert abs(index.mean() - 1) < 4 * index.std() / np.sqrt(200) + 0.01
    np.testing.assert_allclose(index.std(), np.sqrt(2 / 400), rtol=0.25)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rates_without_spread_have_no_dispersion_and_no_nan(value):
    difficulty = jnp.full(10, value)
    assert float(dispersion_index(difficulty, 5)) == 0.0
    assert float(within_class_dispersion(difficulty, jnp.arange(10) % 2, 5, 3)) == 0.0


def test_classes_of_different_difficulty_are_dispersed_overall_but_not_within():
    labels = jnp.arange(1000) % 2
    difficulty = example_difficulty(answers(np.where(labels == 0, 0.3, 0.7), 100))
    assert float(dispersion_index(difficulty, 100)) > 10
    assert 0.85 < float(within_class_dispersion(difficulty, labels, 100, 2)) < 1.15


@given(order=st.permutations(range(12)))
def test_within_class_dispersion_ignores_the_order_and_the_names_of_classes(order):
    difficulty = jax.random.uniform(KEY, (12,))
    labels = jnp.arange(12) % 3
    difficulty, labels = np.asarray(difficulty), np.asarray(labels)
    expected = np.mean([
        np.var(difficulty[labels == k], ddof=1) / (np.mean(difficulty[labels == k]) * np.mean(1 - difficulty[labels == k]) / 9)
        for k in range(3)
    ])  # fmt: skip
    moved = jnp.asarray(order)
    found = within_class_dispersion(jnp.asarray(difficulty)[moved], 2 - jnp.asarray(labels)[moved], 9, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_reliability_is_one_for_fixed_examples_and_zero_for_chance():
    fixed = split_half_reliability(KEY, answers(np.linspace(0, 1, 500), 100), 20)
    chance = split_half_reliability(KEY, answers(np.full(500, 0.5), 100), 20)
    assert fixed.min() > 0.95
    assert abs(float(chance.mean())) < 0.1


def test_reliability_uses_disjoint_halves():
    """With two seeds each half is one seed: the correlation is exactly that between the two rows."""
    correct = answers(np.linspace(0.2, 0.8, 50), 2)
    found = split_half_reliability(KEY, correct, 4)
    np.testing.assert_allclose(found, np.corrcoef(np.asarray(correct, float))[0, 1], rtol=1e-4)
    with pytest.raises(ValueError, match="two halves need at least 2"):
        split_half_reliability(KEY, correct[:1])


def test_reliability_matches_spearman_brown():
    """For true rates of variance v, halves of S/2 seeds correlate by v / (v + mean p(1-p) / (S/2))."""
    p = np.asarray(jax.random.uniform(KEY, (4000,), minval=0.2, maxval=0.8))
    found = float(split_half_reliability(KEY, answers(p, 20, jax.random.key(3)), 50).mean())
    np.testing.assert_allclose(found, p.var() / (p.var() + np.mean(p * (1 - p)) / 10), atol=0.02)


def test_measures_work_under_jit_and_vmap():
    stacked = jax.random.uniform(KEY, (4, 30))
    together = jax.jit(jax.vmap(lambda d: dispersion_index(d, 7)))(stacked)
    np.testing.assert_allclose(together, [dispersion_index(d, 7) for d in stacked], rtol=1e-6)
    np.testing.assert_allclose(dispersion_index(stacked, 7), together, rtol=1e-6)


@pytest.mark.parametrize(("spread", "low", "high"), [(0.0, 0.02, 1.0), (0.4, 0.0, 0.002)], ids=["chance", "spread"])
def test_overdispersion_tells_chance_from_spread(spread, low, high):
    p = np.linspace(0.5 - spread, 0.5 + spread, 600)
    found = overdispersion(np.asarray(answers(p, 60)), np.arange(600) % 3, 3, KEY)
    assert list(found) == list(RESAMPLED)
    assert low <= found["p_chance"].value <= high
    for name, interval in found.items():
        assert name == "p_chance" or interval.low <= interval.value <= interval.high


@pytest.mark.slow
def test_the_parametric_bootstrap_rejects_chance_as_often_as_it_should():
    p_values = [
        overdispersion(np.asarray(answers(np.full(200, 0.6), 30, jax.random.key(i))), np.arange(200) % 4, 4, KEY)[
            "p_chance"
        ].value
        for i in range(60)
    ]
    assert np.mean(np.asarray(p_values) < 0.05) < 0.15
    assert 0.35 < np.mean(p_values) < 0.65
