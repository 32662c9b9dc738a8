"""Batches of rows: each row once an epoch, as the sampler of labelled examples draws them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data import EpochSampler, RowSampler
from mlrisk.errors import BadInput
from mlrisk.types import Examples

KEY = jax.random.key(0)


def test_rows_come_as_the_labelled_sampler_would_draw_them():
    rows = jnp.arange(22.0).reshape(11, 2)
    sampler, labelled = RowSampler(rows, 3), EpochSampler(Examples(rows, jnp.arange(11)), 3)
    assert sampler.steps_per_epoch == labelled.steps_per_epoch == 3
    draw = jax.jit(lambda s, t: s(KEY, t))
    for step in range(7):
        np.testing.assert_array_equal(draw(sampler, step), draw(labelled, step).inputs)
    epoch = np.concatenate([draw(sampler, step) for step in range(3)])
    assert len(np.unique(epoch[:, 0])) == 9


@pytest.mark.parametrize("batch_size", [0, 12])
def test_impossible_batches_are_refused(batch_size):
    with pytest.raises(BadInput, match=rf"batch_size: {batch_size} is not from 1 to 11 \(the number of rows\)"):
        RowSampler(jnp.zeros((11, 2)), batch_size)
