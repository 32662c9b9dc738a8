"""A learnt linear map between flow layers, a product of triangular matrices: every variable mixes into every other."""

from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from mlrisk.bijectors.checks import require_event, require_floating
from mlrisk.bijectors.log_space import LEAST_SLOPE, ONE
from mlrisk.types import Params, RandomKey


class Mixing(distrax.Bijector):
    """``y = L U x + b`` with a unit lower and a positive upper triangle; events of one dimension.

    ``log|det| = sum_i log U_ii`` with ``U_ii = softplus(m_ii + log(e - 1)) + 1e-6``: never singular, and never a
    reflection. The inverse is two triangular solves.

    Args:
        params: from `init_mixing`: ``matrix`` m (D, D), whose strict lower part is that of L and whose strict upper
            part is that of U, and ``bias`` b (D,).

    Raises:
        ValueError: the matrix is not square, or the bias does not fit it.

    Source:
        Oliva et al. 2018; Kingma and Dhariwal 2018; Durkan et al. 2019.

    Differs:
        distrax's ``LowerUpperTriangularAffine`` takes any diagonal, zeros too, and promotes ranks silently.
    """

    def __init__(self, params: Params) -> None:
        super().__init__(event_ndims_in=1, is_constant_jacobian=True, is_constant_log_det=True)
        matrix, bias = params["matrix"], params["bias"]
        if jnp.ndim(matrix) != 2 or matrix.shape != 2 * bias.shape:
            raise ValueError(
                f"matrix: shape {matrix.shape} is not allowed; it must be square and fit bias {bias.shape}"
            )
        self._matrix, self._bias = matrix, bias

    def forward_and_log_det(
        self, x: Float[Array, "*batch D"]
    ) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch"]]:
        """``y`` and ``log|det L U|``.

        Raises:
            ValueError: x has another size or dtype.
        """
        self._require("x", x)
        lower, upper = self._triangles()
        return (x @ upper.T) @ lower.T + self._bias_for(x), self._log_det(x)

    def inverse_and_log_det(
        self, y: Float[Array, "*batch D"]
    ) -> tuple[Float[Array, "*batch D"], Float[Array, "*batch"]]:
        """``x`` and ``-log|det L U|``.

        Raises:
            ValueError: y has another size or dtype.
        """
        self._require("y", y)
        lower, upper = self._triangles()
        rows = (y - self._bias_for(y)).reshape(-1, y.shape[-1]).T
        half = solve_triangular(lower, rows, lower=True, unit_diagonal=True)
        return solve_triangular(upper, half, lower=False).T.reshape(y.shape), -self._log_det(y)

    def same_as(self, other: distrax.Bijector) -> bool:
        """Whether the other is such a map of the very same parameters."""
        return type(other) is Mixing and self._matrix is other._matrix and self._bias is other._bias

    def _triangles(self) -> tuple[Array, Array]:
        eye = jnp.eye(len(self._bias), dtype=self._matrix.dtype)
        return jnp.tril(self._matrix, -1) + eye, jnp.triu(self._matrix, 1) + jnp.diag(self._diagonal())

    def _diagonal(self) -> Array:
        return jax.nn.softplus(jnp.diagonal(self._matrix) + ONE) + LEAST_SLOPE

    def _log_det(self, like: Array) -> Array:
        return jnp.broadcast_to(jnp.log(self._diagonal()).sum(), like.shape[:-1])

    def _bias_for(self, like: Array) -> Array:
        return jnp.broadcast_to(self._bias, like.shape)

    def _require(self, name: str, value: Array) -> None:
        require_floating(name, value, self._matrix.dtype)
        require_event(name, value, len(self._bias))


def init_mixing(key: RandomKey, event_size: int, dtype: Any = jnp.float32) -> Params:
    """Parameters of `Mixing`: small off-diagonal entries about the identity."""
    return {
        "matrix": 1e-2 * jax.random.normal(key, (event_size, event_size), dtype) / event_size**0.5,
        "bias": jnp.zeros(event_size, dtype),
    }
