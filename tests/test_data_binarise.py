"""Binarisation: its law, one fixed draw, and draws that belong to their step."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mlrisk.data import EpochSampler
from mlrisk.data.binarise import DynamicBinarisation, binarise, binarise_once
from mlrisk.types import Examples


def grey(count=40):
    inputs = np.random.default_rng(0).uniform(size=(count, 3, 2, 1)).astype(np.float32)
    return Examples(jnp.asarray(inputs), jnp.arange(count))


def test_each_pixel_is_on_with_its_grey_value():
    levels = jnp.array([0.0, 0.1, 0.5, 0.9, 1.0])
    drawn = np.asarray(binarise(jax.random.key(0), jnp.tile(levels, (20_000, 1))))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(drawn.mean(0)[[0, -1]], [0, 1])
    for level, count in zip([0.1, 0.5, 0.9], drawn.sum(0)[1:-1], strict=True):
        assert stats.binomtest(int(count), 20_000, level).pvalue > 1e-4


def test_static_binarisation_is_one_draw():
    first, again, other = (binarise_once(jax.random.key(seed), grey()) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert (np.asarray(first.inputs) != np.asarray(other.inputs)).any()
    np.testing.assert_array_equal(first.labels, grey().labels)


def test_dynamic_binarisation_draws_anew_at_each_step_and_the_same_at_the_same():
    constant = Examples(jnp.full((4, 5, 5, 1), 0.5), jnp.arange(4))
    sampler = DynamicBinarisation(EpochSampler(constant, 4))
    draw = jax.jit(lambda s, step: s(jax.random.key(3), step).inputs)
    np.testing.assert_array_equal(draw(sampler, 0), draw(sampler, 0))
    assert (np.asarray(draw(sampler, 0)) != np.asarray(draw(sampler, 1))).any()
    assert sampler.steps_per_epoch == 1


def test_dynamic_binarisation_keeps_to_the_inner_batch():
    sampler, key = EpochSampler(grey(), 8), jax.random.key(4)
    drawn, inner = DynamicBinarisation(sampler)(key, 2), sampler(key, 2)
    np.testing.assert_array_equal(drawn.labels, inner.labels)
    certain = Examples(jnp.round(grey().inputs), grey().labels)
    fixed = EpochSampler(certain, 8)
    np.testing.assert_array_equal(DynamicBinarisation(fixed)(key, 2).inputs, fixed(key, 2).inputs)


def test_dynamic_binarisation_is_a_pytree_of_its_data():
    leaves = jax.tree.leaves(DynamicBinarisation(EpochSampler(grey(), 8)))
    assert [leaf.shape for leaf in leaves] == [(40, 3, 2, 1), (40,)]
