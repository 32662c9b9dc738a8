"""Laws that every classifier must keep, over a table of constructors."""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.models import alexnet_small, mlp
from mlrisk.objectives import classification
from mlrisk.types import Aux, Examples

SMALL = {"channels": (5, 6), "kernel": 3, "dense": (24, 16), "pool": 2}


def dense_count(*sizes, bias=True):
    return sum(a * b + bias * b for a, b in itertools.pairwise(sizes))


def conv_count(kernel, *channels):
    """Kernels without bias, and the scale and shift of the batch norm after each."""
    return sum(kernel**2 * a * b + 2 * b for a, b in itertools.pairwise(channels))


# name: (constructor, input shape, number of trainable parameters)
MODELS = {
    "linear": (functools.partial(mlp, (6,), (), 3), (6,), dense_count(6, 3)),
    # the first kernel has more weights than one block of draws
    "mlp": (functools.partial(mlp, (15, 10), (120, 5), 3, init="lecun_normal"), (15, 10), dense_count(150, 120, 5, 3)),
    "mlp, tanh, glorot": (
        functools.partial(mlp, (6,), (8,), 3, activation="tanh", init="glorot_uniform"),
        (6,),
        dense_count(6, 8, 3),
    ),
    "cnn, valid, crop": (
        functools.partial(alexnet_small, (14, 14, 2), 3, **SMALL, crop=2),
        (14, 14, 2),
        # 14 -> 10 -> 8 -> 4 -> 2 -> 1 pixels
        conv_count(3, 2, 5, 6) + dense_count(6, 24, 16, bias=False) + 2 * (24 + 16) + dense_count(16, 3),
    ),
    "cnn, same, overlapping pools": (
        functools.partial(alexnet_small, (8, 8, 1), 3, **SMALL | {"pool": 3}, pool_stride=2, crop=0, padding="SAME"),
        (8, 8, 1),
        # 8 -> 8 -> 3 -> 3 -> 1 pixels
        conv_count(3, 1, 5, 6) + dense_count(6, 24, 16, bias=False) + 2 * (24 + 16) + dense_count(16, 3),
    ),
}


class Case(NamedTuple):
    """A model, parameters from key 0, a batch of seven, and its functions compiled once for all tests."""

    model: Any
    params: Any
    batch: Examples
    init: Any
    apply: Any
    loss_and_gradients: Any


@functools.cache
def built(name):
    make, shape, _ = MODELS[name]
    model = make()
    objective = classification(model)
    inputs = np.random.default_rng(1).standard_normal((7, *shape))
    batch = Examples(jnp.asarray(inputs, jnp.float32), jnp.arange(7, dtype=jnp.int32) % 3)

    def loss(params, inputs):
        return objective(params, Examples(inputs, batch.labels), None, jax.random.key(2))

    init = jax.jit(model.init)
    gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return Case(model, init(jax.random.key(0)), batch, init, jax.jit(model.apply), gradients)


every_model = pytest.mark.parametrize("name", MODELS)


def assert_trees_equal(left, right, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


@every_model
def test_the_key_decides_the_parameters(name):
    case = built(name)
    assert_trees_equal(case.params, case.init(jax.random.key(0)), rtol=0)
    other = case.init(jax.random.key(1))
    drawn = [(a, b) for a, b in zip(jax.tree.leaves(case.params), jax.tree.leaves(other), strict=True) if a.ndim > 1]
    assert drawn
    assert all(float(jnp.abs(a - b).max()) > 0 for a, b in drawn)


@pytest.mark.parametrize("name", ["linear", "cnn, valid, crop"])
def test_no_key_is_used_twice(name):
    case = built(name)
    with jax.debug_key_reuse(True):
        params = jax.jit(case.model.init)(jax.random.key(3))
        step = jax.jit(lambda params, key: classification(case.model)(params, case.batch, None, key)[0])
        step(params, jax.random.key(4))


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn, valid, crop"])
def test_jit_equals_eager(name):
    case = built(name)
    eager = case.model.apply(case.params, case.batch.inputs)
    np.testing.assert_allclose(eager, case.apply(case.params, case.batch.inputs), rtol=1e-4, atol=1e-5)


def test_jitted_and_eager_initialisation_are_equal():
    case = built("mlp")
    assert_trees_equal(case.params, case.model.init(jax.random.key(0)), rtol=1e-6)


@every_model
def test_vmap_over_keys_equals_a_loop(name):
    case = built(name)
    keys = jax.random.split(jax.random.key(5), 3)
    together = jax.jit(jax.vmap(lambda key: case.model.apply(case.model.init(key), case.batch.inputs)))(keys)
    alone = jnp.stack([case.apply(case.init(key), case.batch.inputs) for key in keys])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@every_model
def test_a_prediction_depends_on_its_own_input_only(name):
    case = built(name)
    inputs = case.batch.inputs
    before = case.apply(case.params, inputs)
    for row in range(7):
        changed = case.apply(case.params, inputs.at[row].multiply(-2.0)) != before
        assert changed[row].any()
        assert not jnp.delete(changed, row, axis=0).any()


@every_model
def test_parameters_are_counted_by_the_formula(name):
    leaves = jax.tree.leaves(built(name).params["params"])
    assert sum(math.prod(leaf.shape) for leaf in leaves) == MODELS[name][2]


@every_model
def test_all_is_float32(name):
    case = built(name)
    logits = case.apply(case.params, case.batch.inputs)
    assert logits.shape == (7, 3)
    assert {leaf.dtype for leaf in jax.tree.leaves([case.params, logits])} == {jnp.dtype("float32")}


@every_model
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 1e3])
def test_gradients_are_finite(name, scale):
    case = built(name)
    _, gradients = case.loss_and_gradients(case.params, scale * case.batch.inputs)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))
    assert any(bool(jnp.abs(leaf).max() > 0) for leaf in jax.tree.leaves(gradients["params"]))


