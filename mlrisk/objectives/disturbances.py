"""Dropout and Gaussian noise as functions of values and a key, for any layer of any model."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.types import Disturb, RandomKey, is_concrete


def dropout(rate: Float[Array, ""] | float) -> Disturb:
    """Each entry is zero with probability r, and else divided by ``1 - r``: ``v m / (1 - r)``, m ~ Bernoulli(1 - r).

    Args:
        rate: r in [0, 1); may be traced, so that rates can be lanes.

    Raises:
        BadInput: a concrete rate out of range.

    Source: Srivastava et al. (2014), Dropout, with the scaling at training time that is usual today.
    """
    _require("rate", rate, below=1)

    def disturb(values: Array, key: RandomKey) -> Array:
        keep = 1 - jnp.asarray(rate, values.dtype)
        return jnp.where(jax.random.bernoulli(key, keep, values.shape), values / keep, jnp.zeros_like(values))

    return disturb


def gaussian_noise(std: Float[Array, ""] | float) -> Disturb:
    """Independent noise on every entry: ``v + s e``, e ~ N(0, 1).

    Args:
        std: s, not negative, in the unit of the values; may be traced.

    Raises:
        BadInput: a concrete standard deviation that is negative.

    Source: Arpit et al. (2017), section 4.3 (input and hidden Gaussian noise).
    """
    _require("std", std)
    return lambda values, key: (
        values + jnp.asarray(std, values.dtype) * jax.random.normal(key, values.shape, values.dtype)
    )


def both(first: Disturb, second: Disturb) -> Disturb:
    """One disturbance after the other, each with a key of its own."""

    def disturb(values: Array, key: RandomKey) -> Array:
        one, other = jax.random.split(key)
        return second(first(values, one), other)

    return disturb


def _require(field: str, value: Float[Array, ""] | float, below: float | int = jnp.inf) -> None:
    if not is_concrete(value) or 0 <= float(value) < below:
        return
    raise BadInput(f"{field}: {value} is not {'from 0 to below 1' if below == 1 else 'zero or more'}")
