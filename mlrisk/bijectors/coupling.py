"""A coupling layer: half of the variables stay, and choose the maps of the others."""

from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.bijectors.checks import require_broadcast, require_event, require_floating, require_order, same_leaves
from mlrisk.bijectors.made import MADE
from mlrisk.bijectors.permutation import permuted, undone
from mlrisk.bijectors.transformers import Transformer
from mlrisk.types import Params, RandomKey


class Coupling(distrax.Bijector):
    """``y_a = x_a``, ``y_b = tau(x_b; c(x_a))``: one pass either way; events of one dimension.

    The first half of ``order`` (rounded down) stays; the conditioner sees it as its context.

    Args:
        conditioner: a `MADE` of one variable whose context are the variables that stay and the flow's own context.
        transformer: an elementwise family.
        params: from `init_coupling`.
        order: an ordering of the variables.
        context: (*batch, context_size), or None.

    Raises:
        ValueError: the order is no ordering.

    Source:
        Dinh et al. 2017 (Real NVP).

    Differs:
        Unlike distrax's ``MaskedCoupling`` it keeps no mask among its leaves, so it can be differentiated as it is.
    """

    def __init__(
        self,
        conditioner: MADE,
        transformer: Transformer,
        params: Params,
        order: tuple[int, ...],
        context: Float[Array, "*batch C"] | None = None,
    ) -> None:
        super().__init__(event_ndims_in=1)
        self._static = (conditioner, transformer)
        self._order = require_order("order", order, len(order))
        self._params, self._context = params, context

    def forward_and_log_det(self, x: Float[Array, "*shape D"]) -> tuple[Float[Array, "*out D"], Float[Array, "*out"]]:
        """``y`` and ``log|det dy/dx|``.

        Raises:
            ValueError: x has another size or dtype, or does not fit the context.
        """
        stay, move, maps = self._parts("x", x)
        moved, slopes = maps.forward_and_log_det(move)
        return self._joined(stay, moved), slopes.sum(-1)

    def inverse_and_log_det(self, y: Float[Array, "*shape D"]) -> tuple[Float[Array, "*out D"], Float[Array, "*out"]]:
        """``x`` and ``log|det dx/dy|``.

        Raises:
            ValueError: y has another size or dtype, or does not fit the context.
        """
        stay, move, maps = self._parts("y", y)
        moved, slopes = maps.inverse_and_log_det(move)
        return self._joined(stay, moved), slopes.sum(-1)

    def same_as(self, other: distrax.Bijector) -> bool:
        """Whether the other has the same structure and the very same parameters and context."""
        if type(other) is not Coupling or (self._static, self._order) != (other._static, other._order):
            return False
        return same_leaves((self._params, self._context), (other._params, other._context))

    def _parts(self, name: str, value: Array) -> tuple[Array, Array, distrax.Bijector]:
        (conditioner, transformer), params = self._static, self._params
        require_floating(name, value, params["conditioner"][0]["kernel"].dtype)
        require_event(name, value, len(self._order))
        shape, context = value.shape[:-1], self._context
        if context is not None:
            shape = require_broadcast(name, shape, "that of the context", context.shape[:-1])
        value = permuted(jnp.broadcast_to(value, (*shape, value.shape[-1])), self._order)
        stay, move = jnp.split(value, [len(self._order) // 2], axis=-1)
        seen = [stay] if context is None else [stay, jnp.broadcast_to(context, (*shape, context.shape[-1]))]
        raw = self._raw(conditioner, jnp.concatenate(seen, axis=-1), move)
        return stay, move, transformer.bijector(params["shared"], raw)

    def _raw(self, conditioner: MADE, seen: Array, move: Array) -> Array:
        # the one variable of this conditioner has nothing before it: all that it sees is the context
        nothing = jnp.zeros((*move.shape[:-1], 1), move.dtype)
        raw = conditioner.apply(self._params["conditioner"], nothing, seen if seen.shape[-1] else None)
        # its numbers hold those of each moving variable
        return raw.reshape(*move.shape, self._static[1].num_params)

    def _joined(self, stay: Array, moved: Any) -> Array:
        return permuted(jnp.concatenate([stay, moved], axis=-1), undone(self._order))


def init_coupling(
    conditioner: MADE, transformer: Transformer, moving: int, key: RandomKey, dtype: Any = jnp.float32
) -> Params:
    """Parameters of a `Coupling` that moves so many variables; it begins near the identity."""
    network, shared, start = (jax.random.fold_in(key, i) for i in range(3))
    *layers, last = conditioner.init(network, dtype)
    bias = transformer.start(start, moving, dtype).reshape(-1)
    return {"conditioner": (*layers, last | {"bias": bias}), "shared": transformer.init(shared, dtype)}
