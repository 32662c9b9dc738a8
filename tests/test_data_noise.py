"""Noise, standardising and subsets: what is replaced, what is kept, and with which moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlrisk.data import moments, rand_x, rand_y, standardise, subset
from mlrisk.errors import BadInput
from mlrisk.types import Examples

LIMIT = 1e-6
FRACTIONS = [0.0, 0.004, 0.5, 1.0]
NOISES = {
    "rand_x": lambda key, examples, fraction: rand_x(key, examples, fraction),
    "rand_x per pixel": lambda key, examples, fraction: rand_x(key, examples, fraction, moments="pixel"),
    "rand_y": lambda key, examples, fraction: rand_y(key, examples, 10, fraction),
}
# one program each instead of one for every operation: the tests are mostly compilation
RAND_X = jax.jit(rand_x, static_argnames=("fraction", "moments"))
RAND_Y = jax.jit(rand_y, static_argnums=(2, 3))
STANDARDISE = jax.jit(standardise, static_argnames="per")
SUBSET = jax.jit(subset, static_argnames=("size", "balanced"))


def made(count=200, shape=(3, 4, 2), seed=0):
    """Examples with a constant pixel, different scales, and all ten classes."""
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(size=(count, *shape)) * np.linspace(0.1, 1, shape[-1]) + 0.2
    inputs[:, 0, 0, :] = 0.3
    return Examples(inputs.astype(np.float32), generator.permutation(np.arange(count) % 10).astype(np.int32))


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_noise_replaces_exactly_the_masked_share(noise, fraction):
    examples = made()
    corrupted, mask = noise(jax.random.key(0), examples, fraction)
    assert mask.shape == (200,)
    assert int(mask.sum()) == round(fraction * 200)
    kept = ~np.asarray(mask)
    np.testing.assert_array_equal(np.asarray(corrupted.inputs)[kept], examples.inputs[kept])
    np.testing.assert_array_equal(np.asarray(corrupted.labels)[kept], examples.labels[kept])
    assert corrupted.inputs.dtype == jnp.float32
    assert corrupted.labels.dtype == jnp.int32


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_noise_is_frozen_by_its_key_and_the_same_jitted(noise):
    examples, key = made(), jax.random.key(1)
    once = noise(key, examples, 0.5)
    jitted = jax.jit(lambda key, examples: noise(key, examples, 0.5))(key, examples)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), once, jitted)
    jax.tree.map(np.testing.assert_array_equal, once, noise(key, examples, 0.5))
    assert not np.array_equal(once.mask, noise(jax.random.key(2), examples, 0.5).mask)


@pytest.mark.parametrize("count", [1, 37])
@given(fraction=st.floats(0, 1), seed=st.integers(0, 1000))
def test_the_number_replaced_is_the_rounded_share(count, fraction, seed):
    examples = Examples(np.zeros((count, 1), np.float32), np.zeros(count, np.int32))
    assert int(rand_y(jax.random.key(seed), examples, 3, fraction).mask.sum()) == round(fraction * count)


def test_every_example_is_equally_likely_to_be_replaced():
    examples = made(count=20)
    draw = jax.jit(jax.vmap(lambda key: rand_y(key, examples, 10, 0.25).mask))
    counts = np.asarray(draw(jax.random.split(jax.random.key(3), 4000))).sum(0)
    # a fixed number is drawn each time, so the counts scatter less than independent draws would
    assert stats.chi2.sf(((counts - 1000) ** 2).sum() / (1000 * 0.75) * 19 / 20, 19) > LIMIT


def test_rand_x_has_the_global_moments_of_the_data_and_is_gaussian():
    examples = made(count=2000)
    noise = np.asarray(RAND_X(jax.random.key(4), examples).examples.inputs).ravel()
    standard = (noise - examples.inputs.mean(dtype=float)) / examples.inputs.std(dtype=float)
    assert stats.kstest(standard, "norm").pvalue > LIMIT


def test_rand_x_per_pixel_has_the_moments_of_each_pixel_and_keeps_constants():
    examples = made(count=5000)
    noise = np.asarray(RAND_X(jax.random.key(5), examples, moments="pixel").examples.inputs)
    error = np.abs(noise.mean(0) - examples.inputs.mean(0)) / (examples.inputs.std(0) + 1e-6) * np.sqrt(5000)
    assert error[1:].max() < 5
    np.testing.assert_allclose(noise.std(0)[1:], examples.inputs.std(0)[1:], rtol=0.06)
    np.testing.assert_allclose(noise[:, 0, 0], 0.3, atol=1e-5)


@pytest.mark.parametrize("num_classes", [1, 10])
def test_rand_y_is_uniform_over_all_classes_whatever_the_label_was(num_classes):
    examples = Examples(np.zeros((20_000, 1), np.float32), np.zeros(20_000, np.int32))
    labels, mask = RAND_Y(jax.random.key(6), examples, num_classes, 0.5)
    counts = np.bincount(np.asarray(labels.labels)[np.asarray(mask)], minlength=num_classes)
    assert len(counts) == num_classes
    assert num_classes == 1 or stats.chisquare(counts).pvalue > LIMIT


def test_rand_x_and_rand_y_of_one_key_replace_different_examples():
    examples, key = made(), jax.random.key(7)
    assert not np.array_equal(rand_x(key, examples, 0.5).mask, rand_y(key, examples, 10, 0.5).mask)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("fraction", [-0.1, 1.01, float("nan"), float("inf"), "much", None])
def test_noise_refuses_a_fraction_outside_0_to_1(noise, fraction):
    with pytest.raises(BadInput, match=r"^fraction: .* is not a number in \[0, 1\]$"):
        noise(jax.random.key(0), made(), fraction)


@pytest.mark.usefixtures("as_a_user")
def test_noise_and_moments_refuse_other_bad_input():
    with pytest.raises(BadInput, match="num_classes: 0"):
        rand_y(jax.random.key(0), made(), 0)
    with pytest.raises(BadInput, match=r"per: 'pixels' .* did you mean 'pixel'\?"):
        rand_x(jax.random.key(0), made(), moments="pixels")


AXES = {"global": (0, 1, 2, 3), "channel": (0, 1, 2), "pixel": (0,)}


@pytest.mark.parametrize(("per", "axes"), AXES.items())
def test_moments_agree_with_double_precision(per, axes):
    inputs = made(count=3000).inputs
    mean, std = jax.jit(moments, static_argnums=1)(inputs, per)
    np.testing.assert_allclose(mean, inputs.mean(axes, dtype=float), rtol=1e-5)
    np.testing.assert_allclose(std, inputs.std(axes, dtype=float), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("per", "axes"), AXES.items())
def test_standardised_examples_have_mean_0_and_deviation_1_or_0(per, axes):
    examples = made()
    result = STANDARDISE(examples, per=per)
    inputs = np.asarray(result.inputs, float)
    np.testing.assert_allclose(inputs.mean(axes), 0, atol=1e-5)
    deviation = inputs.std(axes)
    varies = examples.inputs.std(axes) > 1e-6
    np.testing.assert_allclose(deviation, varies.astype(float), atol=1e-5)
    np.testing.assert_array_equal(result.labels, examples.labels)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 3e4])
def test_constant_inputs_are_centred_and_stay_finite(value):
    constant = Examples(np.full((1001, 5), value, np.float32), np.zeros(1001, np.int32))
    result = np.asarray(STANDARDISE(constant, per="pixel").inputs)
    np.testing.assert_allclose(result, 0, atol=max(1e-5, abs(value) * 1e-5))


@pytest.mark.parametrize("per", AXES)
def test_standardising_by_a_reference_is_the_same_affine_map(per):
    train, test = made(seed=1), made(count=30, seed=2)
    both = STANDARDISE(Examples(np.concatenate([train.inputs, test.inputs]), np.zeros(230, np.int32)), train, per=per)
    np.testing.assert_allclose(both.inputs[:200], STANDARDISE(train, per=per).inputs, atol=1e-5)
    np.testing.assert_allclose(both.inputs[200:], STANDARDISE(test, train, per=per).inputs, atol=1e-5)


def test_standardise_refuses_a_reference_of_another_shape():
    with pytest.raises(BadInput, match=r"reference: inputs of shape \(2, 2, 1\)"):
        standardise(made(), Examples(np.zeros((3, 2, 2, 1)), np.zeros(3, int)))


def places(count):
    return Examples(np.arange(count, dtype=np.float32)[:, None], np.arange(count, dtype=np.int32) % 4)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("size", [1, 24])
@given(seed=st.integers(0, 1000))
def test_a_subset_has_no_repeats_and_keeps_labels_with_inputs(size, balanced, seed):
    chosen = SUBSET(jax.random.key(seed), places(24), size, balanced=balanced)
    origin = np.asarray(chosen.inputs)[:, 0].astype(int)
    assert len(set(origin.tolist())) == size
    np.testing.assert_array_equal(chosen.labels, origin % 4)


@pytest.mark.parametrize("balanced", [False, True])
def test_every_example_is_equally_likely_to_be_in_a_subset(balanced):
    draw = jax.jit(jax.vmap(lambda key: subset(key, places(24), 10, balanced=balanced).inputs[:, 0]))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(8), 3000))).astype(int)
    # fewer degrees of freedom scatter than 23, so this limit is on the safe side
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=24)).pvalue > LIMIT


@pytest.mark.parametrize("size", [7, 20])
@given(labels=st.lists(st.integers(0, 4), min_size=30, max_size=30))
def test_a_balanced_subset_takes_the_classes_in_turns(size, labels):
    examples = Examples(np.zeros((30, 1), np.float32), np.array(labels, np.int32))
    chosen = SUBSET(jax.random.key(0), examples, size, balanced=True)
    counts, available = (np.bincount(values, minlength=5) for values in (chosen.labels, labels))
    assert counts.sum() == size
    assert np.all((counts == available) | (counts >= counts.max() - 1))


@pytest.mark.parametrize("size", [0, -3, 201])
def test_subset_refuses_a_size_it_cannot_give(size):
    with pytest.raises(BadInput, match=rf"^size: {size} is not from 1 to 200"):
        subset(jax.random.key(0), made(), size)
