"""The penalty of invariant risk minimisation, from the logits and labels of one domain."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput, one_of
from mlrisk.types import Scalar

Estimator = Literal["square", "halves"]


def irm_v1_penalty(
    logits: Float[Array, "n ..."],
    labels: Int[Array, " n"] | Float[Array, " n"],
    *,
    weights: Float[Array, " n"] | None = None,
    estimator: Estimator = "square",
) -> Scalar:
    """How far a domain's risk is from stationary in the scale of the logits: ``(d R(s z) / d s at s = 1)^2``.

    In closed form the derivative is the mean of ``(sigmoid(z) - y) z`` for binary logits, and of
    ``sum_k (softmax(z)_k - [k = y]) z_k`` for several classes.

    Args:
        logits: (n,) for binary labels, (n, classes) for a softmax.
        labels: (n,); integers in [0, classes), or numbers in [0, 1] beside binary logits.
        weights: not negative, not all zero: the mean over examples becomes a weighted one, and zeros leave examples
            out.
        estimator: ``"square"`` is the square of the derivative, right for a full batch. ``"halves"`` is the product of
            the derivatives on even and odd rows: without bias for a mini-batch, and sometimes negative.

    Returns:
        A scalar in squared nats.

    Raises:
        BadInput: the shapes do not belong together, there are too few rows, or the estimator is unknown.

    Source: Arjovsky et al. (2019), Invariant risk minimization, section 3.1 (IRMv1), and appendix D for halves.
    """
    _require(logits, labels, weights, estimator)
    slopes = _slopes(logits, labels)
    if estimator == "square":
        return jnp.square(_mean(slopes, weights))
    even, odd = slice(0, None, 2), slice(1, None, 2)
    return jnp.prod(
        jnp.stack([_mean(slopes[part], None if weights is None else weights[part]) for part in (even, odd)])
    )


def _slopes(logits: Array, labels: Array) -> Float[Array, " n"]:
    """Each example's own derivative of its loss in the scale of its logits."""
    if logits.ndim == 1:
        return (jax.nn.sigmoid(logits) - labels.astype(logits.dtype)) * logits
    hit = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return jnp.sum((jax.nn.softmax(logits) - hit) * logits, axis=-1)


def _mean(values: Array, weights: Array | None) -> Scalar:
    return jnp.mean(values) if weights is None else jnp.sum(weights * values) / jnp.sum(weights)


def _require(logits: Any, labels: Any, weights: Any, estimator: str) -> None:
    if estimator not in ("square", "halves"):
        raise BadInput(one_of("estimator", estimator, ("square", "halves")))
    least = 2 if estimator == "halves" else 1
    if logits.ndim not in (1, 2) or logits.shape[0] < least:
        raise BadInput(f"logits: shape {logits.shape} is not (n,) or (n, classes) with n of at least {least}")
    if labels.shape != logits.shape[:1]:
        raise BadInput(f"labels: shape {labels.shape} is not ({logits.shape[0]},), one for each row of the logits")
    if logits.ndim == 2 and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise BadInput(f"labels: dtype {labels.dtype} is not an integer type, which several classes need")
    if weights is not None and weights.shape != labels.shape:
        raise BadInput(f"weights: shape {weights.shape} is not {labels.shape}, one for each example")
