"""Accuracy probes against counting by hand, at any batch size and noise level."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data import NoiseLevel, noisy_examples
from mlrisk.harness.accuracy_probes import AccuracyProbe, NoisyAccuracyProbe
from mlrisk.objectives import cross_entropy
from mlrisk.types import Examples

KEY = jax.random.key(0)
EXAMPLES = Examples(jax.random.normal(KEY, (23, 4)), jnp.arange(23, dtype=jnp.int32) % 3)
STATE = SimpleNamespace(params=jax.random.normal(jax.random.key(1), (4, 3)))


def apply(params, inputs):
    return inputs @ params


@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_accuracy_and_loss_do_not_depend_on_the_batch_size(batch_size):
    found = jax.jit(lambda: AccuracyProbe(EXAMPLES, apply, batch_size)(STATE, KEY))()
    logits = apply(STATE.params, EXAMPLES.inputs)
    assert float(found["accuracy"]) == pytest.approx(float(np.mean(np.argmax(logits, -1) == EXAMPLES.labels)))
    np.testing.assert_allclose(found["loss"], cross_entropy(logits, EXAMPLES.labels).mean(), rtol=1e-5)


def test_real_and_noise_examples_are_counted_apart():
    noisy = noisy_examples(KEY, EXAMPLES, 3)
    probe = NoisyAccuracyProbe(noisy, apply, 10)
    for x, y in ((0.0, 0.0), (0.4, 0.0), (0.0, 0.5), (1.0, 1.0)):
        level = NoiseLevel(jnp.float32(x), jnp.float32(y))
        found, own = probe(STATE, KEY, level), noisy.at(level)
        correct = np.argmax(apply(STATE.params, own.inputs), -1) == np.asarray(own.labels)
        noise = np.logical_or(*map(np.asarray, noisy.replaced(level)))
        np.testing.assert_allclose(found["accuracy"], correct.mean(), rtol=1e-6)
        for name, part in (("real_accuracy", ~noise), ("noise_accuracy", noise)):
            expected = correct[part].mean() if part.any() else np.nan
            np.testing.assert_allclose(found[name], expected, rtol=1e-6)
