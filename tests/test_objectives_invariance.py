"""Penalties across domains against autodiff, loops and closed forms: IRMv1, IGA, Fishr, CORAL, MMD, bottlenecks."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlrisk import objectives
from mlrisk.errors import BadInput
from mlrisk.objectives import GradientVariances, Smoothed

M, N, D, C = 3, 8, 5, 4


def draws(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


LOGITS, BINARY = draws(N, C, seed=1), 2 * draws(N, seed=2)
LABELS, BITS = jnp.arange(N) % C, jnp.arange(N) % 2
FEATURES = draws(M, N, D, seed=3) * jnp.asarray([1.0, 2.0, 0.5])[:, None, None]


def scaled_risk(scale, logits, labels):
    if logits.ndim == 1:
        return optax.sigmoid_binary_cross_entropy(scale * logits, labels.astype(jnp.float32)).mean()
    return optax.softmax_cross_entropy_with_integer_labels(scale * logits, labels).mean()


@pytest.mark.parametrize(("logits", "labels"), [(LOGITS, LABELS), (BINARY, BITS)], ids=["softmax", "binary"])
def test_irm_v1_is_the_squared_derivative_in_the_scale(logits, labels):
    slope = jax.grad(scaled_risk)
    np.testing.assert_allclose(objectives.irm_v1_penalty(logits, labels), slope(1.0, logits, labels) ** 2, rtol=1e-4)
    halves = slope(1.0, logits[::2], labels[::2]) * slope(1.0, logits[1::2], labels[1::2])
    found = objectives.irm_v1_penalty(logits, labels, estimator="halves")
    np.testing.assert_allclose(found, halves, rtol=1e-4)
    np.testing.assert_allclose(
        jax.jit(objectives.irm_v1_penalty)(logits, labels), found * 0 + slope(1.0, logits, labels) ** 2, rtol=1e-4
    )
    gradient = jax.grad(lambda z: slope(1.0, z, labels) ** 2)(logits)
    np.testing.assert_allclose(jax.grad(objectives.irm_v1_penalty)(logits, labels), gradient, rtol=2e-4, atol=1e-7)


def test_two_classes_are_the_binary_case():
    both = jnp.stack([jnp.zeros(N), BINARY], axis=1)
    found = objectives.irm_v1_penalty(both, BITS)
    np.testing.assert_allclose(found, objectives.irm_v1_penalty(BINARY, BITS), rtol=1e-5)


def test_weights_leave_examples_out():
    kept = jnp.asarray([1.0, 1, 0, 1, 0, 1, 1, 0])
    whole = objectives.irm_v1_penalty(BINARY[kept > 0], BITS[kept > 0])
    np.testing.assert_allclose(objectives.irm_v1_penalty(BINARY, BITS, weights=kept), whole, rtol=1e-5)


def test_the_product_of_halves_has_no_bias():
    def risk_slope(indices):
        return objectives.irm_v1_penalty(BINARY[indices], BITS[indices], estimator="halves")

    pairs = jnp.asarray(list(itertools.product(range(N), range(N))))
    # all ordered pairs, drawn with replacement: the mean of products is the product of means
    np.testing.assert_allclose(jax.vmap(risk_slope)(pairs).mean(), objectives.irm_v1_penalty(BINARY, BITS), rtol=1e-4)


def test_iga_is_the_spread_of_gradients():
    def risks(w):
        return jnp.stack([jnp.mean((x @ w - 1) ** 2) for x in FEATURES])

    found = objectives.iga_penalty(jax.jacrev(risks)(jnp.ones(D)))
    each = jnp.stack([jax.grad(lambda w, e=e: risks(w)[e])(jnp.ones(D)) for e in range(M)])
    np.testing.assert_allclose(found, ((each - each.mean(0)[None]) ** 2).sum(), rtol=1e-5)
    assert objectives.iga_penalty(jnp.ones((M, D))) == 0


def test_last_layer_variances_are_those_of_per_example_gradients():
    kernel, bias = draws(D, C, seed=4), draws(C, seed=5)
    labels = jnp.broadcast_to(LABELS, (M, N))

    def loss(layer, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(x @ layer[0] + layer[1], y)

    each = jax.vmap(jax.vmap(jax.grad(loss), (None, 0, 0)), (None, 0, 0))((kernel, bias), FEATURES, labels)
    found = objectives.last_layer_variances(FEATURES, FEATURES @ kernel + bias[None, None], labels)
    np.testing.assert_allclose(found.kernel, each[0].var(1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.bias, each[1].var(1), rtol=1e-3, atol=1e-5)
    flat = jnp.concatenate([v.reshape(M, -1) for v in found], axis=1)
    np.testing.assert_allclose(objectives.fishr_penalty(found), ((flat - flat.mean(0)[None]) ** 2).mean(), rtol=1e-5)


def test_the_average_of_one_value_is_that_value():
    values = GradientVariances(draws(M, D, C) ** 2, draws(M, C) ** 2)
    state = Smoothed(jax.tree.map(jnp.zeros_like, values), jnp.zeros(()))
    for _ in range(3):
        state = objectives.smoothed(state, values, 0.9)
        np.testing.assert_allclose(objectives.fishr_penalty(state), objectives.fishr_penalty(values), rtol=1e-4)
    moved = jax.grad(lambda past: objectives.fishr_penalty(objectives.smoothed(past, values, 0.5)))(state)
    assert all(not leaf.any() for leaf in jax.tree.leaves(moved))


def test_coral_against_a_loop():
    apart = []
    for a, b in itertools.combinations(np.asarray(FEATURES), 2):
        means = ((a.mean(0) - b.mean(0)) ** 2).mean()
        apart.append(means + ((np.cov(a.T) - np.cov(b.T)) ** 2).mean())
    np.testing.assert_allclose(objectives.coral_penalty(FEATURES), np.mean(apart), rtol=1e-4)


def test_mmd_against_a_loop():
    def kernel(a, b):
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return sum(np.exp(-g * squared).mean() for g in (0.1, 2.0))

    pairs = itertools.combinations(np.asarray(FEATURES), 2)
    apart = [kernel(a, a) + kernel(b, b) - 2 * kernel(a, b) for a, b in pairs]
    np.testing.assert_allclose(objectives.mmd_penalty(FEATURES, (0.1, 2.0)), np.mean(apart), rtol=1e-3)


@pytest.mark.parametrize("penalty", [objectives.coral_penalty, objectives.mmd_penalty])
def test_alike_domains_cost_nothing(penalty):
    same = jnp.broadcast_to(FEATURES[:1], FEATURES.shape)
    assert abs(penalty(same)) < 1e-5 < penalty(FEATURES)
    np.testing.assert_allclose(jax.jit(penalty)(FEATURES), penalty(FEATURES), rtol=1e-4)
    assert jnp.isfinite(jax.grad(penalty)(same)).all()


def test_bottleneck_and_decoupling():
    expected = np.asarray(FEATURES).var(1, ddof=1).mean()
    np.testing.assert_allclose(objectives.information_bottleneck_penalty(FEATURES), expected, rtol=1e-5)
    np.testing.assert_allclose(objectives.spectral_decoupling_penalty(LOGITS), (LOGITS**2).mean(), rtol=1e-6)


def test_reversed_gradients():
    def plain(x):
        return jnp.sum(x**3)

    found = jax.grad(lambda x: plain(objectives.reverse_gradient(x, 0.7)))(BINARY)
    np.testing.assert_allclose(found, -0.7 * jax.grad(plain)(BINARY), rtol=1e-6)
    np.testing.assert_array_equal(objectives.reverse_gradient(BINARY, 0.7), BINARY)


def test_domain_confusion_weighs_classes_alike():
    scores = draws(M, N, M, seed=6)
    truth = jnp.broadcast_to(jnp.arange(M)[:, None], (M, N))
    losses = optax.softmax_cross_entropy_with_integer_labels(scores, truth)
    np.testing.assert_allclose(objectives.domain_confusion(scores), losses.mean(), rtol=1e-5)
    labels = jnp.asarray(np.random.default_rng(0).choice(2, (M, N), p=[0.8, 0.2]))
    each = [losses[labels == c].mean() for c in range(2)]
    found = objectives.domain_confusion(scores, labels, 2)
    np.testing.assert_allclose(found, np.mean(each), rtol=1e-5)


WRONG = {
    "logits: shape (2, 2, 2) is not": lambda: objectives.irm_v1_penalty(jnp.ones((2, 2, 2)), BITS[:2]),
    "labels: shape (3,) is not (8,)": lambda: objectives.irm_v1_penalty(BINARY, BITS[:3]),
    "labels: dtype float32 is not an integer": lambda: objectives.irm_v1_penalty(LOGITS, jnp.ones(N)),
    "estimator: 'half' is not one of": lambda: objectives.irm_v1_penalty(BINARY, BITS, estimator="half"),
    "weights: shape (2,) is not (8,)": lambda: objectives.irm_v1_penalty(BINARY, BITS, weights=jnp.ones(2)),
    "features: shape (1, 8, 5) is not (m, n, d)": lambda: objectives.coral_penalty(FEATURES[:1]),
    "features: shape (3, 1, 5) is not (m, n, d)": lambda: objectives.mmd_penalty(FEATURES[:, :1]),
    "gradients: fewer than 2 domains": lambda: objectives.iga_penalty(jnp.ones((1, 3))),
    "scores: shape (3, 8, 2) is not (m, n, m)": lambda: objectives.domain_confusion(jnp.ones((M, N, 2))),
    "num_classes: 0 is not": lambda: objectives.domain_confusion(jnp.ones((M, N, M)), jnp.ones((M, N), int)),
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_bad_input_is_one_line(line, as_a_user):
    with pytest.raises(BadInput) as caught:
        WRONG[line]()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
