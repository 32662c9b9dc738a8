"""What increasing maps of the real line share: four directions from a function and a bracket of its inverse."""

import abc
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mlrisk.bijectors.checks import require_broadcast, require_floating, same_leaves
from mlrisk.bijectors.root_finding import Bracket, Increasing, implicit_inverse


class IncreasingMap(distrax.Bijector):
    """An elementwise bijector of the real line, ``y = f(x; theta)`` with ``f' > 0``; its inverse is a root search.

    Subclasses give ``_function`` and ``_bracket``, static functions of prepared parameters; ``_parameters``, what
    they were made of; ``_prepared``, the parameters for a batch shape; and set ``_batch``, the parameters' own.
    """

    _function: Increasing
    _bracket: Bracket
    _batch: tuple[int, ...]

    def forward_and_log_det(self, x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape2"], Float[Array, "*shape2"]]:
        """``y`` and ``log dy/dx``, each in the shape that x and the parameters broadcast to.

        Raises:
            ValueError: the shape or dtype of x does not fit the parameters.
        """
        params, x = self._aligned("x", x)
        return type(self)._function(params, x)

    def inverse_and_log_det(self, y: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape2"], Float[Array, "*shape2"]]:
        """``x`` and ``log dx/dy``, to a few ulp of y.

        Raises:
            ValueError: the shape or dtype of y does not fit the parameters.
        """
        params, y = self._aligned("y", y)
        x = implicit_inverse(type(self)._function, type(self)._bracket, params, y)
        return x, -type(self)._function(params, x)[1]

    def inverse(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape2"]:
        """``x``, without the log-determinant."""
        params, y = self._aligned("y", y)
        return implicit_inverse(type(self)._function, type(self)._bracket, params, y)

    def same_as(self, other: distrax.Bijector) -> bool:
        """Whether the other is such a map of the very same parameters."""
        return type(other) is type(self) and same_leaves(self._parameters(), other._parameters())

    @abc.abstractmethod
    def _parameters(self) -> PyTree: ...

    @abc.abstractmethod
    def _prepared(self, shape: tuple[int, ...]) -> PyTree: ...

    def _aligned(self, name: str, value: Any) -> tuple[PyTree, Array]:
        require_floating(name, value, jax.tree.leaves(self._parameters())[0].dtype)
        shape = require_broadcast(name, jnp.shape(value), "the parameters'", self._batch)
        return self._prepared(shape), jnp.broadcast_to(value, shape)


def units_first(values: Array, shape: tuple[int, ...]) -> Array:
    """(*batch, K) broadcast to a batch shape, with the units as the leading axis."""
    return jnp.moveaxis(jnp.broadcast_to(values, (*shape, values.shape[-1])), -1, 0)


def require_positive(name: str, value: Any) -> None:
    """Refuses slopes that are known and not positive; traced ones are the caller's word.

    Raises:
        ValueError: one of them is zero, negative or NaN.
    """
    try:
        wrong = not bool((value > 0).all())
    except jax.errors.TracerBoolConversionError:
        return
    if wrong:
        raise ValueError(f"{name}: {jnp.min(value)} is not allowed; all must be positive")
