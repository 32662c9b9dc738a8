"""The root of an increasing function inside a bracket, to a few ulp, and its derivative by the implicit rule."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

Increasing = Callable[[PyTree, Array], tuple[Array, Array]]
"""``(params, x) -> (f(x), log f'(x))``, elementwise in x; a static function, compared by identity or equality."""

Bracket = Callable[[PyTree, Array], tuple[Array, Array, Array]]
"""``(params, y) -> (low, high, start)`` with ``f(low) <= y <= f(high)``, and where to begin between them."""

MAX_STEPS = {4: 64, 8: 128}
"""Steps by bytes of the dtype: bisection alone would have exhausted any bracket of that precision by then."""


class _State(NamedTuple):
    x: Array
    low: Array
    high: Array
    last: Array
    active: Bool[Array, "*shape"]
    step: Int[Array, ""]


def find_root(
    function: Increasing, params: PyTree, target: Array, low: Array, high: Array, start: Array | None = None
) -> Float[Array, "*shape"]:
    """Solves ``f(x) = y`` by safeguarded Newton steps, elementwise over a batch; not differentiated through.

    A Newton step is taken where it stays inside the bracket and is at most half the last move;
    otherwise the bracket is halved. An element is done when it hits the target to rounding, or its bracket or its
    step is down to a few floats; the loop ends with the slowest element.

    Args:
        function: f with the logarithm of its derivative.
        params: its parameters, as it takes them.
        target: y.
        low: lower ends of the brackets, shaped as y.
        high: upper ends.
        start: where to begin; by default in the middle of the bracket.

    Returns:
        x, shaped as y. The error in y is a few ulp; that in x is this divided by ``f'(x)``.
    """
    low, high, target = (lax.stop_gradient(value) for value in (low, high, target))
    eps = jnp.finfo(target.dtype).eps
    # rounding of the bracket's own arithmetic must not exclude the root
    slack = 4 * eps * jnp.maximum(jnp.abs(low), jnp.abs(high)) + jnp.finfo(target.dtype).tiny
    low, high = low - slack, high + slack
    first = _between(low, high) if start is None else jnp.clip(start, low, high)
    state = _State(first, low, high, high - low, jnp.ones(target.shape, bool), jnp.int32(0))
    most = MAX_STEPS[target.dtype.itemsize]
    advance = partial(_advance, function, lax.stop_gradient(params), target, eps)
    return lax.while_loop(lambda s: (s.step < most) & s.active.any(), advance, state).x


def _advance(function: Increasing, params: PyTree, target: Array, eps: Any, state: _State) -> _State:
    x, low, high, last, active, step = state
    value, log_slope = function(params, x)
    off = value - target
    low, high = jnp.where(off <= 0, x, low), jnp.where(off >= 0, x, high)
    move = -off * jnp.exp(-log_slope)
    newton = x + move
    near = 4 * eps * jnp.abs(x) + jnp.finfo(target.dtype).tiny
    # what has hit the target stays: on a plateau, a step for the residual's last bits would lead far away
    hit = jnp.abs(off) <= 2 * eps * jnp.maximum(jnp.abs(target), 1)
    # at rounding a residual no longer shrinks by half: halving a one-sided bracket then would throw x away
    done = hit | (jnp.abs(move) <= near)
    good = (newton >= low) & (newton <= high) & ((jnp.abs(move) <= 0.5 * last) | done)
    candidate = jnp.where(good & ~hit, newton, jnp.where(done, x, _between(low, high)))
    moved = jnp.abs(candidate - x)
    done |= high - low <= near
    return _State(
        x=jnp.where(active, candidate, x),
        low=jnp.where(active, low, state.low),
        high=jnp.where(active, high, state.high),
        last=jnp.where(active, moved, last),
        active=active & ~done,
        step=step + 1,
    )


def _between(low: Array, high: Array) -> Array:
    return low + 0.5 * (high - low)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def implicit_inverse(function: Increasing, bracket: Bracket, params: PyTree, target: Array) -> Float[Array, "*shape"]:
    """The inverse of an increasing function: ``x`` with ``f(x; theta) = y``, differentiable in theta and y.

    Its derivative is that of the implicit function: ``dx = (dy - f_theta dtheta) / f'(x)``, which is right under
    jit, vmap, grad, jacfwd and at second order, however the root was found.

    Args:
        function: f with the logarithm of its derivative.
        bracket: ends between which the root lies, and where to begin.
        params: theta, a pytree.
        target: y.

    Returns:
        x, shaped as y.
    """
    return find_root(function, params, target, *bracket(params, target))


@implicit_inverse.defjvp
def _implicit_inverse_jvp(
    function: Increasing, bracket: Bracket, primals: tuple[PyTree, Array], tangents: tuple[PyTree, Array]
) -> tuple[Array, Array]:
    (params, target), (params_dot, target_dot) = primals, tangents
    x = implicit_inverse(function, bracket, params, target)
    (_, log_slope), (pushed, _) = jax.jvp(lambda p: function(p, x), (params,), (params_dot,))
    return x, (target_dot - pushed) * jnp.exp(-log_slope)
