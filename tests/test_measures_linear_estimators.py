"""Estimators in closed form over stacks of problems: each as by itself, and where they agree."""

import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.measures.linear_estimators import ESTIMATORS, pooled_estimates


def problems(shift):
    rng = np.random.default_rng(0)
    scales, offsets = np.asarray([0.5, 1.0, 2.0])[:, None], shift * np.arange(3.0)[:, None]
    cause = rng.normal(0, 1, (2, 3, 200)) * scales + offsets
    target = cause + rng.normal(0, 1, (2, 3, 200))
    effect = target + offsets + rng.normal(0, 1, (2, 3, 200)) * scales
    inputs = np.stack([cause, effect], -1)
    centre = inputs.mean((1, 2), keepdims=True), target.mean((1, 2), keepdims=True)
    return jnp.asarray(inputs - centre[0], jnp.float32), jnp.asarray(target - centre[1], jnp.float32)


def test_estimates_are_those_of_each_problem():
    inputs, targets = problems(1.0)
    found = pooled_estimates(inputs, targets, gamma=5.0)
    assert tuple(found) == ESTIMATORS
    for number, (x, y) in enumerate(zip(np.asarray(inputs), np.asarray(targets), strict=True)):
        expected = np.linalg.lstsq(x.reshape(-1, 2), y.reshape(-1), rcond=None)[0]
        np.testing.assert_allclose(found["ERM"][number], expected, atol=1e-3)
        x, y = (part + (5.0**0.5 - 1) * part.mean(1, keepdims=True) for part in (x, y))
        expected = np.linalg.lstsq(x.reshape(-1, 2), y.reshape(-1), rcond=None)[0]
        np.testing.assert_allclose(found["anchor"][number], expected, atol=1e-3)


def test_icp_finds_the_cause_and_anchors_need_shifted_means():
    shifted, centred = pooled_estimates(*problems(1.0)), pooled_estimates(*problems(0.0))
    assert np.abs(shifted["ICP"][:, 1]).max() == 0
    np.testing.assert_allclose(centred["ICP"][:, 0], 1, atol=0.1)
    np.testing.assert_allclose(centred["anchor"], centred["ERM"], atol=0.05)
    assert np.abs(shifted["anchor"] - shifted["ERM"]).max() > 0.05


def test_other_shapes_are_refused(as_a_user):
    with pytest.raises(BadInput, match=r"shapes \(2, 3, 4\), \(2, 3\) are not \(p, m, n, k\)"):
        pooled_estimates(jnp.ones((2, 3, 4)), jnp.ones((2, 3)))
