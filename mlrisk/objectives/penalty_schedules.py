"""When a penalty switches on: its weight as a function of the step, and what becomes of loss and optimiser there."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mlrisk.types import Params, Scalar

Number = Float[Array, ""] | Int[Array, ""] | float | int


def stepped_weight(step: Int[Array, ""] | int, switch: Number, after: Number, before: Number = 1.0) -> Scalar:
    """A penalty's weight that changes once: ``before`` while ``step < switch``, then ``after``.

    Args:
        step: optimiser steps done, from 0.
        switch: first step with the weight ``after``; 0 has it from the start.
        after: the penalty weight.
        before: the weight until then; the published scripts use 1, not 0.

    Source: Krueger et al. (2021) and Arjovsky et al. (2019), code of the coloured MNIST experiments.
    """
    return jnp.where(jnp.asarray(step) < switch, jnp.float32(before), jnp.asarray(after, jnp.float32))


def rescaled(loss: Scalar, weight: Number) -> Scalar:
    """The whole loss divided by the penalty's weight where that is above 1, so that gradients stay of one size.

    With Adam this matters at the switch: the moments of the gradients before it are about ``weight`` times too large
    for a while, and ``eps`` counts for more.

    Args:
        loss: risks, weight decay and weighted penalty together.
        weight: the penalty's weight of this step.

    Source: Arjovsky et al. (2019), code of the coloured MNIST experiments.
    """
    return loss / jnp.maximum(jnp.asarray(weight, loss.dtype), 1)


class ResetState(NamedTuple):
    """Steps done, and the state of the wrapped optimiser."""

    count: Int[Array, ""]
    inner: Any


def reset_at(optimizer: optax.GradientTransformation, switch: Number) -> optax.GradientTransformation:
    """An optimiser that forgets its moments just before the update of step ``switch``.

    Args:
        optimizer: any optax transformation.
        switch: step, from 0, that starts afresh; may be traced. A negative one never comes.

    Source: Gulrajani and Lopez-Paz (2021), DomainBed: Adam is made anew where the penalty of IRM and V-REx switches.
    """

    def init(params: Params) -> ResetState:
        return ResetState(jnp.int32(0), optimizer.init(params))

    def update(grads: Params, state: ResetState, params: Params | None = None) -> tuple[Params, ResetState]:
        # the state of a fresh start depends on the parameters' shapes, in every optimiser of optax
        fresh = optimizer.init(grads if params is None else params)
        again = state.count == switch
        inner = jax.tree.map(lambda new, old: jnp.where(again, new, old), fresh, state.inner)
        updates, inner = optimizer.update(grads, inner, params)
        return updates, ResetState(state.count + 1, inner)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
