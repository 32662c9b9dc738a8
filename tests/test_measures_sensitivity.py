"""Loss-sensitivity against autodiff of the unrolled training, and its laws, closed form and wrong arguments."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlrisk.data import EpochSampler, epoch_order
from mlrisk.errors import BadInput
from mlrisk.harness import make_train
from mlrisk.measures import SGD, class_loss_sensitivity, loss_sensitivity
from mlrisk.measures.unrolled import input_gradients
from mlrisk.models import mlp
from mlrisk.objectives import classification
from mlrisk.objectives.classification import cross_entropy
from mlrisk.prng import stream
from mlrisk.types import Examples

N, CLASSES, STEPS, BATCH, TARGETS = 10, 3, 9, 4, (7, 2, 9)
MODEL = mlp((2, 3), (5, 4), CLASSES, activation="tanh")
KEY = jax.random.key(3)


@functools.cache
def problem(dtype=jnp.float32):
    """Parameters, examples, and a schedule with a repeated row in the last step and a rate of its own each step."""
    keys = jax.random.split(KEY, 4)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), MODEL.init(keys[0]))
    inputs = jax.random.normal(keys[1], (N, 2, 3), dtype)
    labels = jnp.arange(N, dtype=jnp.int32) % CLASSES
    order = jax.random.randint(keys[2], (STEPS, BATCH), 0, N, jnp.int32)
    order = order.at[-1].set(jnp.asarray([1, 1, 2, 0], jnp.int32))
    return params, Examples(inputs, labels), SGD(order, jnp.linspace(0.5, 0.2, STEPS, dtype=dtype))


def unrolled(params, examples, sgd, weights):
    """The derivatives of all weighted losses, by autodiff through one scan with optax's rule: (indirect, direct)."""
    rule = optax.sgd(lambda step: sgd.learning_rate[step], sgd.momentum or None, nesterov=sgd.nesterov)

    def losses(trained_on, judged_on):
        def step(carry, rows):
            def mean(params):
                return cross_entropy(MODEL.apply(params, trained_on[rows]), examples.labels[rows]).mean()

            updates, state = rule.update(jax.grad(mean)(carry[0]), carry[1], carry[0])
            params = optax.apply_updates(carry[0], updates)
            return (params, state), params

        passed = jax.lax.scan(step, (params, rule.init(params)), sgd.order)[1]
        reached = jax.tree.map(lambda leaf: leaf[jnp.asarray(TARGETS) - 1], passed)
        return jax.vmap(lambda own: weights @ cross_entropy(MODEL.apply(own, judged_on), examples.labels))(reached)

    return jax.jit(jax.jacrev(losses, (0, 1)))(examples.inputs, examples.inputs)


def gradients(params, examples, sgd, weights, targets=TARGETS, segment=1):
    return input_gradients(
        MODEL.apply, params, examples, sgd, weights, loss=cross_entropy, targets=targets, segment=segment
    )


