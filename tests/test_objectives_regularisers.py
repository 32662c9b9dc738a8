"""The regularised objective: each part against its definition, strengths as lanes, and none of them as before."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.models import alexnet_small, mlp
from mlrisk.objectives import Adversarial, Regularisers, classification, cross_entropy, regularised, weight_penalty
from mlrisk.types import Aux, Examples, Model

KEY = jax.random.key(0)
MLP = mlp((6,), (16,), 3)
CNN = alexnet_small((8, 8, 1), 3, channels=(4,), dense=(6,), kernel=3, pool=2, crop=0, padding="SAME")


def attack(predict, inputs, key, radius=0.1):
    """One step against the predicted class, as any attack that a user may bring."""
    labels = predict(inputs).argmax(-1)
    uphill = jax.grad(lambda x: cross_entropy(predict(x), labels).sum())(inputs)
    return jnp.ones(labels.shape, bool), inputs + radius * jnp.sign(uphill)


PARTS = {
    "dropout": Regularisers(dropout=0.5),
    "input_dropout": Regularisers(input_dropout=0.5),
    "input_noise": Regularisers(input_noise=0.7),
    "hidden_noise": Regularisers(hidden_noise=0.7),
    "weight_decay": Regularisers(weight_decay=0.1),
    "adversarial": Regularisers(adversarial=Adversarial(0.5, attack)),
    "all": Regularisers(0.2, 0.1, 0.3, 0.4, 0.01, Adversarial(0.3, attack)),
}


def batch(model):
    shape = (6,) if model is MLP else (8, 8, 1)
    return Examples(jax.random.normal(jax.random.key(1), (12, *shape)), jnp.arange(12, dtype=jnp.int32) % 3)


@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_without_regularisers_it_is_the_plain_objective(model):
    params = model.init(KEY)
    plain = classification(model)(params, batch(model), None, KEY)
    loss, aux = regularised(model, Regularisers())(params, batch(model), None, KEY)
    np.testing.assert_array_equal(loss, plain[0])
    metrics = plain[1].metrics if isinstance(plain[1], Aux) else plain[1]
    jax.tree.map(np.testing.assert_array_equal, aux.metrics, metrics)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_gradients_are_finite_and_jit_equals_eager(model, name):
    params, objective = model.init(KEY), regularised(model, PARTS[name])
    gradient = jax.grad(lambda p: objective(p, batch(model), None, KEY)[0])
    eager, jitted = gradient(params), jax.jit(gradient)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), eager, jitted)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(jitted))
    assert float(objective(params, batch(model), None, KEY)[0]) != float(
        regularised(model, Regularisers())(params, batch(model), None, KEY)[0]
    )


def test_strengths_are_lanes_of_one_compile():
    params = MLP.init(KEY)
    objective = regularised(MLP, lambda hyper: Regularisers(dropout=hyper, weight_decay=hyper))
    lanes = jax.jit(jax.vmap(lambda s: objective(params, batch(MLP), s, KEY)[0]))(jnp.asarray([0.0, 0.3, 0.8]))
    for lane, strength in zip(lanes, (0.0, 0.3, 0.8), strict=True):
        fixed = regularised(MLP, Regularisers(dropout=strength, weight_decay=strength))
        np.testing.assert_allclose(lane, fixed(params, batch(MLP), None, KEY)[0], rtol=1e-5)


def test_weight_decay_pulls_kernels_by_its_strength_and_leaves_the_rest():
    params = CNN.init(KEY)
    pull = jax.grad(lambda p: weight_penalty(p, 0.3))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(pull):
        original = dict(jax.tree_util.tree_leaves_with_path(params))[path]
        expected = 0.3 * original if path[-1].key == "kernel" else jnp.zeros_like(original)
        np.testing.assert_allclose(leaf, expected, rtol=1e-6)


def test_adversarial_weight_mixes_clean_and_attacked_losses():
    weights = jnp.asarray([[2.0, -1.0], [0.5, 1.5]])
    linear = Model(lambda key: weights, lambda params, x: x @ params)
    points = Examples(jnp.asarray([[1.0, 0.2], [-1.0, 0.1], [0.3, 2.0]]), jnp.asarray([0, 1, 1]))
    strong = functools.partial(attack, radius=0.4)

    def loss(weight):
        objective = regularised(linear, Regularisers(adversarial=Adversarial(weight, strong)))
        return objective(weights, points, None, KEY)[0]

    clean = float(cross_entropy(points.inputs @ weights, points.labels).mean())
    assert float(loss(0.0)) == pytest.approx(clean)
    np.testing.assert_allclose(loss(0.25), 0.75 * loss(0.0) + 0.25 * loss(1.0), rtol=1e-6)
    # the gap between the two logits is x (w_0 - w_1); the attack can move it by the radius times an l1 norm
    most = 0.4 * float(jnp.abs(weights[:, 0] - weights[:, 1]).sum())
    assert 0 <= float(loss(1.0)) - clean <= most + 1e-6


def test_what_cannot_be_regularised_is_refused():
    bare = Model(MLP.init, MLP.apply)
    params = MLP.init(KEY)
    with pytest.raises(BadInput, match="model: has no apply_disturbed"):
        regularised(bare, Regularisers(dropout=0.5))(params, batch(MLP), None, KEY)
    with pytest.raises(BadInput, match=r"rate: 1.0 is not from 0 to below 1"):
        regularised(MLP, Regularisers(dropout=1.0))(params, batch(MLP), None, KEY)
    with pytest.raises(BadInput, match=r"weight_decay: -1.0 is not zero or more"):
        regularised(MLP, Regularisers(weight_decay=-1.0))(params, batch(MLP), None, KEY)
