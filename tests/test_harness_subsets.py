"""Models on random subsets: what a part is, that training sees only it, and a memorization score with known answer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.harness.subsets import SubsetSampler, memorization_scores, train_on_subsets
from mlrisk.types import Examples, Model

EXAMPLES = Examples(jnp.arange(20, dtype=jnp.float32)[:, None], jnp.zeros(20, jnp.int32).at[::2].set(1))
member = jax.jit(lambda sampler, key: sampler.member(key))
batches = jax.jit(lambda sampler, key: jax.lax.map(lambda step: sampler(key, step), jnp.arange(6)))


def table(keys):
    """A model that can only learn by heart: one row of logits for each example."""
    return Model(lambda key: jnp.zeros((20, 2)), lambda p, x: p[x[:, 0].astype(jnp.int32)])


@given(seed=st.integers(0, 100))
def test_an_epoch_is_the_part_and_nothing_else(seed):
    sampler, key = SubsetSampler(EXAMPLES, 12, 4), jax.random.key(seed)
    inside = np.flatnonzero(member(sampler, key))
    drawn = np.asarray(batches(sampler, key).inputs)[..., 0].astype(int)
    assert len(inside) == 12
    for epoch in (drawn[:3], drawn[3:]):
        np.testing.assert_array_equal(np.sort(epoch.ravel()), inside)
    assert (drawn[:3] != drawn[3:]).any()


def test_every_example_is_in_its_share_of_the_parts():
    sampler = SubsetSampler(EXAMPLES, 14, 7)
    inside = jax.jit(jax.vmap(sampler.member))(prng.lane_keys(jax.random.key(0), 2000))
    np.testing.assert_allclose(np.mean(inside, axis=0), 0.7, atol=0.04)
    together = np.corrcoef(np.asarray(inside, float).T)[np.triu_indices(20, 1)]
    np.testing.assert_allclose(together, -1 / 19, atol=0.1)


def test_what_a_table_learns_it_has_memorized():
    options = {"models": 40, "epochs": 3, "batch_size": 7}
    found = memorization_scores(table(None), optax.sgd(1.0), EXAMPLES, jax.random.key(0), **options)
    labels = np.asarray(EXAMPLES.labels)
    np.testing.assert_array_equal(found.trained_with, np.ones(20))
    np.testing.assert_array_equal(found.trained_without, 1 - labels)
    np.testing.assert_array_equal(found.score, labels)


BAD = {
    "one model": ({"models": 1}, "models: 1 models of 3 epochs"),
    "no epochs": ({"epochs": 0}, "models: 4 models of 0 epochs"),
    "all": ({"share": 1.0}, "share: 1.0 is not above 0 and below 1"),
    "none": ({"share": 0.0}, "share: 0.0 is not above 0 and below 1"),
    "small part": ({"share": 0.2}, "size: 4 is not from 7 (the batch size) to 20"),
    "large batch": ({"batch_size": 21}, "batch_size: 21 is not from 1 to 20"),
    "no batch": ({"batch_size": 0}, "batch_size: 0 is not from 1 to 20"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_its_line(case):
    changed, line = BAD[case]
    options = {"models": 4, "epochs": 3, "batch_size": 7} | changed
    with pytest.raises(BadInput) as caught:
        train_on_subsets(table(None), optax.sgd(1.0), EXAMPLES, jax.random.key(0), **options)
    assert str(caught.value).startswith(line)
