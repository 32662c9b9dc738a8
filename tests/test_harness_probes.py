"""The likelihood probe: batches change nothing, and the averaged parameters are the ones judged."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.harness.blocks import in_blocks
from mlrisk.harness.probes import LikelihoodProbe

ROWS = jax.random.normal(jax.random.key(0), (23, 3))


def log_prob(params, rows):
    return -0.5 * ((rows - params) ** 2).sum(axis=-1)


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_batches_change_nothing(batch_size):
    found = jax.jit(lambda p, rows: in_blocks(lambda block: log_prob(p, block), rows, batch_size))(jnp.ones(()), ROWS)
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_allclose(found, log_prob(jnp.ones(()), ROWS), rtol=1e-6)


def test_the_average_is_judged_where_there_is_one():
    probe = LikelihoodProbe(ROWS, log_prob, 7)
    last, mean = jnp.full((1, 3), 2.0), jnp.full((1, 3), 0.5)
    for average, judged in ((None, last), (mean, mean)):
        state = SimpleNamespace(params=last, average=average)
        found = jax.jit(lambda p, s=state: p(s, jax.random.key(0)))(probe)["log_likelihood"]
        np.testing.assert_allclose(found, -0.5 * np.square(ROWS - judged).sum(axis=1).mean(), rtol=1e-5)
