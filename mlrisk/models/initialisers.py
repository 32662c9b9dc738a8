"""Random initial weights, drawn block by block so that many networks can be started quickly on a CPU."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput, one_of
from mlrisk.types import RandomKey

Initialiser = Callable[..., Float[Array, "..."]]
"""``(key, shape, dtype=float32) -> weights``; the last two axes of ``shape`` are (inputs, outputs)."""

# few enough numbers for one block's random bits to stay in the cache of one core
BLOCK = 16384

# standard deviation of a standard normal cut at two standard deviations
_CUT_DEVIATION = 0.87962566103423978


@functools.partial(jax.jit, static_argnames=("law", "size", "dtype"))
def _draw(key: RandomKey, law: str, size: int, dtype: Any) -> Float[Array, " size"]:
    """``size`` numbers with mean 0 and variance 1; block i of them comes from ``fold_in(key, i)``."""
    count = math.ceil(size / BLOCK)
    shape = (math.ceil(size / count),)

    def block(index: Array) -> Array:
        block_key = jax.random.fold_in(key, index)
        if law == "uniform":
            return jax.random.uniform(block_key, shape, dtype, -math.sqrt(3), math.sqrt(3))
        return jax.random.truncated_normal(block_key, -2.0, 2.0, shape, dtype) / _CUT_DEVIATION

    return jax.lax.map(block, jnp.arange(count)).reshape(-1)[:size]


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs that reach one output, and outputs that one input reaches."""
    receptive = math.prod(shape[:-2])
    return receptive * shape[-2], receptive * shape[-1]


# gain and fan of the variance ``gain / fan``, and the law of the draws
_SCHEMES: dict[str, tuple[float, Callable[[int, int], float], str]] = {
    "he_normal": (2.0, lambda fan_in, fan_out: fan_in, "normal"),
    "glorot_uniform": (1.0, lambda fan_in, fan_out: (fan_in + fan_out) / 2, "uniform"),
    "lecun_normal": (1.0, lambda fan_in, fan_out: fan_in, "normal"),
}
INITIALISERS = tuple(_SCHEMES)


def initialiser(name: str) -> Initialiser:
    """The weight initialiser of that name: zero mean, variance ``gain / fan``.

    ``he_normal``: 2 / fan_in; ``glorot_uniform``: 2 / (fan_in + fan_out); ``lecun_normal``: 1 / fan_in.
    Normal draws are cut at two standard deviations and rescaled to the stated variance.

    Args:
        name: one of `INITIALISERS`.

    Returns:
        ``(key, shape, dtype=float32) -> weights`` for kernels (inputs, outputs) or (height, width, inputs,
        outputs); what Linen takes as ``kernel_init``.

    Raises:
        BadInput: no initialiser has that name, or (when it is called) ``shape`` has fewer than two axes.

    Source:
        He et al. (2015), section 2.2; Glorot and Bengio (2010), equation 16; LeCun et al. (1998),
        section 4.6.

    Differs:
        The same laws as `jax.nn.initializers`, other numbers: each block of 16384 has its own folded key.
        Two million weights then start about twice as fast on one CPU core.
    """
    if name not in _SCHEMES:
        raise BadInput(one_of("init", name, INITIALISERS))
    gain, fan, law = _SCHEMES[name]

    def init(key: RandomKey, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[Array, "..."]:
        if len(shape) < 2:
            raise BadInput(f"shape: {tuple(shape)} has no axes for inputs and outputs; at least two are needed")
        deviation = math.sqrt(gain / fan(*_fans(tuple(shape))))
        return deviation * _draw(key, law, math.prod(shape), dtype).reshape(shape)

    return init
