"""Fully connected networks."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput, one_of
from mlrisk.models.initialisers import Initialiser, initialiser
from mlrisk.models.linen import disturbed, from_linen, require_sizes
from mlrisk.types import Disturb, Model

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "linear": lambda values: values,
}


class _MLP(nn.Module):
    hidden_sizes: tuple[int, ...]
    num_outputs: int
    activation: Callable[[Array], Array]
    kernel_init: Initialiser

    @nn.compact
    def __call__(self, inputs: Float[Array, "n ..."], *, disturb: Disturb | None = None) -> Float[Array, "n outputs"]:
        values = inputs.reshape(inputs.shape[0], -1)
        for size in self.hidden_sizes:
            values = self.activation(nn.Dense(size, kernel_init=self.kernel_init)(values))
            values = disturbed(self, values, disturb)
        return nn.Dense(self.num_outputs, kernel_init=self.kernel_init)(values)


def mlp(
    input_shape: tuple[int, ...],
    hidden_sizes: tuple[int, ...],
    num_classes: int,
    *,
    activation: str = "relu",
    init: str = "he_normal",
) -> Model:
    """A fully connected network on flattened inputs.

    ``h_0 = x``, ``h_l = activation(h_{l-1} W_l + b_l)``, ``logits = h_L W_{L+1} + b_{L+1}``.

    Args:
        input_shape: shape of one input, without the batch axis.
        hidden_sizes: units of each hidden layer; empty for a linear model.
        num_classes: number of outputs.
        activation: a name in `ACTIVATIONS`.
        init: a name in `INITIALISERS`, for every weight matrix.

    Returns:
        A `Model` with ``params = {"params": {"Dense_0": {"kernel", "bias"}, ...}}``, biases starting at 0,
        and logits (n, num_classes). It has no ``apply_train``: it trains as it predicts, unless
        its hidden layers are disturbed (after the activation).

    Raises:
        BadInput: a size is not a positive integer, or a name is unknown.
    """
    if activation not in ACTIVATIONS:
        raise BadInput(one_of("activation", activation, ACTIVATIONS))
    (outputs,) = require_sizes("num_classes", (num_classes,))
    hidden = require_sizes("hidden_sizes", hidden_sizes, empty=True)
    module = _MLP(hidden, outputs, ACTIVATIONS[activation], initialiser(init))
    return from_linen(module, input_shape, disturbs=True)
