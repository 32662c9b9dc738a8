"""Samplers: exact bijections, uniform orders, each example once an epoch, the same however transformed."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlrisk.data import EpochSampler, MaskedSampler, permuted_index
from mlrisk.errors import BadInput
from mlrisk.types import Examples

LIMIT = 1e-6


def numbered(count):
    """Examples whose label is their place, and whose input repeats it."""
    places = jnp.arange(count, dtype=jnp.int32)
    return Examples(jnp.tile(places[:, None].astype(jnp.float32), (1, 2)), places)


def orders(size, count, seed=0):
    """The permutations of ``count`` keys, (count, size)."""
    keys = jax.random.split(jax.random.key(seed), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: permuted_index(key, jnp.arange(size), size)))(keys))


def p_value(counts):
    return stats.chisquare(counts.ravel()).pvalue


PERMUTED = jax.jit(permuted_index, static_argnums=(2, 3))


@pytest.mark.parametrize("size", [1, 2, 1009, 50_000])
def test_permuted_index_is_a_bijection(size):
    order = PERMUTED(jax.random.key(size), jnp.arange(size), size)
    assert order.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1), rounds=st.sampled_from([1, 24]))
def test_permuted_index_is_a_bijection_for_any_size_key_and_rounds(size, seed, rounds):
    index = jnp.asarray(np.arange(3000, dtype=np.int32) % size)  # one shape, so that nothing compiles anew
    order = np.asarray(permuted_index(jax.random.key(seed), index, size, rounds))
    np.testing.assert_array_equal(np.sort(order[:size]), np.arange(size))
    np.testing.assert_array_equal(order, np.resize(order[:size], 3000))


def test_permuted_index_at_the_largest_size_stays_in_range():
    size = 2**31 - 1
    ends = jnp.array([0, 1, size // 2, size - 2, size - 1], jnp.int32)
    order = np.asarray(PERMUTED(jax.random.key(0), ends, size))
    assert np.all((order >= 0) & (order < size))
    assert len(set(order.tolist())) == len(ends)


@pytest.mark.parametrize("size", [2, 7])
def test_every_element_is_equally_often_in_every_position(size):
    drawn = orders(size, 20_000)
    for element in range(size):
        assert p_value(np.bincount(drawn[:, element], minlength=size)) > LIMIT


@pytest.mark.parametrize("size", [5, 12])
def test_every_pair_is_equally_often_in_every_pair_of_positions(size):
    drawn = orders(size, 30_000, seed=1)
    off_diagonal = ~np.eye(size, dtype=bool)
    for first, second in [(0, 1), (0, size - 1), (size // 2, size // 2 + 1), (1, 3)]:
        counts = np.zeros((size, size), int)
        np.add.at(counts, (drawn[:, first], drawn[:, second]), 1)
        assert p_value(counts[off_diagonal]) > LIMIT


@pytest.mark.parametrize(("size", "number"), [(3, 6), (5, 120)])
def test_every_permutation_of_a_small_set_is_equally_likely(size, number):
    _, counts = np.unique(orders(size, 200 * number, seed=2), axis=0, return_counts=True)
    assert len(counts) == number
    assert p_value(counts) > LIMIT


def test_a_large_order_has_no_trend_and_no_fixed_structure():
    size = 50_000
    drawn = orders(size, 4, seed=3)
    for order in drawn:
        # correlations of a random permutation have standard deviation 1 / sqrt(size)
        assert abs(stats.spearmanr(np.arange(size), order).statistic) < 5 / np.sqrt(size)
        assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 5 / np.sqrt(size)
        assert np.sum(order == np.arange(size)) < 12  # Poisson(1)
        gaps = (np.diff(order) % size) * 100 // size
        assert p_value(np.bincount(gaps, minlength=100)) > LIMIT


@pytest.mark.parametrize("size", [50_000])
def test_permuted_index_is_the_same_jitted_and_mapped(size):
    index = jnp.arange(3000)
    keys = jax.random.split(jax.random.key(1), 3)
    looped = np.stack([permuted_index(key, index, size) for key in keys])
    np.testing.assert_array_equal(looped, np.stack([PERMUTED(key, index, size) for key in keys]))
    mapped = jax.jit(jax.vmap(lambda key: permuted_index(key, index, size)))
    np.testing.assert_array_equal(looped, mapped(keys))


@pytest.mark.parametrize(
    ("arguments", "line"), [((0,), "size: 0"), ((2**31,), "size: 2147483648"), ((4, 0), "rounds: 0")]
)
def test_permuted_index_refuses(arguments, line):
    with pytest.raises(BadInput, match=line):
        permuted_index(jax.random.key(0), 0, *arguments)


@jax.jit
def labels_at(sampler, key, steps):
    return jax.vmap(lambda step: sampler(key, step).labels)(steps)


def epoch_labels(sampler, key, epoch):
    steps = epoch * sampler.steps_per_epoch + np.arange(sampler.steps_per_epoch, dtype=np.int32)
    return np.asarray(labels_at(sampler, key, steps)).ravel()


@pytest.mark.parametrize(("count", "batch_size"), [(12, 12), (77, 11)])
@given(epoch=st.integers(0, 2_000_000), seed=st.integers(0, 2**32 - 1))
def test_an_epoch_visits_each_example_once(count, batch_size, epoch, seed):
    visited = epoch_labels(EpochSampler(numbered(count), batch_size), jax.random.key(seed), epoch)
    np.testing.assert_array_equal(np.sort(visited), np.arange(count))


@pytest.mark.parametrize(("count", "batch_size"), [(10, 6), (1797, 128)])
def test_an_epoch_with_a_remainder_repeats_nothing_and_leaves_out_others_each_time(count, batch_size):
    sampler = EpochSampler(numbered(count), batch_size)
    kept = count - count % batch_size
    visited = [set(epoch_labels(sampler, jax.random.key(4), epoch).tolist()) for epoch in range(20)]
    assert all(len(labels) == kept for labels in visited)
    assert set.union(*visited) == set(range(count))


def test_epochs_and_keys_differ_and_repeat_themselves():
    sampler = EpochSampler(numbered(200), 20)
    key, other = jax.random.key(5), jax.random.key(6)
    drawn = [epoch_labels(sampler, key, 0), epoch_labels(sampler, key, 1), epoch_labels(sampler, other, 0)]
    assert len({tuple(labels.tolist()) for labels in drawn}) == 3
    np.testing.assert_array_equal(drawn[1], epoch_labels(sampler, key, 1))


MAKERS = {
    "epoch": lambda count, size: EpochSampler(numbered(count), size),
    "masked": lambda count, size: MaskedSampler(numbered(count), jnp.arange(count) % 3 == 0, size),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_samplers_are_the_same_eager_jitted_scanned_and_mapped(make):
    sampler, key, steps = make(50, 8), jax.random.key(7), jnp.arange(4)
    eager = np.stack([sampler(key, step).labels for step in range(4)])
    assert eager.shape == (4, 8)
    np.testing.assert_array_equal(eager, labels_at(sampler, key, steps))
    scanned = jax.lax.scan(lambda carry, step: (carry, sampler(key, step)), 0, steps)[1]
    np.testing.assert_array_equal(eager, scanned.labels)
    np.testing.assert_array_equal(scanned.inputs[..., 1], scanned.labels)
    keys = jax.random.split(key, 3)
    looped = np.stack([sampler(one, 5).labels for one in keys])
    np.testing.assert_array_equal(looped, jax.jit(jax.vmap(sampler, (0, None)))(keys, 5).labels)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_samplers_can_be_stacked_and_mapped_over(make):
    sampler, key = make(12, 12), jax.random.key(8)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf[::-1]]), sampler)
    batches = jax.jit(jax.vmap(lambda one: one(key, 0).labels))(stacked)
    np.testing.assert_array_equal(batches[0], sampler(key, 0).labels)


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_epoch_sampler_refuses_a_batch_it_cannot_fill(batch_size):
    with pytest.raises(BadInput, match=rf"batch_size: {batch_size} is not from 1 to 10"):
        EpochSampler(numbered(10), batch_size)


def test_samplers_refuse_empty_data_and_masks_of_another_length():
    with pytest.raises(BadInput, match="0 examples"):
        EpochSampler(numbered(0), 1)
    with pytest.raises(BadInput, match="batch_size: 0 is not a positive number"):
        MaskedSampler(numbered(3), jnp.ones(3, bool), 0)
    with pytest.raises(BadInput, match=r"mask: shape \(4,\)"):
        MaskedSampler(numbered(3), jnp.ones(4, bool), 1)


@given(mask=st.lists(st.booleans(), min_size=13, max_size=13), step=st.integers(0, 10_000))
def test_masked_sampler_draws_only_where_the_mask_is_true(mask, step):
    sampler = MaskedSampler(numbered(13), jnp.array(mask), 16)
    labels = np.asarray(labels_at(sampler, jax.random.key(9), np.array([step], np.int32)))
    allowed = np.flatnonzero(mask).tolist() or [12]
    assert set(labels.ravel().tolist()) <= set(allowed)


def test_masked_sampler_is_uniform_and_follows_a_mask_that_grows():
    sampler = MaskedSampler(numbered(40), jnp.zeros(40, bool), 2000)
    draw = jax.jit(lambda mask, step: dataclasses.replace(sampler, mask=mask)(jax.random.key(10), step).labels)
    for step, size in enumerate([1, 5, 20, 40]):
        counts = np.bincount(draw(jnp.arange(40) < size, step), minlength=40)
        assert counts[size:].sum() == 0
        assert size == 1 or p_value(counts[:size]) > LIMIT


def test_masks_may_be_mapped_over_with_shared_examples():
    sampler = MaskedSampler(numbered(6), jnp.ones(6, bool), 30)
    masks = jnp.stack([jnp.arange(6) < 2, jnp.arange(6) >= 2])
    call = partial(dataclasses.replace, sampler)
    labels = np.asarray(jax.jit(jax.vmap(lambda mask: call(mask=mask)(jax.random.key(11), 0).labels))(masks))
    assert set(labels[0].tolist()) == {0, 1}
    assert set(labels[1].tolist()) == {2, 3, 4, 5}
