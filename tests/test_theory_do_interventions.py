"""Interventions on linear structural models: exact moments against samples, and what equal risks identify."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.errors import BadInput
from mlrisk.theory.do_interventions import (
    _term_slopes,
    _terms,
    draw_chain,
    equal_risk_predictors,
    interventions,
    population_risks,
)


@given(st.integers(0, 1000), st.integers(0, 3), st.integers(0, 3))
def test_the_causal_predictor_pays_the_noise_alone_in_every_domain(seed, causes, effects):
    if causes + effects == 0:
        return
    model = draw_chain(seed, causes, effects)
    population = interventions(model, np.asarray([-1.0, 0.3, 2.0]))
    assert population.means.shape == (3 * (causes + effects), causes + effects + 1)
    risks = population_risks(model, population, model.causal)
    np.testing.assert_allclose(risks, model.deviations[model.target] ** 2, rtol=1e-6)


def test_moments_are_those_of_samples():
    model, rng, count = draw_chain(1), np.random.default_rng(0), 200_000
    population = interventions(model, np.asarray([1.5]))
    noise = rng.normal(0, model.deviations, (count, 5))
    for domain, variable in enumerate(model.others):
        drawn = np.zeros((count, 5))
        for i in range(5):
            drawn[:, i] = 1.5 if i == variable else drawn @ model.effects[i] + noise[:, i]
        np.testing.assert_allclose(drawn.mean(0), population.means[domain], atol=0.05)
        np.testing.assert_allclose(np.cov(drawn.T), population.covariances[domain], atol=0.3, rtol=0.03)
        weights = np.asarray([0.3, -1.0, 0.5, 2.0])
        errors = drawn[:, model.target] - drawn[:, model.others] @ weights
        np.testing.assert_allclose(np.mean(errors**2), population_risks(model, population, weights)[domain], rtol=0.02)


@pytest.mark.parametrize("seed", [1, 3])
def test_three_values_identify_the_causes_and_two_mirrored_ones_do_not(seed):
    model = draw_chain(seed)
    three, two = (
        equal_risk_predictors(model, interventions(model, np.asarray(values)), 0, starts=3)
        for values in ([-1.0, 1.0, 2.0], [-1.0, 1.0])
    )
    assert np.abs(three.weights - model.causal).max() < 1e-3
    assert three.farthest < 1e-3
    assert max(three.spread, two.spread) < 1e-5
    assert two.farthest > 0.1


def test_slopes_are_the_derivatives_of_the_terms():
    model = draw_chain(2)
    arguments = (model, interventions(model, np.asarray([1.0, 2.0])), 3.0, 0.7)
    weights, step = np.asarray([1.0, -0.5, 0.2, 0.8]), 1e-6
    moved = [_terms(weights + s * step * row, *arguments) for row in np.eye(4) for s in (1, -1)]
    expected = [(up - down) / (2 * step) for up, down in zip(moved[::2], moved[1::2], strict=True)]
    np.testing.assert_allclose(_term_slopes(weights, *arguments), np.stack(expected, 1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("call", "line"), [
    (lambda: draw_chain(0, 0, 0), "causes, effects: 0 and 0 are not zero or more, with one at least"),
    (lambda: draw_chain(0, -1, 2), "causes, effects: -1 and 2 are not"),
    (lambda: interventions(draw_chain(0), np.zeros(0)), r"values: shape \(0,\) is not \(n,\) with at least one"),
])  # fmt: skip
def test_bad_input_gets_its_line(call, line):
    with pytest.raises(BadInput, match=line):
        call()
