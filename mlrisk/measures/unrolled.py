"""Gradients of the losses during training with respect to the training inputs, through every update before them.

One sweep of the adjoint serves all times at once. With ``F_s`` the update of step s, ``z_s`` its state and
``lambda_s`` the derivative of a loss after t updates with respect to ``z_s``:

``lambda_t = dL/dz_t``,  ``lambda_s = (dF_s/dz)^T lambda_{s+1}``,  ``dL/dx = sum_{s<t} (dF_s/dx)^T lambda_{s+1}``.

Each product is one derivative of the batch gradient along a direction, vmapped over the losses that are under way.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from mlrisk.measures.trajectory import (
    SGD,
    Apply,
    ExampleLoss,
    Problem,
    State,
    Steps,
    in_segments,
    params_at,
    segment_starts,
    states_within,
)
from mlrisk.types import Examples, Params, Scalar

STAGES = 4
"""Into how many programs a long sweep is cut at most, so that losses that are not under way yet cost little."""
STAGE_STEPS = 50
"""Updates that are worth the compilation of one more."""


class InputGradients(NamedTuple):
    """What each loss owes to each training input.

    Attributes:
        indirect: through the updates that the input was part of (targets, parts, n, *shape).
        direct: through the loss itself, at fixed parameters; the same shape.
        losses: the losses (targets, parts).
        params: the parameters after each target's updates: leaves (targets, ...).
    """

    indirect: Float[Array, "targets parts n ..."]
    direct: Float[Array, "targets parts n ..."]
    losses: Float[Array, "targets parts"]
    params: Params


class _Adjoint(NamedTuple):
    """Derivatives of the losses under way (columns): by parameters and velocity, and so far by inputs (n, columns)."""

    params: Params
    velocity: Params | None
    inputs: Array


@functools.partial(jax.jit, static_argnames=("apply", "loss", "targets", "segment"))
def input_gradients(
    apply: Apply,
    params: Params,
    examples: Examples,
    sgd: SGD,
    weights: Float[Array, "parts n"],
    *,
    loss: ExampleLoss,
    targets: tuple[int, ...],
    segment: int = 1,
) -> InputGradients:
    """``d/dx of sum_i w_i l_i(theta_t)`` for all times t, weightings w and training inputs x, by one adjoint sweep.

    Args:
        apply: ``(params, inputs) -> outputs``.
        params: the parameters that training starts from.
        examples: the training set.
        sgd: the updates that were made.
        weights: what each loss is made of (parts, n): 1 / n everywhere for the mean loss.
        loss: ``(outputs, labels) -> losses``, one an example; twice differentiable almost everywhere.
        targets: numbers of updates after which the losses are taken, each from 1 to the number of steps (static).
        segment: updates between stored states (static); those between are computed again.

    Returns:
        `InputGradients`; values that overflow are infinite or NaN. The gradients take
        ``2 targets x parts x n x size of an input`` numbers, the states ``steps / segment + segment`` copies of the
        parameters.

    Source: Maclaurin, Duvenaud and Adams 2015, Gradient-based hyperparameter optimization through reversible learning.

    Differs: states are stored, or computed again from stored ones, where that paper runs the updates backwards.
    """
    problem = Problem(apply, loss, examples)
    times, parts = np.asarray(targets), weights.shape[0]
    steps = in_segments(sgd, int(times.max()), segment, examples.inputs.dtype)
    starts = segment_starts(problem, sgd, params, steps)
    reached = params_at(problem, sgd, starts, steps, jnp.asarray(times, jnp.int32))
    losses, cotangents, direct = lax.map(lambda own: _at_target(problem, own, weights), reached)
    cotangents = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), cotangents)
    owed = _sweep(problem, sgd, starts, steps, cotangents, np.repeat(times, parts))
    return InputGradients(jnp.moveaxis(owed, 0, 1).reshape(direct.shape), direct, losses, reached)


def _at_target(problem: Problem, params: Params, weights: Float[Array, "parts n"]) -> tuple[Array, Params, Array]:
    """The losses of one time (parts,), and their gradients with respect to parameters and, directly, inputs."""
    inputs, labels = problem.examples
    losses, pull = jax.vjp(lambda params, inputs: problem.losses(params, inputs, labels), params, inputs)
    by_params, by_inputs = jax.vmap(pull)(weights.astype(losses.dtype))
    return weights.astype(losses.dtype) @ losses, by_params, by_inputs


def _sweep(
    problem: Problem, sgd: SGD, starts: State, steps: Steps, cotangents: Params, times: np.ndarray
) -> Float[Array, "n columns ..."]:
    """Down from the last segment in stages; the losses of later times go through all of them."""
    segments, length = steps.rates.shape
    order = np.argsort(-times, kind="stable")
    stages = min(STAGES, len(times), 1 + segments * length // STAGE_STEPS)
    chunks = np.array_split(order, stages)
    # a stage ends in the segment where the first loss of the next stage begins
    edges = [segments, *(-(-int(times[chunk].max()) // length) for chunk in chunks[1:]), 0]
    adjoint = _begin(problem, sgd, jax.tree.map(lambda leaf: leaf[:0], cotangents))
    for number, chunk in enumerate(chunks):
        fresh = _begin(problem, sgd, jax.tree.map(lambda leaf, chunk=chunk: leaf[chunk], cotangents))
        last, first = edges[number], edges[number + 1]
        before = jax.tree.map(lambda leaf, first=first, last=last: leaf[first:last], starts)
        present = jnp.asarray(times[np.concatenate(chunks[: number + 1])], jnp.int32)
        adjoint = _stage(problem, sgd, _join(adjoint, fresh), before, steps.between(first, last), present)
    return adjoint.inputs[:, np.argsort(order)]


def _begin(problem: Problem, sgd: SGD, cotangents: Params) -> _Adjoint:
    inputs, columns = problem.examples.inputs, len(jax.tree.leaves(cotangents)[0])
    velocity = jax.tree.map(jnp.zeros_like, cotangents) if sgd.momentum else None
    return _Adjoint(cotangents, velocity, jnp.zeros((len(inputs), columns, *inputs.shape[1:]), inputs.dtype))


def _join(under_way: _Adjoint, fresh: _Adjoint) -> _Adjoint:
    params, velocity = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), under_way[:2], fresh[:2])
    return _Adjoint(params, velocity, jnp.concatenate([under_way.inputs, fresh.inputs], axis=1))


def _stage(
    problem: Problem, sgd: SGD, adjoint: _Adjoint, starts: State, steps: Steps, times: Int[Array, " columns"]
) -> _Adjoint:
    """Down through some segments: the states of each are computed again from the one before it."""

    def segment(adjoint: _Adjoint, own: tuple[State, Steps]) -> tuple[_Adjoint, None]:
        state, steps = own
        end, before = states_within(problem, sgd, state, steps, len(steps.rates) - 1)
        params = jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), before.params, end.params)

        def step(adjoint: _Adjoint, one: tuple[Params, Steps]) -> tuple[_Adjoint, None]:
            return _back(problem, sgd, adjoint, *one, times), None

        return lax.scan(step, adjoint, (params, steps), reverse=True)

    return lax.scan(segment, adjoint, (starts, steps), reverse=True)[0]


def _back(
    problem: Problem, sgd: SGD, adjoint: _Adjoint, params: Params, step: Steps, times: Int[Array, " columns"]
) -> _Adjoint:
    """Through one update, of which the velocity before it is no part: the rule is linear in it."""
    inputs, labels = problem.batch(step.rows)
    alive = times > step.numbers
    velocity, towards = _through_rule(sgd, adjoint, step.rates, alive)

    def along(direction: Params) -> tuple[Params, Array]:
        gradients = jax.grad(problem.mean, (0, 1))
        return jax.jvp(lambda params: gradients(params, inputs, labels), (params,), (direction,))[1]

    by_params, by_inputs = jax.vmap(along, out_axes=(0, 1))(towards)
    # parameters that diverge after a loss was taken must not reach it: 0 times infinity is NaN
    return _Adjoint(
        jax.tree.map(lambda p, change: p + _where(alive, change), adjoint.params, by_params),
        velocity,
        adjoint.inputs.at[step.rows].add(_where(alive, by_inputs, axis=1), mode="promise_in_bounds"),
    )


def _through_rule(
    sgd: SGD, adjoint: _Adjoint, rate: Scalar, alive: Bool[Array, " columns"]
) -> tuple[Params | None, Params]:
    """The derivatives by the velocity before an update, and by its batch gradient; 0 for losses taken before it."""
    if not sgd.momentum:
        return None, jax.tree.map(lambda p: _where(alive, -rate * p), adjoint.params)
    share = sgd.momentum if sgd.nesterov else 1.0
    after = jax.tree.map(lambda p, v: _where(alive, v - rate * share * p), adjoint.params, adjoint.velocity)
    before = jax.tree.map(lambda v: sgd.momentum * v, after)
    if not sgd.nesterov:
        return before, after
    return before, jax.tree.map(lambda p, v: v + _where(alive, -rate * p), adjoint.params, after)


def _where(alive: Bool[Array, " columns"], values: Array, axis: int = 0) -> Array:
    shape = [1] * values.ndim
    shape[axis] = len(alive)
    return jnp.where(alive.reshape(shape), values, jnp.zeros_like(values))
