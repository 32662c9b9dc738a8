"""From a Linen module to a `Model`: the one place where the two meet."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.types import Disturb, Model, Params, RandomKey


def from_linen(
    module: nn.Module, input_shape: tuple[int, ...], *, trains: bool = False, disturbs: bool = False
) -> Model:
    """A `Model` whose ``params`` are the module's variables: ``{"params": ...}`` and its other collections.

    The shapes are checked here, by tracing the initialisation without running it.

    Args:
        module: called as ``module(inputs)`` to predict and, if ``trains``, ``module(inputs, train=True)``.
        input_shape: shape of one input, without the batch axis.
        trains: whether training differs from prediction; `Model.apply_train` is None otherwise.
        disturbs: whether the module takes ``disturb=`` and applies it by `disturbed` to each hidden layer;
            `Model.apply_disturbed` is None otherwise.

    Returns:
        ``init(key)``, ``apply(params, inputs)`` and perhaps ``apply_train(params, inputs, key)``, whose state
        holds every collection but ``"params"``. The key becomes the module's ``"dropout"`` stream.

    Raises:
        BadInput: ``input_shape`` is not made of positive integers, a layer refuses it, or (in ``apply``) a
            batch has another shape.
    """
    shape = require_sizes("input_shape", input_shape)

    def init(key: RandomKey) -> Params:
        return dict(module.init(key, jnp.zeros((1, *shape), jnp.float32)))

    def apply(params: Params, inputs: Float[Array, "n ..."]) -> Any:
        _require_batch(inputs, shape)
        return module.apply(params, inputs)

    state_names = [name for name in jax.eval_shape(init, jax.random.key(0)) if name != "params"]

    def train_call(params: Params, inputs: Array, key: RandomKey, **options: Any) -> tuple[Any, dict[str, Any]]:
        _require_batch(inputs, shape)
        options |= {"train": True} if trains else {}
        outputs, state = module.apply(params, inputs, mutable=state_names, rngs={"dropout": key}, **options)
        return outputs, dict(state)

    def apply_train(params: Params, inputs: Float[Array, "n ..."], key: RandomKey) -> tuple[Any, dict[str, Any]]:
        return train_call(params, inputs, key)

    def apply_disturbed(
        params: Params, inputs: Float[Array, "n ..."], key: RandomKey, disturb: Disturb
    ) -> tuple[Any, dict[str, Any]]:
        return train_call(params, inputs, key, disturb=disturb)

    return Model(init, apply, apply_train if trains else None, apply_disturbed if disturbs else None)


def disturbed(layer: nn.Module, values: Array, disturb: Disturb | None) -> Array:
    """The output of a hidden layer, disturbed with a key of its own where a disturbance is given."""
    return values if disturb is None else disturb(values, layer.make_rng("dropout"))


def require_sizes(field: str, sizes: tuple[int, ...], *, empty: bool = False) -> tuple[int, ...]:
    """``sizes`` as a tuple of positive integers.

    Args:
        field: the argument to name in the error.
        sizes: any sequence.
        empty: whether a sequence of length zero is allowed.

    Returns:
        A tuple of Python integers.

    Raises:
        BadInput: it is not a sequence, is empty, or has an entry that is not a positive integer.
    """
    entries = tuple(sizes) if isinstance(sizes, tuple | list) else None
    if entries is None or not (entries or empty) or not all(type(size) is int and size > 0 for size in entries):
        raise BadInput(f"{field}: {sizes!r} is not a tuple of positive integers")
    return entries


def _require_batch(inputs: Array, shape: tuple[int, ...]) -> None:
    if inputs.shape[1:] != shape or inputs.ndim != len(shape) + 1:
        raise BadInput(f"inputs: shape {inputs.shape} is not a batch (n, {', '.join(map(str, shape))})")
