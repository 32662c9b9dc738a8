"""Elementwise maps whose parameters a conditioner supplies: what they have in common; affine maps and splines."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mlrisk.bijectors.log_space import softplus
from mlrisk.types import RandomKey


@runtime_checkable
class Transformer(Protocol):
    """A family of elementwise bijectors, static and hashable; its parameters come from elsewhere.

    ``num_params`` raw numbers are asked of the conditioner for each variable; what all variables share comes from
    ``init``. Raw zeros are near the identity.
    """

    @property
    def num_params(self) -> int:
        """Raw numbers for one variable."""
        ...

    def init(self, key: RandomKey, dtype: Any) -> PyTree:
        """Parameters that all variables share (an empty tuple for most)."""
        ...

    def start(self, key: RandomKey, event_size: int, dtype: Any) -> Float[Array, "D P"]:
        """Raw numbers at which training starts; they differ from unit to unit, or the units would stay equal."""
        ...

    def bijector(self, shared: PyTree, raw: Float[Array, "*shape P"]) -> distrax.Bijector:
        """The elementwise bijector (events of no dimension) on values of that shape."""
        ...


class Unshared:
    """What transformers have in common that share nothing between variables, and start at raw zeros."""

    def init(self, key: RandomKey, dtype: Any) -> PyTree:
        """Nothing is shared."""
        del key, dtype
        return ()

    def start(self, key: RandomKey, event_size: int, dtype: Any) -> Float[Array, "D P"]:
        """Zeros: the identity."""
        del key
        return jnp.zeros((event_size, self.num_params), dtype)  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Affine(Unshared):
    """``y = shift + scale x`` with ``scale = softplus(raw + log(e - 1)) + 1e-3``.

    Source:
        Papamakarios et al. 2017 (MAF); Kingma et al. 2016 (IAF).

    Differs:
        The scale grows linearly in its raw number, not exponentially: one bad step cannot overflow it.
    """

    @property
    def num_params(self) -> int:
        """A shift and a scale."""
        return 2

    def bijector(self, shared: PyTree, raw: Float[Array, "*shape P"]) -> distrax.Bijector:
        """A distrax ``ScalarAffine``."""
        del shared
        scale = softplus(raw[..., 1] + math.log(math.expm1(1 - 1e-3))) + 1e-3
        return distrax.ScalarAffine(shift=raw[..., 0], scale=scale)


@dataclass(frozen=True)
class Spline(Unshared):
    """A monotone rational-quadratic spline on [-bound, bound], the identity outside it.

    Source:
        Durkan et al. 2019 (neural spline flows); distrax's ``RationalQuadraticSpline``.
    """

    num_bins: int = 8
    bound: float = 5.0

    @property
    def num_params(self) -> int:
        """Widths and heights of the bins, slopes at the knots."""
        return 3 * self.num_bins + 1

    def bijector(self, shared: PyTree, raw: Float[Array, "*shape P"]) -> distrax.Bijector:
        """A distrax spline with linear tails of slope one."""
        del shared
        return _Lenient(distrax.RationalQuadraticSpline(raw, -self.bound, self.bound, boundary_slopes="identity"))


class _Lenient(distrax.Bijector):
    """A bijector of distrax's that mixes dtypes and ranks inside, also for users who told jax to be strict."""

    def __init__(self, inner: distrax.Bijector) -> None:
        super().__init__(event_ndims_in=0)
        self._inner = inner

    def forward_and_log_det(self, x: Array) -> Any:
        """As the inner bijector's."""
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return self._inner.forward_and_log_det(x)

    def inverse_and_log_det(self, y: Array) -> Any:
        """As the inner bijector's."""
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return self._inner.inverse_and_log_det(y)
