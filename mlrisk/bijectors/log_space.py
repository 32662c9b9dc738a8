"""Mixtures of sigmoids and products with positive matrices, kept in log space from end to end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

SPREAD = 60.0
"""How far, in nats, a static logit may lie below its row's largest before it counts as lying there."""


class LogSigmoids(NamedTuple):
    """``log sigmoid(p)`` and ``log sigmoid(-p)``."""

    below: Float[Array, "*shape"]
    above: Float[Array, "*shape"]


def log_sigmoids(p: Float[Array, "*shape"]) -> LogSigmoids:
    """Both tails of a sigmoid: ``(-softplus(-p), -softplus(p))``, from one exponential.

    Args:
        p: any finite values.

    Returns:
        Two arrays of that shape, in nats, each at most 0 and exact in its own tail.

    Differs:
        The original takes ``log sigmoid(p) - 1e-6``, which biases every log-determinant; and
        ``log sigmoid(-p) = log sigmoid(p) - p`` would lose ``eps |p|``.
    """
    return LogSigmoids(*_log_sigmoids(p))


@jax.custom_jvp
def _log_sigmoids(p: Array) -> tuple[Array, Array]:
    tail = jnp.log1p(jnp.exp(-jnp.abs(p)))
    return jnp.minimum(p, 0) - tail, jnp.minimum(-p, 0) - tail


@_log_sigmoids.defjvp
def _log_sigmoids_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    # min and |.| have kinks at 0 although their sum has none: autodiff would be wrong there
    below, above = _log_sigmoids(primals[0])
    return (below, above), (jnp.exp(above) * tangents[0], -jnp.exp(below) * tangents[0])


def log_sum_exp(values: Float[Array, "*shape n"]) -> Float[Array, "*shape"]:
    """``log sum_j exp(v_j)`` over the last axis, for finite values.

    Returns:
        One value per row; its gradient is the softmax, also where all values are far below zero.
    """
    largest = lax.stop_gradient(values.max(-1, keepdims=True))
    return jnp.log(jnp.exp(values - largest).sum(-1)) + largest[..., 0]


def log_normalise(logits: Float[Array, "*shape n"]) -> Float[Array, "*shape n"]:
    """Log-softmax over the last axis: ``l_j - log sum_k exp(l_k)``."""
    return logits - log_sum_exp(logits)[..., None]


def positive(static_logits: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """``exp(M - max_row M)``, with entries under ``exp(-60)`` lifted to it.

    Any factor common to a row cancels from everything that this matrix is used for. The floor keeps every
    product with it above zero, whatever the other factor, so that nothing is ever clipped later on.

    Args:
        static_logits: M, in nats.

    Returns:
        Entries in [1e-26, 1].
    """
    return jnp.exp(jnp.maximum(static_logits - static_logits.max(-1, keepdims=True), -SPREAD))


def log_product(
    matrix: Float[Array, "rows columns"], log_vector: Float[Array, "*batch columns"]
) -> Float[Array, "*batch rows"]:
    """``log(E exp(v))``: a product with a positive matrix, with the vector in log space.

    Args:
        matrix: E, from `positive`.
        log_vector: v, in nats, of any spread: a row's sum is at least ``exp(max v - 60)``.

    Returns:
        In nats; memory is linear in rows + columns, and the work is one matrix product.
    """
    largest = lax.stop_gradient(log_vector.max(-1, keepdims=True))
    product = jnp.matmul(jnp.exp(log_vector - largest), matrix.T, precision=lax.Precision.HIGHEST)
    return jnp.log(product) + largest


def mixed(
    matrix: Float[Array, "rows columns"], logits: Float[Array, "*batch columns"], values: Float[Array, "*batch columns"]
) -> Float[Array, "*batch rows"]:
    """Convex combinations ``sum_k u_jk h_k`` with ``u_jk`` proportional to ``E_jk exp(eta_k)``.

    Args:
        matrix: E, from `positive`.
        logits: eta, in nats.
        values: h, of any sign and size.

    Returns:
        One value per row, between the smallest and the largest h.
    """
    weights = jnp.exp(logits - lax.stop_gradient(logits.max(-1, keepdims=True)))
    both = jnp.stack([weights * values, weights])
    above, below = jnp.matmul(both, matrix.T, precision=lax.Precision.HIGHEST)
    return above / below
