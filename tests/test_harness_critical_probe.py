"""Probes of critical samples: the measure itself, on fixed examples and on a lane's own condition."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data import Condition
from mlrisk.harness.critical_probe import ConditionCriticalSamplesProbe, CriticalSamplesProbe
from mlrisk.measures import critical_sample_ratio
from mlrisk.models import mlp

KEY = jax.random.key(0)
MODEL = mlp((5,), (8,), 3)
STATE = SimpleNamespace(params=jax.jit(MODEL.init)(jax.random.key(1)))
INPUTS = jax.random.normal(jax.random.key(2), (2, 40, 5)) * jnp.asarray([0.3, 3.0])[:, None, None]


@pytest.fixture(scope="module")
def expected():
    ratio = jax.jit(
        lambda x: critical_sample_ratio(partial(MODEL.apply, STATE.params), x, KEY, radius=0.1, num_steps=5)
    )
    return [float(ratio(x)) for x in INPUTS]


def test_fixed_examples_and_conditions_give_the_ratio_of_the_measure(expected):
    fixed = CriticalSamplesProbe(INPUTS[0], MODEL.apply, 0.1, num_steps=5, batch_size=16)
    by_condition = ConditionCriticalSamplesProbe(INPUTS, MODEL.apply, 0.1, num_steps=5, batch_size=16)
    own = jax.jit(lambda probe, condition: probe(STATE, KEY, Condition(condition))["ratio"])
    np.testing.assert_allclose(jax.jit(lambda probe: probe(STATE, KEY)["ratio"])(fixed), expected[0], rtol=1e-6)
    for condition in range(2):
        np.testing.assert_allclose(own(by_condition, condition), expected[condition], rtol=1e-6)
    assert 0 < min(expected) < max(expected) < 1
