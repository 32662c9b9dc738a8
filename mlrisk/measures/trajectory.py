"""The states that stochastic gradient descent passes through, as a pure function of its schedule."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput
from mlrisk.types import Examples, Params, Scalar, is_concrete

Apply = Callable[[Params, Array], Array]
"""``(params, inputs) -> outputs`` on a batch."""

ExampleLoss = Callable[[Array, Array], Array]
"""``(outputs, labels) -> losses``, one an example."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["order", "learning_rate"],
    meta_fields=["momentum", "nesterov"],
)
@dataclasses.dataclass(frozen=True)
class SGD:
    """The updates of a run: which examples were each step's batch, and the constants of the rule.

    ``v <- momentum v + grad(mean loss of the batch)``; ``theta <- theta - learning_rate v``, or with ``nesterov``
    ``theta <- theta - learning_rate (grad + momentum v)``: the conventions of `optax.sgd`.

    Args:
        order: the rows of each step's batch (steps, batch), such as `mlrisk.data.epoch_order` gives.
        learning_rate: a number, or one a step (steps,); positive.
        momentum: in [0, 1) (static).
        nesterov: whether the update looks ahead (static).
    """

    order: Int[Array, "steps batch"]
    learning_rate: Float[Array, "..."] | float
    momentum: float = 0.0
    nesterov: bool = False


class State(NamedTuple):
    """Parameters and velocity before a step; no velocity without momentum."""

    params: Params
    velocity: Params | None


class Problem(NamedTuple):
    """What is trained on what: a mean of losses of examples."""

    apply: Apply
    loss: ExampleLoss
    examples: Examples

    def losses(self, params: Params, inputs: Array, labels: Array) -> Float[Array, " n"]:
        """The loss of each example."""
        return self.loss(self.apply(params, inputs), labels)

    def mean(self, params: Params, inputs: Array, labels: Array) -> Scalar:
        """The mean loss of a batch."""
        return self.losses(params, inputs, labels).mean()

    def batch(self, rows: Int[Array, " batch"]) -> tuple[Array, Array]:
        """The inputs and labels of one step."""
        inputs, labels = jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), self.examples)
        return inputs, labels


class Steps(NamedTuple):
    """A schedule in segments: rows (segments, steps, batch), rates and step numbers (segments, steps)."""

    rows: Int[Array, "segments steps batch"]
    rates: Float[Array, "segments steps"]
    numbers: Int[Array, "segments steps"]

    def between(self, first: int, last: int) -> "Steps":
        """Segments ``first`` to ``last - 1``."""
        return Steps(*(leaf[first:last] for leaf in self))


def in_segments(sgd: SGD, count: int, length: int, dtype: jnp.dtype) -> Steps:
    """The first ``count`` steps in segments of ``length``, the last filled up with steps that change nothing."""
    filling = -count % length
    rates = jnp.broadcast_to(jnp.asarray(sgd.learning_rate, dtype), (sgd.order.shape[0],))[:count]
    rows = jnp.pad(sgd.order[:count], ((0, filling), (0, 0)))
    rates = jnp.pad(rates, (0, filling))
    numbers = jnp.arange(count + filling, dtype=jnp.int32)
    return Steps(*(leaf.reshape(-1, length, *leaf.shape[1:]) for leaf in (rows, rates, numbers)))


def start(sgd: SGD, params: Params) -> State:
    """The state before the first step."""
    return State(params, jax.tree.map(jnp.zeros_like, params) if sgd.momentum else None)


def update(problem: Problem, sgd: SGD, state: State, rows: Int[Array, " batch"], rate: Scalar) -> State:
    """One step of the rule."""
    grads = jax.grad(problem.mean)(state.params, *problem.batch(rows))
    velocity, towards = state.velocity, grads
    if sgd.momentum:
        velocity = jax.tree.map(lambda g, v: g + sgd.momentum * v, grads, velocity)
        towards = velocity
        if sgd.nesterov:
            towards = jax.tree.map(lambda g, v: g + sgd.momentum * v, grads, velocity)
    return State(jax.tree.map(lambda p, u: p - rate * u, state.params, towards), velocity)


def segment_starts(problem: Problem, sgd: SGD, params: Params, steps: Steps) -> State:
    """The state before each segment, and after the last: leaves (segments + 1, ...)."""

    def segment(state: State, own: Steps) -> tuple[State, State]:
        return states_within(problem, sgd, state, own, len(own.rates))[0], state

    end, before = lax.scan(segment, start(sgd, params), steps)
    return jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), before, end)


def states_within(problem: Problem, sgd: SGD, state: State, own: Steps, count: int) -> tuple[State, State]:
    """The state after ``count`` steps of one segment, and the states before each of them."""

    def step(state: State, one: tuple[Array, Array]) -> tuple[State, State]:
        return update(problem, sgd, state, *one), state

    return lax.scan(step, state, (own.rows[:count], own.rates[:count]))


def params_at(problem: Problem, sgd: SGD, starts: State, steps: Steps, times: Int[Array, " targets"]) -> Params:
    """The parameters after each number of updates in ``times``: leaves (targets, ...)."""
    length = steps.rates.shape[1]
    rows, rates = steps.rows.reshape(-1, steps.rows.shape[-1]), steps.rates.reshape(-1)

    def one(time: Int[Array, ""]) -> Params:
        nearest = time // length
        state = jax.tree.map(lambda leaf: leaf[nearest], starts)
        return lax.fori_loop(
            nearest * length, time, lambda s, state: update(problem, sgd, state, rows[s], rates[s]), state
        ).params

    return lax.map(one, times)


def require_schedule(sgd: SGD, count: int) -> None:
    """Refuse updates that cannot have been made on ``count`` examples.

    Raises:
        BadInput: a wrong shape, no steps, a batch that is empty or larger than the data, rows that are no
            examples, a learning rate that is not positive, or momentum outside [0, 1).
    """
    order = sgd.order
    if jnp.ndim(order) != 2 or not jnp.issubdtype(order.dtype, jnp.integer):
        raise BadInput(f"order: {order.dtype} of shape {jnp.shape(order)} is not integer rows (steps, batch)")
    steps, batch = order.shape
    if steps < 1:
        raise BadInput("order: 0 steps; at least 1 update is needed")
    if not 1 <= batch <= count:
        raise BadInput(f"order: batches of {batch} are not from 1 to {count} (the number of examples)")
    if is_concrete(order) and not np.isin(np.asarray(order), np.arange(count)).all():
        raise BadInput(f"order: has rows outside 0 to {count - 1} (there are {count} examples)")
    if jnp.shape(sgd.learning_rate) not in ((), (steps,)):
        raise BadInput(f"learning_rate: shape {jnp.shape(sgd.learning_rate)} is not () or ({steps},), one a step")
    if is_concrete(sgd.learning_rate) and not (np.asarray(sgd.learning_rate) > 0).all():
        raise BadInput(f"learning_rate: {sgd.learning_rate} is not positive")
    if not 0 <= sgd.momentum < 1:
        raise BadInput(f"momentum: {sgd.momentum} is not in [0, 1)")
