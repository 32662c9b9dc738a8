"""A network in two parts, features and a linear last layer, for penalties that look at either."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.types import Params, RandomKey

TRAINED = ("features", "head")
"""The top-level entries of ``params`` that belong to the network and are trained."""


class FeaturisedModel(NamedTuple):
    """A classifier as features and a linear head.

    Attributes:
        init: ``key -> params``, a dict with ``"features"`` and ``"head"``, and perhaps entries that are not trained.
        features: ``(params, inputs (n, *shape)) -> (n, d)``.
        num_features: d.
        num_classes: outputs of the head.
    """

    init: Callable[[RandomKey], dict[str, Any]]
    features: Callable[[Params, Array], Array]
    num_features: int
    num_classes: int

    def apply(self, params: Params, inputs: Array) -> Array:
        """Logits (n, classes) of a batch."""
        return apply_linear(params["head"], self.features(params, inputs))


def uniform_fan_in(key: RandomKey, shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Numbers from ``U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))``: PyTorch's default for weights and biases."""
    bound = 1 / math.sqrt(fan_in)
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def init_linear(key: RandomKey, inputs: int, outputs: int) -> dict[str, Array]:
    """``kernel`` (inputs, outputs) and ``bias`` (outputs,) of a linear layer, see `uniform_fan_in`."""
    drawn = uniform_fan_in(key, (inputs + 1, outputs), inputs)
    return {"kernel": drawn[:-1], "bias": drawn[-1]}


def apply_linear(layer: Params, values: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
    """``x W + b``."""
    bias = layer["bias"]
    return values @ layer["kernel"] + bias.reshape((1,) * (values.ndim - 1) + bias.shape)