@pytest.mark.parametrize(
    ("dtype", "momentum", "nesterov", "segment", "tolerance"),
    [
        pytest.param(jnp.float32, 0.0, False, 1, 1e-5, marks=pytest.mark.slow),
        (jnp.float64, 0.7, True, 4, 1e-11),
        (jnp.float32, 0.7, True, 2, 1e-5),
        pytest.param(jnp.float64, 0.0, False, 2, 1e-11, marks=pytest.mark.slow),
        pytest.param(jnp.float64, 0.7, False, 1, 1e-11, marks=pytest.mark.slow),
    ],
)
def test_the_adjoint_is_the_derivative_of_the_unrolled_training(dtype, momentum, nesterov, segment, tolerance):
    with jax.enable_x64(dtype == jnp.float64), jax.numpy_dtype_promotion("standard"):
        params, examples, sgd = problem(dtype)
        sgd = SGD(sgd.order, sgd.learning_rate, momentum, nesterov)
        weights = jnp.concatenate([jnp.full((1, N), 1 / N, dtype), jax.random.normal(KEY, (2, N), dtype)])
        found = gradients(params, examples, sgd, weights, segment=segment)
        for got, expected in zip(found[:2], unrolled(params, examples, sgd, weights), strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("segment", [4, 20])
def test_states_that_are_computed_again_change_nothing(segment):
    params, examples, sgd = problem()
    sgd = SGD(sgd.order, sgd.learning_rate, 0.5)
    stored, again = (gradients(params, examples, sgd, jnp.ones((1, N)), segment=s) for s in (1, segment))
    for one, other in zip(jax.tree.leaves(stored), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("segment", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_each_time_is_as_if_it_had_been_asked_for_alone(segment):
    """Long enough for several stages, with times in no order, twice, and within one segment."""
    params, examples, _ = problem()
    sgd, weights = SGD(epoch_order(KEY, N, BATCH, 160), 0.1), jnp.ones((1, N))
    together = gradients(params, examples, sgd, weights, (3, 150, 149, 60, 150), segment)
    for place, time in ((1, 150), (3, 60)):
        alone = gradients(params, examples, sgd, weights, (time,)).indirect[0]
        np.testing.assert_allclose(together.indirect[place], alone, atol=1e-4 * float(jnp.abs(alone).max()))
    np.testing.assert_array_equal(together.indirect[1], together.indirect[4])


@pytest.mark.parametrize("variant", ["indirect", "total"])
def test_norms_are_those_of_the_gradients(variant):
    params, examples, sgd = problem()
    found = gradients(params, examples, sgd, jnp.full((1, N), 1 / N))
    flat = (np.asarray(found.indirect) + (variant == "total") * np.asarray(found.direct)).reshape(3, N, -1)
    norms: list[tuple[Literal["l1", "l2", "linf"], float]] = [("l1", 1), ("l2", 2), ("linf", np.inf)]
    for norm, order in norms:
        own = loss_sensitivity(MODEL.apply, params, examples, sgd, TARGETS, norm=norm, variant=variant)
        np.testing.assert_allclose(own.norms, np.linalg.norm(flat, order, axis=-1), rtol=1e-5)
        np.testing.assert_allclose(own.mean, own.norms.mean(0), rtol=1e-6)
        assert not own.overflowed.any()


def test_one_step_of_a_linear_model_has_a_closed_form():
    """``l = w x - y x`` has ``dl/dw = x``: after one step ``w = w0 - lr mean x_B``, so ``dL/dx_i = -lr mean(x) / B``."""
    inputs = jnp.asarray([[1.0], [2.0], [4.0], [-1.0]])
    sgd = SGD(jnp.asarray([[0, 2]]), 0.25)
    found = loss_sensitivity(
        lambda w, x: w * x[:, 0], jnp.float32(3), Examples(inputs, jnp.zeros(4, jnp.int32)), sgd, [1],
        loss=lambda outputs, labels: outputs,
    )  # fmt: skip
    np.testing.assert_allclose(found.norms[0], 0.25 * 1.5 / 2 * np.asarray([1, 0, 1, 0]), rtol=1e-6)
    np.testing.assert_allclose(found.params, 3 - 0.25 * 2.5, rtol=1e-6)


def test_examples_never_used_have_no_indirect_effect():
    params, examples, sgd = problem()
    sgd = SGD(jnp.where(sgd.order == 5, 6, sgd.order), 0.3)
    norms = loss_sensitivity(MODEL.apply, params, examples, sgd, TARGETS).norms
    assert (norms[:, 5] == 0).all()
    assert (norms[0, 6] > 0).all()


def test_jit_and_vmap_over_lanes_agree_with_single_calls():
    _, examples, sgd = problem()
    lanes = [MODEL.init(key) for key in jax.random.split(KEY, 2)]
    orders = jnp.stack([sgd.order, sgd.order[::-1]])

    def lane(params, order):
        return loss_sensitivity(MODEL.apply, params, examples, SGD(order, sgd.learning_rate, 0.5), TARGETS).norms

    together = jax.jit(jax.vmap(lane))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes), orders)
    for number, own in enumerate(lanes):
        np.testing.assert_allclose(together[number], lane(own, orders[number]), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("variant", ["indirect", "total"])
def test_class_sensitivity_is_the_mean_over_classes_of_single_gradients(variant):
    params, examples, sgd = problem()
    found = class_loss_sensitivity(MODEL.apply, params, examples, sgd, TARGETS, variant=variant)
    labels = np.asarray(examples.labels)
    member = jnp.asarray(labels == np.arange(CLASSES)[:, None], jnp.float32)
    each = gradients(params, examples, sgd, member)
    norms = np.abs(np.asarray(each.indirect) + (variant == "total") * np.asarray(each.direct)).sum((3, 4)).mean(0)
    expected = [[row[labels == of].mean() for of in range(CLASSES)] for row in norms]
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-5)
    assert found.overflowed.shape == (3, CLASSES)


def test_losses_and_gradients_that_overflow_are_flagged_and_never_numbers():
    _, examples, sgd = problem()
    linear = mlp((2, 3), (5,), CLASSES, activation="linear")

    def squares(outputs, labels):
        return jnp.square(outputs).sum(-1)

    found = loss_sensitivity(
        linear.apply, linear.init(KEY), examples, SGD(sgd.order, 5.0), (1, 9), loss=squares, norm="l2"
    )
    assert found.overflowed.tolist() == [False, True]
    assert np.isfinite(found.norms[0]).all()
    assert np.isnan(found.norms[1]).all()
    assert np.isnan(found.mean).all()


def test_the_order_of_a_sampler_repeats_the_training_of_the_harness():
    _, examples, _ = problem()
    sampler = EpochSampler(examples, BATCH)
    train = make_train(MODEL, classification(MODEL), optax.sgd(0.3, 0.8), sampler, num_steps=STEPS)
    state = jax.jit(lambda train: train(KEY))(train).state
    order = epoch_order(stream(KEY, "data"), N, BATCH, STEPS)
    found = loss_sensitivity(MODEL.apply, MODEL.init(stream(KEY, "init")), examples, SGD(order, 0.3, 0.8), [STEPS])
    for one, other in zip(jax.tree.leaves(found.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def changed(**changes):
    """The arguments of a call with some of them replaced."""
    params, examples, sgd = problem()
    given = {"inputs": examples.inputs, "labels": examples.labels, "targets": TARGETS, "order": sgd.order,
             "learning_rate": 0.1, "momentum": 0.0} | changes  # fmt: skip
    rule = SGD(given["order"], given["learning_rate"], given["momentum"])
    rest = {name: given[name] for name in ("norm", "variant", "segment") if name in given}
    return (MODEL.apply, params, Examples(given["inputs"], given["labels"]), rule, given["targets"]), rest


WRONG = {
    "no steps": ({"order": jnp.zeros((0, 4), jnp.int32)}, "order: 0 steps; at least 1 update"),
    "a step too far": ({"targets": (3, 10)}, r"targets: 10 is not from 1 to 9 \(the number of steps\)"),
    "step 0": ({"targets": (0,)}, "targets: 0 is not from 1 to 9"),
    "no targets": ({"targets": ()}, "targets: no times"),
    "label": ({"labels": jnp.full(N, 3)}, r"labels: some are outside 0 to 2 \(the model has 3 outputs\)"),
    "float labels": ({"labels": jnp.zeros(N)}, "labels: dtype float32 is not an integer type"),
    "label count": ({"labels": jnp.zeros(3, jnp.int32)}, r"labels: shape \(3,\) is not \(10,\)"),
    "nan": ({"inputs": jnp.full((N, 2, 3), jnp.nan)}, "inputs: 60 of 60 values are not finite"),
    "integers": ({"inputs": jnp.ones((N, 2, 3), jnp.int32)}, r"inputs: int32 of shape \(10, 2, 3\) is not floats"),
    "rank": ({"inputs": jnp.ones(N)}, r"inputs: float32 of shape \(10,\) is not floats \(n, \*shape\)"),
    "flat order": ({"order": jnp.zeros(4, jnp.int32)}, r"order: int32 of shape \(4,\) is not integer rows"),
    "row": ({"order": jnp.full((9, 4), 10)}, r"order: has rows outside 0 to 9 \(there are 10 examples\)"),
    "batch": ({"order": jnp.zeros((9, 11), jnp.int32)}, "order: batches of 11 are not from 1 to 10"),
    "rate": ({"learning_rate": 0.0}, "learning_rate: 0.0 is not positive"),
    "rates": ({"learning_rate": jnp.ones(3)}, r"learning_rate: shape \(3,\) is not \(\) or \(9,\)"),
    "momentum": ({"momentum": 1.0}, r"momentum: 1.0 is not in \[0, 1\)"),
    "norm": ({"norm": "l3"}, "norm: 'l3' is not one of l1, l2, linf"),
    "variant": ({"variant": "totl"}, "variant: 'totl' is not one of indirect, total; did you mean 'total'?"),
    "segment": ({"segment": 0}, "segment: 0 is not a positive number of updates"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("measure", [loss_sensitivity, class_loss_sensitivity])
def test_wrong_arguments_get_one_line(measure, name, as_a_user):
    changes, line = WRONG[name]
    arguments, rest = changed(**changes)
    with pytest.raises(BadInput, match=line):
        measure(*arguments, **rest)


def test_one_class_has_no_sensitivity_between_classes(as_a_user):
    arguments, _ = changed(labels=jnp.ones(N, jnp.int32))
    with pytest.raises(BadInput, match="labels: only one class"):
        class_loss_sensitivity(*arguments)


@pytest.mark.parametrize(("size", "batch_size", "num_steps"), [(10, 3, 7), (4, 4, 3)])
def test_epoch_order_is_the_samplers(size, batch_size, num_steps):
    sampler = EpochSampler(Examples(jnp.arange(size * 1.0)[:, None], jnp.arange(size)), batch_size)
    order = epoch_order(KEY, size, batch_size, num_steps)
    batch = jax.jit(lambda step: sampler(KEY, step).labels)
    for step in range(num_steps):
        np.testing.assert_array_equal(order[step], batch(step))
    with pytest.raises(BadInput, match="batch_size: 11 is not from 1 to 10"):
        epoch_order(KEY, 10, 11, 3)
    with pytest.raises(BadInput, match="num_steps: 0 is not a positive number of steps"):
        epoch_order(KEY, 10, 2, 0)
