"""Reordering the variables of an event."""

from collections.abc import Sequence

import distrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from mlrisk.bijectors.checks import require_event, require_order


class Permutation(distrax.Bijector):
    """``y[..., i] = x[..., order[i]]``, with ``log|det J| = 0``; events of one dimension.

    The order is static: it is never a leaf of the bijector's pytree, so nothing differentiates or traces it.

    Args:
        order: for each place of y the place of x that goes there.

    Raises:
        ValueError: the order is not a permutation of 0 to its length - 1.
    """

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__(event_ndims_in=1, is_constant_jacobian=True, is_constant_log_det=True)
        self._order = require_order("order", order, len(order))

    def forward_and_log_det(self, x: Shaped[Array, "*batch D"]) -> tuple[Shaped[Array, "*batch D"], Array]:
        """``y`` and zeros.

        Raises:
            ValueError: x has no last axis of that length.
        """
        require_event("x", x, len(self._order))
        return permuted(x, self._order), jnp.zeros(x.shape[:-1], x.dtype)

    def inverse_and_log_det(self, y: Shaped[Array, "*batch D"]) -> tuple[Shaped[Array, "*batch D"], Array]:
        """``x`` and zeros.

        Raises:
            ValueError: y has no last axis of that length.
        """
        require_event("y", y, len(self._order))
        return permuted(y, undone(self._order)), jnp.zeros(y.shape[:-1], y.dtype)

    def same_as(self, other: distrax.Bijector) -> bool:
        """Whether the other reorders in the same way."""
        return type(other) is Permutation and self._order == other._order


def permuted(values: Array, order: tuple[int, ...]) -> Array:
    """The last axis in another order; the two that cost nothing are recognised."""
    if order == tuple(range(len(order))):
        return values
    if order == tuple(reversed(range(len(order)))):
        return values[..., ::-1]
    return values[..., np.asarray(order)]


def undone(order: tuple[int, ...]) -> tuple[int, ...]:
    """The order that takes another back: a permutation by both leaves all in place."""
    return tuple(int(place) for place in np.argsort(order))
