"""Dropout and noise on layers: moments, lanes of strengths, and what reaches the hidden layers of each model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.models import alexnet_small, mlp
from mlrisk.objectives.disturbances import both, dropout, gaussian_noise

KEY = jax.random.key(0)
ONES = jnp.ones((200, 100))
MODELS = {
    "mlp": (mlp((6,), (8, 7), 3), (6,), 2),
    "cnn": (alexnet_small((8, 8, 1), 3, channels=(4, 5), dense=(6, 5), kernel=3, pool=2, crop=0, padding="SAME"), (8, 8, 1), 4),
}  # fmt: skip


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_dropout_keeps_the_mean_and_zeroes_its_share(rate):
    dropped = dropout(rate)(ONES, KEY)
    zero = float(jnp.mean(dropped == 0))
    assert abs(zero - rate) < 0.012
    np.testing.assert_allclose(dropped[dropped != 0], 1 / (1 - rate), rtol=1e-6)
    np.testing.assert_allclose(dropped.mean(), (1 - zero) / (1 - rate), rtol=1e-5)


def test_noise_has_its_deviation_and_zero_strength_changes_nothing():
    noise = gaussian_noise(0.5)(ONES, KEY) - ONES
    assert abs(float(noise.std()) - 0.5) < 0.01
    assert abs(float(noise.mean())) < 0.01
    np.testing.assert_array_equal(both(dropout(0.0), gaussian_noise(0.0))(ONES, KEY), ONES)


@pytest.mark.parametrize("make", [dropout, gaussian_noise])
def test_strengths_are_lanes(make):
    strengths = jnp.asarray([0.0, 0.2, 0.7])
    lanes = jax.jit(jax.vmap(lambda s: make(s)(ONES, KEY)))(strengths)
    for lane, strength in zip(lanes, strengths, strict=True):
        np.testing.assert_allclose(lane, make(float(strength))(ONES, KEY), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("make", "value", "words"), [
    (dropout, 1.0, "rate: 1.0 is not from 0 to below 1"),
    (dropout, -0.1, "rate: -0.1 is not from 0 to below 1"),
    (gaussian_noise, -1.0, "std: -1.0 is not zero or more"),
    (gaussian_noise, float("nan"), "std: nan is not zero or more"),
])  # fmt: skip
def test_strengths_out_of_range_are_refused(make, value, words):
    with pytest.raises(BadInput, match=words):
        make(value)


@pytest.mark.parametrize("name", MODELS)
def test_every_hidden_layer_is_disturbed_with_a_key_of_its_own(name):
    model, shape, hidden = MODELS[name]
    params, inputs = model.init(KEY), jax.random.normal(KEY, (5, *shape))
    keys, shapes = [], []

    def watch(values, key):
        keys.append(jax.random.key_data(key))
        shapes.append(values.shape)
        return values

    watched, state = model.apply_disturbed(params, inputs, KEY, watch)
    assert len({tuple(np.asarray(key)) for key in keys}) == len(shapes) == hidden
    plain, expected = model.apply_train(params, inputs, KEY) if model.apply_train else (model.apply(params, inputs), {})
    np.testing.assert_array_equal(watched, plain)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    silent, _ = model.apply_disturbed(params, inputs, KEY, lambda values, key: jnp.zeros_like(values))
    np.testing.assert_array_equal(silent, jnp.zeros_like(silent) + silent[:1])
