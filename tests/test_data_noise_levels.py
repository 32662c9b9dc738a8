"""Noise levels as lanes: exact shares, nested, gathered as at the whole set; and splits of the training split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrisk.data import NoiseLevel, NoiseLevelSampler, load, noisy_examples, train_and_validation
from mlrisk.errors import BadInput
from mlrisk.types import Examples

COUNT = 40


def real():
    return Examples(jax.random.normal(jax.random.key(5), (COUNT, 3)), jnp.arange(COUNT, dtype=jnp.int32) % 4)


def level(x, y):
    return NoiseLevel(jnp.float32(x), jnp.float32(y))


NOISY = noisy_examples(jax.random.key(0), real(), 4)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_a_level_replaces_exactly_its_share_and_leaves_the_rest(x, y):
    by_input, by_label = NOISY.replaced(level(x, y))
    assert int(by_input.sum()) == round(np.float32(x) * np.float32(COUNT))
    assert int(by_label.sum()) == round(np.float32(y) * np.float32(COUNT))
    found = NOISY.at(level(x, y))
    for leaf, mask, index in ((found.inputs, by_input, 0), (found.labels, by_label, 1)):
        np.testing.assert_array_equal(np.asarray(leaf)[~mask], np.asarray(real()[index])[~mask])
        np.testing.assert_array_equal(np.asarray(leaf)[mask], np.asarray(NOISY.noise[index])[mask])


def test_levels_are_nested_and_the_two_kinds_hit_different_examples():
    low, high = (NOISY.replaced(level(share, share)) for share in (0.3, 0.7))
    for few, many in zip(low, high, strict=True):
        assert bool(jnp.all(many | ~few))
    assert bool(jnp.any(low[0] != low[1]))


def test_rows_are_rows_of_the_whole_set():
    rows = jnp.asarray([3, 3, 17, 39])
    whole, part = NOISY.at(level(0.5, 0.5)), NOISY.at(level(0.5, 0.5), rows)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
        np.testing.assert_array_equal(one[rows], other)


def test_lanes_of_the_sampler_equal_single_calls_and_cover_an_epoch():
    sampler = NoiseLevelSampler(NOISY, 10)
    levels = level([0.0, 0.4, 1.0], [0.2, 0.0, 1.0])

    def draw(hyper):
        return jax.vmap(lambda step: sampler(jax.random.key(1), step, hyper))(jnp.arange(4))

    lanes = jax.jit(jax.vmap(draw))(levels)
    for lane in range(3):
        one = draw(jax.tree.map(lambda leaf, lane=lane: leaf[lane], levels))
        jax.tree.map(lambda a, b, lane=lane: np.testing.assert_array_equal(a[lane], b), lanes, one)
    seen = np.sort(np.asarray(draw(level(0, 0)).inputs).reshape(-1, 3), axis=0)
    np.testing.assert_array_equal(seen, np.sort(np.asarray(real().inputs), axis=0))
    assert sampler.steps_per_epoch == 4


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(BadInput, match="batch_size: 41 is not from 1 to 40"):
        NoiseLevelSampler(NOISY, 41)


def test_a_split_is_disjoint_balanced_and_standardised_by_its_training_part():
    digits = load("digits")
    split = train_and_validation(digits, jax.random.key(0), 500, 200)
    assert not set(split.train_index) & set(split.validation_index)
    assert len(split.train_index) == 500
    assert len(split.validation_index) == 200
    assert np.ptp(np.bincount(split.validation.labels)) <= 1
    assert abs(float(split.train.inputs.mean())) < 1e-5
    assert abs(float(split.train.inputs.std()) - 1) < 1e-5
    raw = digits.train.inputs[split.validation_index]
    assert float(split.scale) == pytest.approx(digits.train.inputs[split.train_index].std(), rel=1e-4)
    np.testing.assert_allclose(split.validation.inputs.std() * split.scale, raw.std(), rtol=1e-4)
    np.testing.assert_array_equal(split.validation.labels, digits.train.labels[split.validation_index])
    smaller = train_and_validation(digits, jax.random.key(0), 100, 200)
    np.testing.assert_array_equal(smaller.validation_index, split.validation_index)


def test_a_split_that_is_too_large_is_refused():
    with pytest.raises(BadInput, match="train_size: 1400 and validation_size 100 are not allowed"):
        train_and_validation(load("digits"), jax.random.key(0), 1400, 100)