@every_model
def test_a_step_down_the_gradient_lowers_the_loss(name):
    case = built(name)
    (before, _), gradients = case.loss_and_gradients(case.params, case.batch.inputs)
    stepped = jax.tree.map(lambda p, g: p - 1e-3 * g, case.params, gradients)
    (after, _), _ = case.loss_and_gradients(stepped, case.batch.inputs)
    assert after < before


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("cnn")])
def test_batch_statistics_move_towards_the_batch_and_carry_no_gradient(name):
    case = built(name)
    inputs, state = case.batch.inputs, case.params
    (_, aux), gradients = case.loss_and_gradients(state, inputs)
    assert isinstance(aux, Aux)
    assert set(aux.state) == {"batch_stats"}
    assert jax.tree.structure(aux.state["batch_stats"]) == jax.tree.structure(state["batch_stats"])
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradients["batch_stats"]))

    train = jax.jit(case.model.apply_train)
    for _ in range(100):
        logits, new = train(state, inputs, jax.random.key(0))
        state = {**state, **new}
    # after many steps on one batch the running averages are that batch's own
    np.testing.assert_allclose(case.apply(state, inputs), logits, rtol=1e-3, atol=1e-3)


def test_running_averages_keep_the_stated_share():
    def averages(momentum):
        model = alexnet_small((6, 6, 1), 3, channels=(4,), kernel=3, dense=(), pool=2, crop=0, momentum=momentum)
        params = jax.jit(model.init)(jax.random.key(0))
        inputs = jnp.asarray(np.random.default_rng(1).standard_normal((9, 6, 6, 1)), jnp.float32)
        _, state = jax.jit(model.apply_train)(params, inputs, jax.random.key(2))
        return params["batch_stats"], state["batch_stats"]

    old, direct = averages(0.0)
    _, kept = averages(0.75)
    blend = jax.tree.map(lambda before, batch: 0.75 * before + 0.25 * batch, old, direct)
    assert_trees_equal(kept, blend, rtol=1e-5, atol=1e-6)


def test_the_published_network_has_the_published_layers():
    model = alexnet_small((32, 32, 3), 10)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    kernels = [leaf.shape for leaf in jax.tree.leaves(shapes["params"]) if leaf.ndim > 1]
    # 32 -> 28 -> 24 -> 8 -> 4 -> 1 pixels, so that 200 values reach the first dense layer
    assert sorted(kernels) == sorted([(5, 5, 3, 200), (5, 5, 200, 200), (200, 384), (384, 192), (192, 10)])


MISTAKES = {
    "activation": lambda: mlp((4,), (3,), 2, activation="rellu"),
    "init": lambda: mlp((4,), (3,), 2, init="he"),
    "hidden_sizes": lambda: mlp((4,), (3, 0), 2),
    "num_classes": lambda: mlp((4,), (3,), -1),
    "input_shape": lambda: mlp((), (3,), 2),
    "inputs": lambda: mlp((4,), (), 2).apply(mlp((4,), (), 2).init(jax.random.key(0)), jnp.zeros((2, 5))),
    "padding": lambda: alexnet_small((32, 32, 3), 10, padding="FULL"),
    "crop": lambda: alexnet_small((8, 8, 1), 10, crop=4),
    "momentum": lambda: alexnet_small((32, 32, 3), 10, momentum=1.0),
    "kernel": lambda: alexnet_small((8, 8, 1), 10, crop=2),
    "pool": lambda: alexnet_small((12, 12, 1), 10, crop=0, channels=(4,), kernel=11),
    "channels": lambda: alexnet_small((32, 32, 3), 10, channels=()),
    "dense": lambda: alexnet_small((32, 32, 3), 10, dense=(1.5,)),
}


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("field", MISTAKES)
def test_a_mistake_gets_one_line_that_names_the_field(field):
    with pytest.raises(BadInput) as caught:
        MISTAKES[field]()
    assert str(caught.value).startswith(f"{field}: ")
    assert "\n" not in str(caught.value)
