"""Mixtures of sigmoids and products with positive matrices, in linear space about a shift that keeps them exact.

Units run along the leading axis: sums over them are then vectorised along the batch, which is several times faster
on a CPU than sums over a short last axis.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

SPREAD = {4: 60.0, 8: 600.0}
"""By bytes of the dtype, how many nats a logit may lie below the largest before it counts as lying there.

Weights this small still have exact products with everything else; what is lost beside them is under 1e-11.
"""


ONE = math.log(math.e - 1)
"""softplus(ONE) = 1: what a raw slope is shifted by, so that zeros give the identity."""
LEAST_SLOPE = 1e-6


class Sigmoids(NamedTuple):
    """``sigmoid(p)``, ``sigmoid(-p)`` and their product for K units, each divided by the exponential of a shift."""

    below: Float[Array, "K ..."]
    above: Float[Array, "K ..."]
    slope: Float[Array, "K ..."]
    log_below: Float[Array, "*batch"]
    """The shift of ``below``: 0 unless all units are far in their lower tail."""
    log_above: Float[Array, "*batch"]
    log_slope: Float[Array, "*batch"]
    log_each: Float[Array, "K ..."]
    """The logarithm of each slope itself, which has no shift."""


def sigmoids(p: Float[Array, "K ..."]) -> Sigmoids:
    """Both tails and the slope of K sigmoids, from one exponential each, without underflow of the sums over units.

    With ``q = min_j |p_j|``, ``u = exp(q - |p|)`` and ``t = u exp(-q)``: ``sigmoid(|p|) = 1 / (1 + t)``,
    ``sigmoid(-|p|) = u exp(-q) / (1 + t)``, and the factor ``exp(-q)`` is kept aside where all units need it.

    Args:
        p: any finite values.

    Returns:
        Arrays of which, for every example, one unit's entry is at least 1/4 (``slope``) or 1/2 (the others).

    Differs:
        The original squeezes sigmoids into ``[5e-7, 1 - 5e-7]``; this is exact for ``|p|`` of any size.
    """
    up = p >= 0
    # |p| in a form whose derivative at 0 is that of one side: the branches below are analytic there, |p| is not
    distance = jnp.where(up, p, -p)
    nearest = lax.stop_gradient(distance.min(0))
    scaled = jnp.exp(nearest[None] - distance)
    tail = scaled * jnp.exp(-nearest)[None]
    half = 1 / (1 + tail)
    any_up, all_up = up.any(0), up.all(0)
    zero = jnp.zeros_like(nearest)
    return Sigmoids(
        below=half * jnp.where(up, 1, _choose(any_up, tail, scaled)),
        above=half * jnp.where(up, _choose(all_up, scaled, tail), 1),
        slope=scaled * half * half,
        log_below=jnp.where(any_up, zero, -nearest),
        log_above=jnp.where(all_up, -nearest, zero),
        log_slope=-nearest,
        log_each=2 * jnp.log(half) - distance,
    )


def _choose(which: Bool[Array, "*batch"], yes: Array, no: Array) -> Array:
    return jnp.where(which[None], yes, no)


def weights(logits: Float[Array, "K ..."], share: float = 1.0) -> Float[Array, "K ..."]:
    """``exp(l - max l)`` along the first axis: a softmax up to its normaliser, in ``[exp(-60), 1]``.

    Args:
        logits: l, in nats.
        share: the part of `SPREAD` that these may take, where they are multiplied with others.

    Returns:
        60 is for float32; in float64 it is 600.
    """
    floor = -share * SPREAD[logits.dtype.itemsize]
    return jnp.exp(jnp.maximum(logits - lax.stop_gradient(logits.max(0))[None], floor))


def matrix_weights(logits: Float[Array, "rows columns"], share: float = 1.0) -> Float[Array, "rows columns"]:
    """`weights` of each row of a matrix; what is common to a row cancels from all that it is used for."""
    return weights(logits.T, share).T


def product(matrix: Float[Array, "rows columns"], values: Float[Array, "columns ..."]) -> Float[Array, "rows ..."]:
    """``M v`` for vectors along the first axis, at the full precision of the dtype on every device."""
    flat = values.reshape(values.shape[0], -1)
    return jnp.matmul(matrix, flat, precision=lax.Precision.HIGHEST).reshape(matrix.shape[0], *values.shape[1:])


def log_product(
    matrix: Float[Array, "rows columns"],
    factor: Float[Array, "columns ..."],
    log_values: Float[Array, "columns ..."],
) -> Float[Array, "rows ..."]:
    """``log(M (f exp(v)))`` where v may have any spread: one matrix product about the largest v.

    Args:
        matrix: positive, from `matrix_weights`.
        factor: f, positive, from `weights` or the like.
        log_values: v, in nats.
    """
    largest = lax.stop_gradient(log_values.max(0))
    return jnp.log(product(matrix, factor * jnp.exp(log_values - largest[None]))) + largest[None]


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``log(1 + exp(x))``, with the derivative ``sigmoid(x)``; three times as fast as ``jax.nn.softplus`` on a CPU."""
    return _softplus(x)


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


@_softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _softplus(primals[0]), jax.nn.sigmoid(primals[0]) * tangents[0]
