"""Elementwise maps whose parameters a conditioner supplies: affine, spline, deep sigmoidal, deep dense sigmoidal."""

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mlrisk.bijectors.checks import require_choice, require_count
from mlrisk.bijectors.deep_dense_sigmoidal import DeepDenseSigmoidal, DenseLayer
from mlrisk.bijectors.deep_sigmoidal import DeepSigmoidal
from mlrisk.bijectors.log_space import product, softplus
from mlrisk.types import RandomKey

ONE = math.log(math.e - 1)
"""softplus(ONE) = 1: what a raw slope is shifted by, so that zeros give the identity."""
LEAST_SLOPE = 1e-6


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


class _Unshared:
    def init(self, key: RandomKey, dtype: Any) -> PyTree:
        """Nothing is shared."""
        del key, dtype
        return ()

    def start(self, key: RandomKey, event_size: int, dtype: Any) -> Float[Array, "D P"]:
        """Zeros: the identity."""
        del key
        return jnp.zeros((event_size, self.num_params), dtype)  # pyright: ignore[reportAttributeAccessIssue]


@dataclass(frozen=True)
class Affine(_Unshared):
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
class Spline(_Unshared):
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


@dataclass(frozen=True)
class Sigmoidal(_Unshared):
    """Compositions of ``depth`` deep sigmoidal maps of ``units`` sigmoids each.

    ``a = softplus(raw + log(e - 1)) + 1e-6``; offsets and logits are the raw numbers.

    Source:
        Huang et al. 2018, section 3.1.

    Differs:
        Raw numbers start at N(0, spread²), not at 1e-3 of it: units that start alike part late, and a flow of one
        layer then stays near the affine one for long.
    """

    units: int = 16
    depth: int = 1
    spread: float = 0.5

    @property
    def num_params(self) -> int:
        """Slope, offset and logit of each unit."""
        return 3 * self.units * self.depth

    def start(self, key: RandomKey, event_size: int, dtype: Any) -> Float[Array, "D P"]:
        """Independent normal numbers: maps near the identity whose units differ."""
        return self.spread * jax.random.normal(key, (event_size, self.num_params), dtype)

    def bijector(self, shared: PyTree, raw: Float[Array, "*shape P"]) -> distrax.Bijector:
        """One `DeepSigmoidal`, or a chain of them."""
        del shared
        parts = [self._one(part) for part in jnp.split(raw, self.depth, axis=-1)]
        return parts[0] if self.depth == 1 else distrax.Chain(parts)

    def _one(self, raw: Array) -> DeepSigmoidal:
        slopes, offsets, logits = jnp.split(raw, 3, axis=-1)
        return DeepSigmoidal(_slope(slopes), offsets, logits)


@dataclass(frozen=True)
class DenseSigmoidal:
    """A deep dense sigmoidal map of ``depth`` layers of ``units`` sigmoids.

    The conditioner supplies d + 3 units numbers a layer; the matrices U and W are shared by all variables.

    Source:
        Huang et al. 2018, section 3.2.

    Differs:
        Slopes and offsets start at N(0, spread²) about the identity, matrices at U(-1e-3, 1e-3) as in the original.
    """

    units: int = 16
    depth: int = 2
    spread: float = 0.5

    @property
    def num_params(self) -> int:
        """For each layer, its inputs and three times its units."""
        return sum(inputs + 3 * self.units for inputs, _ in self._widths())

    def init(self, key: RandomKey, dtype: Any) -> PyTree:
        """The matrices (U, W) of each layer."""
        shapes = [((self.units, inputs), (outputs, self.units)) for inputs, outputs in self._widths()]
        keys = jax.random.split(key, (self.depth, 2))
        draw = jax.random.uniform
        return tuple(
            tuple(draw(k, shape, dtype, -1e-3, 1e-3) for k, shape in zip(row, pair, strict=True))
            for row, pair in zip(keys, shapes, strict=True)
        )

    def start(self, key: RandomKey, event_size: int, dtype: Any) -> Float[Array, "D P"]:
        """Independent normal numbers."""
        return self.spread * jax.random.normal(key, (event_size, self.num_params), dtype)

    def bijector(self, shared: PyTree, raw: Float[Array, "*shape P"]) -> distrax.Bijector:
        """A `DeepDenseSigmoidal`."""
        layers, first = [], 0
        for (inputs, _), (in_matrix, out_matrix) in zip(self._widths(), shared, strict=True):
            ends = [first + n for n in (0, self.units, 2 * self.units, 3 * self.units, 3 * self.units + inputs)]
            slopes, offsets, out, into = (raw[..., a:b] for a, b in zip(ends[:-1], ends[1:], strict=True))
            layers.append(DenseLayer(_slope(slopes), offsets, into, out, in_matrix, out_matrix))
            first = ends[-1]
        return DeepDenseSigmoidal(layers)

    def _widths(self) -> list[tuple[int, int]]:
        inner = [self.units] * (self.depth - 1)
        return list(zip([1, *inner], [*inner, 1], strict=True))


@dataclass(frozen=True)
class Projected:
    """A transformer whose numbers are a linear map, shared by all variables, of fewer features for each.

    The conditioner then ends in ``features`` numbers a variable, not ``inner.num_params``: for wide conditioners
    and many units, its last layer is most of the work.

    Source:
        Huang et al. 2018, appendix: the 1 x 1 convolution after cMADE.
    """

    inner: Transformer
    features: int

    @property
    def num_params(self) -> int:
        """Features of a variable."""
        return self.features

    def init(self, key: RandomKey, dtype: Any) -> PyTree:
        """The linear map, near zero, with the inner transformer's start as its bias; and what that one shares."""
        own, kernel, bias = jax.random.split(key, 3)
        shape = (self.features, self.inner.num_params)
        return {
            "kernel": 0.1 * jax.random.normal(kernel, shape, dtype) / self.features**0.5,
            "bias": self.inner.start(bias, 1, dtype)[0],
            "inner": self.inner.init(own, dtype),
        }

    def start(self, key: RandomKey, event_size: int, dtype: Any) -> Float[Array, "D P"]:
        """Independent normal features, so that variables differ."""
        return jax.random.normal(key, (event_size, self.features), dtype)

    def bijector(self, shared: PyTree, raw: Float[Array, "*shape P"]) -> distrax.Bijector:
        """The inner bijector of the mapped features."""
        numbers = product(shared["kernel"].T, jnp.moveaxis(raw, -1, 0))
        numbers += jnp.expand_dims(shared["bias"], tuple(range(1, numbers.ndim)))
        return self.inner.bijector(shared["inner"], jnp.moveaxis(numbers, 0, -1))


def make_transformer(kind: Any, units: int, depth: int | None) -> Transformer:
    """The transformer of that name, or the one given.

    Args:
        kind: "affine", "spline", "dsf", "ddsf", or an object of one's own with the methods of `Transformer`.
        units: sigmoids of each map, or bins of the spline.
        depth: layers of dsf and ddsf; by default 1 and 2.

    Raises:
        ValueError: the name is not one of these, or a count is not positive.
    """
    if not isinstance(kind, str) and hasattr(kind, "bijector"):
        return kind
    require_choice("transformer", kind, ("affine", "spline", "dsf", "ddsf"))
    require_count("units", units)
    deep = require_count("depth", {"ddsf": 2}.get(kind, 1) if depth is None else depth)
    made = {"dsf": Sigmoidal(units, deep), "ddsf": DenseSigmoidal(units, deep), "spline": Spline(units)}
    return made.get(kind, Affine())


def _slope(raw: Array) -> Array:
    return softplus(raw + ONE) + LEAST_SLOPE
