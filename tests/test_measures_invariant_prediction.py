"""Invariant prediction against scipy's own tests and linear models with known parents; anchor regression's limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from mlrisk.data.sems import draw_sem, sample_sem
from mlrisk.errors import BadInput
from mlrisk.measures.anchor_regression import anchor_regression, domain_indicators
from mlrisk.measures.invariant_prediction import invariant_causal_prediction


def domains(dim=2, count=1000, seed=0, noisy_target=False):
    sem = draw_sem(jax.random.key(seed), dim)
    keys = jax.random.split(jax.random.key(seed + 1), 3)
    each = [sample_sem(k, sem, count, s, noisy_target=noisy_target) for k, s in zip(keys, (0.2, 2.0, 5.0), strict=True)]
    return jnp.stack([t.inputs for t in each]), jnp.stack([t.targets for t in each])


def test_p_values_are_those_of_scipy():
    inputs, targets = domains(count=200)
    found = invariant_causal_prediction(inputs, targets)
    x, y = np.asarray(inputs, float), np.asarray(targets, float)
    for subset, p_value in zip(found.subsets, found.p_values, strict=True):
        residuals = y.copy()
        if subset.any():
            pooled = LinearRegression(fit_intercept=False).fit(x.reshape(-1, 4)[:, subset], y.reshape(-1))
            residuals = y - x[:, :, subset] @ pooled.coef_
        p_values = []
        for domain in range(3):
            own, others = residuals[domain], np.delete(residuals, domain, 0).reshape(-1)
            means = stats.ttest_ind(own, others, equal_var=False).pvalue
            below = stats.f.cdf(own.var(ddof=1) / others.var(ddof=1), own.size - 1, others.size - 1)
            p_values.append(2 * min(means, 1 - abs(2 * below - 1)))
        np.testing.assert_allclose(p_value, min(1, 3 * min(p_values)), rtol=2e-2, atol=1e-4)


def test_parents_are_found_where_the_targets_noise_is_the_same_everywhere():
    found = invariant_causal_prediction(*domains())
    assert found.parents.tolist() == [True, True, False, False]
    np.testing.assert_allclose(found.coefficients, [1, 1, 0, 0], atol=0.1)
    empty = invariant_causal_prediction(*domains(), empty_set=True)
    assert empty.parents.tolist() == found.parents.tolist()


def test_effects_are_taken_for_parents_where_only_the_targets_noise_differs():
    # its assumption fails: the effects' noise is the same everywhere, so the target given them is invariant
    found = invariant_causal_prediction(*domains(noisy_target=True))
    assert found.parents.tolist() == [False, False, True, True]


def test_nothing_is_accepted_where_every_set_differs():
    inputs, targets = domains()
    found = invariant_causal_prediction(inputs, targets + jnp.asarray([0.0, 3.0, -3.0])[:, None])
    assert not found.parents.any()
    assert not found.coefficients.any()


def test_anchor_regression_at_its_limits():
    key = jax.random.split(jax.random.key(0), 4)
    anchors = jax.random.normal(key[0], (4000, 2))
    hidden = jax.random.normal(key[1], (4000,))
    inputs = anchors @ jnp.asarray([[1.0, 0.5], [0.3, -1.0]]) + hidden[:, None] + jax.random.normal(key[2], (4000, 2))
    targets = inputs @ jnp.asarray([2.0, -1.0]) + 2 * hidden + jax.random.normal(key[3], (4000,))
    plain = jnp.linalg.lstsq(inputs, targets)[0]
    np.testing.assert_allclose(anchor_regression(inputs, targets, anchors, 1.0), plain, rtol=1e-3)
    instruments = anchor_regression(inputs, targets, anchors, 1e6)
    np.testing.assert_allclose(instruments, [2.0, -1.0], atol=0.1)
    assert np.abs(plain - jnp.asarray([2.0, -1.0])).max() > 0.3
    projected = anchors @ jnp.linalg.lstsq(anchors, jnp.c_[inputs, targets[:, None]])[0]
    within = jnp.c_[inputs, targets[:, None]] - projected
    partial = jnp.linalg.lstsq(within[:, :2], within[:, 2])[0]
    np.testing.assert_allclose(anchor_regression(inputs, targets, anchors, 0.0), partial, rtol=1e-3)
    swept = jax.vmap(lambda gamma: anchor_regression(inputs, targets, anchors, gamma))(jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(swept, [partial, plain], rtol=1e-3)


def test_indicators_project_on_the_means_of_domains():
    inputs, _ = domains(count=5)
    anchors = domain_indicators(inputs)
    found = anchors @ jnp.linalg.lstsq(anchors, inputs.reshape(15, 4))[0]
    np.testing.assert_allclose(found.reshape(3, 5, 4), np.broadcast_to(inputs.mean(1)[:, None], (3, 5, 4)), atol=1e-5)


X, Y = jnp.ones((2, 9, 2)), jnp.ones((2, 9))
WRONG = {
    "inputs, targets: shapes (1, 9, 2) and (1, 9) are not": lambda: invariant_causal_prediction(X[:1], Y[:1]),
    "inputs: 2 predictors and 3 examples a domain": lambda: invariant_causal_prediction(X[:, :3], Y[:, :3]),
    "inputs, targets: some values are not finite": lambda: invariant_causal_prediction(X * jnp.nan, Y),
    "alpha: 0 is not in (0, 1)": lambda: invariant_causal_prediction(X, Y, alpha=0),
    "gamma: -1.0 is not zero or more": lambda: anchor_regression(X[0], Y[0], X[0], -1.0),
    "inputs, targets, anchors: 9, 9, 3 rows": lambda: anchor_regression(X[0], Y[0], X[0, :3], 1.0),
}


@pytest.mark.parametrize("line", WRONG)
def test_bad_input_is_one_line(line, as_a_user):
    with pytest.raises(BadInput) as caught:
        WRONG[line]()
    assert str(caught.value).startswith(line)
