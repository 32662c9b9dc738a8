"""Lanes of loss-sensitivities: what the measures say of the same training, and wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.data import Condition, epoch_order
from mlrisk.errors import BadInput
from mlrisk.harness import sweep
from mlrisk.harness.sensitivities import SensitivityLane
from mlrisk.measures import SGD, class_loss_sensitivity, gini, loss_sensitivity
from mlrisk.models import mlp
from mlrisk.objectives.classification import cross_entropy
from mlrisk.prng import lane_keys, stream
from mlrisk.types import Examples

N, TARGETS = 12, (3, 6)
MODEL = mlp((4,), (5,), 3)
CONDITIONS = Examples(jax.random.normal(jax.random.key(0), (2, N, 4)), jnp.tile(jnp.arange(N) % 3, (2, 1)))
KEYS = lane_keys(jax.random.key(1), 2)


def lane(**changes):
    given = {"batch_size": 4, "targets": TARGETS, "of": "examples"} | changes
    return SensitivityLane(CONDITIONS, MODEL, cross_entropy, 0.2, 0.5, **given)


def arguments(condition, key):
    """Those of the measures for the training of one lane."""
    examples = jax.tree.map(lambda leaf: leaf[condition], CONDITIONS)
    sgd = SGD(epoch_order(stream(key, "data"), N, 4, TARGETS[-1]), 0.2, 0.5)
    return MODEL.apply, MODEL.init(stream(key, "init")), examples, sgd, TARGETS


def test_a_swept_lane_has_the_running_means_and_gini_coefficients_of_the_measure():
    fit = sweep(lane(), KEYS, Condition(jnp.arange(2)))
    assert fit.diverged_at.tolist() == [[-1, -1], [-1, -1]]
    for variant in ("indirect", "total"):
        own = loss_sensitivity(*arguments(1, KEYS[0]), variant=variant)
        averages = np.asarray([own.norms[0], own.norms.mean(0)])
        np.testing.assert_allclose(fit.history[f"{variant}/averages"][1, 0], averages, rtol=1e-4)
        np.testing.assert_allclose(fit.history[f"{variant}/gini"][1, 0], gini(averages), rtol=1e-4)
        np.testing.assert_allclose(fit.history[f"{variant}/gini now"][1, 0], gini(own.norms), rtol=1e-4)
        np.testing.assert_allclose(fit.history[f"{variant}/median"][1, 0], np.median(averages, 1), rtol=1e-4)
    np.testing.assert_allclose(fit.history["training/loss"][1, 0], own.losses, rtol=1e-5)


def test_a_lane_of_classes_has_the_matrices_of_the_measure():
    fit = jax.jit(lambda train, key: train(key, Condition(jnp.int32(0))))(lane(of="classes"), KEYS[1])
    for variant in ("indirect", "total"):
        own = class_loss_sensitivity(*arguments(0, KEYS[1]), variant=variant)
        np.testing.assert_allclose(fit.history[f"{variant}/matrix"][0], own.matrix, rtol=1e-4)
    assert fit.history["training/accuracy"].shape == (1,)


def test_a_lane_that_overflows_says_from_which_target_on():
    lane = SensitivityLane(CONDITIONS, MODEL, lambda outputs, labels: jnp.square(outputs).sum(-1), 50.0, 0.0, 4, (1, 6))
    fit = jax.jit(lambda train, key: train(key, Condition(jnp.int32(0))))(lane, KEYS[0])
    assert int(fit.diverged_at) == 6
    assert np.isfinite(fit.history["indirect/gini"]).tolist() == [True, False]


@pytest.mark.parametrize("targets", [(), (0, 3), (6, 3), (3, 3)])
def test_targets_that_do_not_rise_and_batches_that_are_too_large_are_refused(targets):
    with pytest.raises(BadInput, match="are not numbers of updates that rise from 1 or more"):
        lane(targets=targets)
    with pytest.raises(BadInput, match="batch_size: 13 is not from 1 to 12"):
        lane(batch_size=13)
