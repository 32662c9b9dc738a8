"""The deep sigmoidal and deep dense sigmoidal maps as transformers: from a conditioner's raw numbers to bijectors."""

from dataclasses import dataclass
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mlrisk.bijectors.deep_dense_sigmoidal import DeepDenseSigmoidal, DenseLayer
from mlrisk.bijectors.deep_sigmoidal import DeepSigmoidal
from mlrisk.bijectors.log_space import LEAST_SLOPE, ONE, softplus
from mlrisk.bijectors.transformers import Unshared
from mlrisk.types import RandomKey


@dataclass(frozen=True)
class Sigmoidal(Unshared):
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


def _slope(raw: Array) -> Array:
    return softplus(raw + ONE) + LEAST_SLOPE
