"""Penalties that make the gradients of domains alike: IGA, and Fishr on the last layer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from mlrisk.errors import BadInput
from mlrisk.types import Scalar


def iga_penalty(gradients: PyTree[Float[Array, "m ..."]]) -> Scalar:
    """The spread of the domains' gradients: ``sum_e |g_e - mean_f g_f|^2``.

    Args:
        gradients: of each domain's risk in the parameters, stacked along the leading axis; differentiate through
            them (``jax.jacrev`` of the vector of risks gives them).

    Returns:
        A scalar.

    Raises:
        BadInput: fewer than 2 domains.

    Source: Koyama and Yamaguchi (2020), When is invariance useful in an out-of-distribution generalization problem?
    """
    leaves = jax.tree.leaves(gradients)
    if not leaves or leaves[0].shape[0] < 2:
        raise BadInput("gradients: fewer than 2 domains along the leading axis")
    squares = [jnp.sum(jnp.square(leaf - leaf.mean(0, keepdims=True))) for leaf in leaves]
    return sum(squares[1:], start=squares[0])


class GradientVariances(NamedTuple):
    """Variances over examples of the gradients of the last layer: ``kernel`` (m, d, classes), ``bias`` (m, classes)."""

    kernel: Float[Array, "m d classes"]
    bias: Float[Array, "m classes"]


def last_layer_variances(
    features: Float[Array, "m n d"], logits: Float[Array, "m n classes"], labels: Int[Array, "m n"]
) -> GradientVariances:
    """The variance, over a domain's examples, of each entry of the gradient of the linear last layer.

    An example's gradient is ``features (softmax(z) - onehot(y))^T``; its variance is ``E g^2 - (E g)^2``, two matrix
    products of squares and of values, so that no gradient of one example is ever made.

    Args:
        features: inputs of the last layer.
        logits: its outputs.
        labels: integers in [0, classes).

    Raises:
        BadInput: the shapes do not belong together.

    Source: Rame et al. (2022), Fishr: invariant gradient variances for out-of-distribution generalization, section 3.
    """
    if features.ndim != 3 or logits.shape[:2] != features.shape[:2] or labels.shape != features.shape[:2]:
        shapes = f"{features.shape}, {logits.shape}, {labels.shape}"
        raise BadInput(f"features, logits, labels: shapes {shapes} are not (m, n, d), (m, n, classes), (m, n)")
    errors = jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    count = features.shape[1]

    def moment(left: Array, right: Array) -> Array:
        return jnp.einsum("mnd,mnc->mdc", left, right) / count

    kernel = moment(features**2, errors**2) - moment(features, errors) ** 2
    return GradientVariances(kernel, errors.var(1))


class Smoothed(NamedTuple):
    """An exponential average of variances, and how much weight it has gathered."""

    values: GradientVariances
    weight: Scalar


def smoothed(before: Smoothed, now: GradientVariances, decay: Float[Array, ""] | float) -> Smoothed:
    """One step of the exponential average; the past carries no gradient.

    Args:
        before: start with zeros.
        now: variances of this batch.
        decay: in [0, 1); 0 keeps no past.
    """
    past: Any = jax.lax.stop_gradient(before)
    rate = jnp.asarray(decay, past.weight.dtype)
    values = jax.tree.map(lambda old, new: rate * old + (1 - rate) * new, past.values, now)
    return Smoothed(GradientVariances(*values), rate * past.weight + (1 - rate))


def fishr_penalty(variances: GradientVariances | Smoothed) -> Scalar:
    """How far the domains' gradient variances are from their mean: ``mean_e mean (v_e - mean_f v_f)^2``.

    Args:
        variances: from `last_layer_variances`, or their average from `smoothed`, which is debiased here.

    Returns:
        A scalar: means over all entries of kernel and bias, and over domains.

    Raises:
        BadInput: fewer than 2 domains.

    Source: Rame et al. (2022), equation 4; the mean over entries and the average are DomainBed's.
    """
    if isinstance(variances, Smoothed):
        weight = variances.weight
        variances = GradientVariances(*jax.tree.map(lambda leaf: leaf / weight, variances.values))
    flat = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in variances], axis=1)
    if flat.shape[0] < 2:
        raise BadInput("variances: fewer than 2 domains along the leading axis")
    return jnp.mean(jnp.square(flat - flat.mean(0, keepdims=True)))
