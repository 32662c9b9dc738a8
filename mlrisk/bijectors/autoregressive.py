"""An autoregressive bijector: each variable transformed by a map whose parameters the variables before it give."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.bijectors.checks import require_broadcast, require_order, same_leaves
from mlrisk.bijectors.made import MADE
from mlrisk.bijectors.permutation import permuted, undone
from mlrisk.bijectors.sweeping import activation_slopes, linear_sweep, sweep
from mlrisk.bijectors.transformers import Transformer
from mlrisk.types import Params, RandomKey

Static = tuple[MADE, Transformer]


class Autoregressive(distrax.Bijector):
    """``y_t = tau(x_t; c(x_1, ..., x_{t-1}))`` for t in a given order; events of one dimension.

    Forward is one pass, ``log|det J| = sum_t log dtau/dx_t``. The inverse solves for one variable after another,
    using every weight of the conditioner once; its gradient is that of the implicit function,
    ``dx = J^{-1} (dy - f_theta dtheta)``, whose triangular solve is a sweep of the same kind.

    Args:
        conditioner: a `MADE` with as many numbers a variable as the transformer takes.
        transformer: an elementwise family, such as `Sigmoidal(units=16)`.
        params: from `init_params`.
        order: variables in the order in which they depend on one another; by default as they come.
        context: (*batch, context_size), or None.

    Raises:
        ValueError: the order is no ordering, the conditioner does not fit the transformer, or the context does not
            fit the conditioner.

    Source:
        Huang et al. 2018, equations 1 to 3; Papamakarios et al. 2017; Kingma et al. 2016.

    Differs:
        The original code has no inverse; others call the conditioner D times for it.
    """

    def __init__(
        self,
        conditioner: MADE,
        transformer: Transformer,
        params: Params,
        *,
        order: Sequence[int] | None = None,
        context: Float[Array, "*batch C"] | None = None,
    ) -> None:
        super().__init__(event_ndims_in=1)
        if conditioner.num_params != transformer.num_params:
            found, wanted = conditioner.num_params, transformer.num_params
            raise ValueError(f"conditioner: num_params {found} is not allowed; the transformer takes {wanted}")
        size = conditioner.event_size
        self._static = (conditioner, transformer)
        self._order = require_order("order", range(size) if order is None else order, size)
        self._params, self._context = params, context

    def forward_and_log_det(self, x: Float[Array, "*shape D"]) -> tuple[Float[Array, "*out D"], Float[Array, "*out"]]:
        """``y`` and ``log|det dy/dx|`` in one pass.

        Raises:
            ValueError: x has another size, rank or dtype, or does not fit the context.
        """
        x, context, shape = self._flat("x", x)
        y, slopes = _forward(self._static, self._params, context, x)
        return self._unflat(y, shape), slopes.sum(0).reshape(shape)

    def inverse_and_log_det(self, y: Float[Array, "*shape D"]) -> tuple[Float[Array, "*out D"], Float[Array, "*out"]]:
        """``x`` and ``log|det dx/dy|``, by one sweep over the variables.

        Raises:
            ValueError: y has another size, rank or dtype, or does not fit the context.
        """
        y, context, shape = self._flat("y", y)
        x = _inverse(self._static, self._params, context, y)
        slopes = _forward(self._static, self._params, context, x)[1]
        return self._unflat(x, shape), -slopes.sum(0).reshape(shape)

    def inverse(self, y: Float[Array, "*shape D"]) -> Float[Array, "*out D"]:
        """``x``, without the log-determinant."""
        y, context, shape = self._flat("y", y)
        return self._unflat(_inverse(self._static, self._params, context, y), shape)

    def same_as(self, other: distrax.Bijector) -> bool:
        """Whether the other has the same structure and the very same parameters and context."""
        if type(other) is not Autoregressive or (self._static, self._order) != (other._static, other._order):
            return False
        return same_leaves((self._params, self._context), (other._params, other._context))

    def _flat(self, name: str, value: Array) -> tuple[Array, Array | None, tuple[int, ...]]:
        """Variables in their order (D, n) and contexts (C, n) as columns, and the leading shape that both came from."""
        conditioner, context = self._static[0], self._context
        conditioner.require(self._params["conditioner"], value, context, name)
        shape = value.shape[:-1]
        if context is not None:
            shape = require_broadcast(name, shape, "that of the context", context.shape[:-1])
            context = jnp.broadcast_to(context, (*shape, context.shape[-1])).reshape(-1, context.shape[-1]).T
        rows = jnp.broadcast_to(value, (*shape, value.shape[-1])).reshape(-1, value.shape[-1])
        return permuted(rows, self._order).T, context, shape

    def _unflat(self, columns: Array, shape: tuple[int, ...]) -> Array:
        return permuted(columns.T, undone(self._order)).reshape(*shape, len(self._order))


def init_params(conditioner: MADE, transformer: Transformer, key: RandomKey, dtype: Any = jnp.float32) -> Params:
    """Parameters of an `Autoregressive`: those of its conditioner, and what its variables share.

    The conditioner's last bias is where the transformer likes to start, so the bijector begins near the identity.
    """
    network, shared, start = (jax.random.fold_in(key, i) for i in range(3))
    *layers, last = conditioner.init(network, dtype)
    bias = transformer.start(start, conditioner.event_size, dtype).T.reshape(-1)
    return {"conditioner": (*layers, last | {"bias": bias}), "shared": transformer.init(shared, dtype)}


def _forward(static: Static, params: Params, context: Array | None, x: Array) -> Any:
    conditioner, transformer = static
    raw, _ = conditioner.trace(params["conditioner"], x, context)
    return transformer.bijector(params["shared"], raw).forward_and_log_det(x)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _inverse(static: Static, params: Params, context: Array | None, y: Array) -> Array:
    conditioner, transformer = static

    def solve(raw: Array, target: Array) -> Any:
        return transformer.bijector(params["shared"], raw).inverse(target)

    return sweep(conditioner, params["conditioner"], context, y, solve, y.shape[-1])


@_inverse.defjvp
def _inverse_jvp(static: Static, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (params, context, y), (params_dot, context_dot, y_dot) = primals, tangents
    x = _inverse(static, params, context, y)
    pushed = jax.jvp(lambda p, c: _forward(static, p, c, x)[0], (params, context), (params_dot, context_dot))[1]
    return x, _solve_jacobian(static, params, context, x, y_dot - pushed)


def _solve_jacobian(static: Static, params: Params, context: Array | None, x: Array, residual: Array) -> Array:
    """``J^{-1} r`` at known x, linear in r: ``dx_t = (r_t - dtau/dc_t dc_t) / (dtau/dx_t)``."""
    conditioner, transformer = static
    raw, traced = conditioner.trace(params["conditioner"], x, context)
    maps: Any = lambda c: transformer.bijector(params["shared"], c).forward_and_log_det(x)  # noqa: E731
    _, pull, slopes = jax.vjp(maps, raw, has_aux=True)
    (sensitivity,) = pull(jnp.ones_like(x))

    def solve(raw_dot: Array, given: tuple[Array, Array, Array]) -> Array:
        r, by_params, by_x = given
        return (r - (by_params * raw_dot).sum(-1)) * by_x

    inputs = (residual, sensitivity, jnp.exp(-slopes))
    units = activation_slopes(conditioner, traced)
    return linear_sweep(conditioner, params["conditioner"], context, units, inputs, solve, x.shape[-1])
