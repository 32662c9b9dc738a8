"""Cross-entropy and accuracy against closed forms and optax, and what the objective hands to the loop."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlrisk.errors import BadInput
from mlrisk.objectives import accuracy, classification, cross_entropy
from mlrisk.types import Aux, Examples, Model

reference = optax.softmax_cross_entropy_with_integer_labels


@st.composite
def classified(draw):
    # one shape, so that every example runs the same compiled program
    shape = (4, 5)
    values = st.floats(-50, 50, width=32)
    logits = draw(hnp.arrays(np.float32, shape, elements=values))
    labels = draw(hnp.arrays(np.int32, shape[:1], elements=st.integers(0, shape[1] - 1)))
    return jnp.asarray(logits), jnp.asarray(labels)


@functools.cache
def value_and_gradient(loss):
    def weighted(logits, labels):
        losses = loss(logits, labels)
        return (losses * (1.0 + jnp.arange(4, dtype=jnp.float32))).sum(), losses

    return jax.jit(jax.value_and_grad(weighted, has_aux=True))


@given(classified())
def test_cross_entropy_equals_optax_in_value_and_gradient(case):
    (_, losses), gradient = value_and_gradient(cross_entropy)(*case)
    (_, expected), expected_gradient = value_and_gradient(reference)(*case)
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-5)


@given(classified(), st.floats(-100, 100, width=32))
def test_a_common_shift_of_the_logits_changes_nothing(case, shift):
    logits, labels = case
    moved = cross_entropy(logits + shift, labels)
    np.testing.assert_allclose(moved, cross_entropy(logits, labels), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("classes", [1, 2, 10])
def test_equal_logits_cost_the_log_of_the_number_of_classes(classes):
    losses = cross_entropy(jnp.zeros((classes, classes)), jnp.arange(classes))
    np.testing.assert_allclose(losses, np.log(classes), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes_is_seen(label):
    losses = cross_entropy(jnp.zeros((2, 3)), jnp.array([0, label]))
    np.testing.assert_array_equal(jnp.isnan(losses), [False, True])


def test_a_class_ruled_out_costs_nothing_where_it_is_not_the_label():
    logits = jnp.array([[0.0, 0.0, -jnp.inf]])
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([0])), np.log(2.0), rtol=1e-6)
    assert jnp.isfinite(jax.grad(lambda z: cross_entropy(z, jnp.array([0])).sum())(logits)).all()


def test_the_gradient_has_no_scatter_or_gather():
    gradient = jax.jit(jax.grad(lambda z, y: cross_entropy(z, y).mean()))
    program = gradient.lower(jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32)).as_text()
    assert "scatter" not in program
    assert "gather" not in program


@given(classified())
def test_accuracy_is_the_share_of_first_largest_logits(case):
    logits, labels = case
    expected = np.mean(np.argmax(np.asarray(logits), -1) == np.asarray(labels))
    np.testing.assert_allclose(accuracy(logits, labels), expected, rtol=1e-6)


def linear():
    return Model(
        init=lambda key: {"params": jax.random.normal(key, (4, 3))},
        apply=lambda params, inputs: inputs @ params["params"],
    )


def counting():
    """A linear model that counts its training steps, and predicts otherwise than it trains."""

    def apply_train(params, inputs, key):
        return 2 * inputs @ params["params"], {"steps": params["steps"] + 1}

    plain = linear()
    return Model(lambda key: {**plain.init(key), "steps": jnp.int32(0)}, plain.apply, apply_train)


def batch():
    return Examples(jax.random.normal(jax.random.key(1), (5, 4)), jnp.arange(5) % 3)


def test_a_stateless_model_gives_loss_and_metrics():
    model, (inputs, labels) = linear(), batch()
    params = model.init(jax.random.key(0))
    loss, metrics = classification(model)(params, batch(), None, jax.random.key(2))
    logits = model.apply(params, inputs)
    np.testing.assert_allclose(loss, cross_entropy(logits, labels).mean(), rtol=1e-6)
    assert set(metrics) == {"loss", "accuracy"}
    np.testing.assert_array_equal(metrics["loss"], loss)
    np.testing.assert_array_equal(metrics["accuracy"], accuracy(logits, labels))


def test_a_model_with_state_is_run_in_training_mode_and_hands_its_state_on():
    model, (inputs, labels) = counting(), batch()
    params = model.init(jax.random.key(0))
    loss, aux = classification(model)(params, batch(), None, jax.random.key(2))
    assert isinstance(aux, Aux)
    assert aux.state == {"steps": 1}
    np.testing.assert_allclose(loss, cross_entropy(2 * inputs @ params["params"], labels).mean(), rtol=1e-6)


MISTAKES = {
    "length": lambda: cross_entropy(jnp.zeros((4, 3)), jnp.zeros(3, jnp.int32)),
    "dtype": lambda: cross_entropy(jnp.zeros((4, 3)), jnp.zeros(4)),
    "accuracy": lambda: accuracy(jnp.zeros((4, 3)), jnp.zeros((4, 1), jnp.int32)),
}


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("case", MISTAKES)
def test_mistaken_labels_get_one_line(case):
    with pytest.raises(BadInput, match=r"^labels: [^\n]*$"):
        MISTAKES[case]()


def test_objectives_import_nothing_heavy():
    heavy = [
        "flax",
        "matplotlib",
        "tensorflow",
        "tensorflow_datasets",
        "sklearn",
        "pandas",
        "draccus",
        "pyarrow",
    ]
    code = f"import sys, mlrisk.objectives; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
