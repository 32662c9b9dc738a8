"""Fewer features for each variable, widened by a linear map that all share; and transformers by their names."""

from dataclasses import dataclass
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from mlrisk.bijectors.checks import require_choice, require_count
from mlrisk.bijectors.log_space import product
from mlrisk.bijectors.sigmoidal_transformers import DenseSigmoidal, Sigmoidal
from mlrisk.bijectors.transformers import Affine, Spline, Transformer
from mlrisk.types import RandomKey


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
