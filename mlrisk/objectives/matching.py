"""Penalties that make the features of domains alike: CORAL, MMD, information bottleneck, adversarial training."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput
from mlrisk.objectives.classification import cross_entropy
from mlrisk.types import Scalar

Strength = Float[Array, ""] | float
GAMMAS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""The kernels ``exp(-gamma |x - y|^2)`` that `mmd_penalty` adds."""


def coral_penalty(features: Float[Array, "m n d"]) -> Scalar:
    """Differences of means and covariances, over pairs of domains: ``mean (mu_e - mu_f)^2 + mean (C_e - C_f)^2``.

    Args:
        features: of m domains, at least 2, with n examples each, at least 2.

    Returns:
        A scalar: means over entries and over pairs; covariances are divided by n - 1.

    Raises:
        BadInput: the shape is another.

    Source:
        Sun and Saenko (2016), Deep CORAL, with the means and scaling of Gulrajani and Lopez-Paz (2021), DomainBed.
    """
    _require_features(features)
    means = features.mean(1)
    centred = features - means[:, None]
    spread = jnp.einsum("mnd,mne->mde", centred, centred) / (features.shape[1] - 1)
    pairs = _pairs(features.shape[0])
    apart = [jnp.mean((means[a] - means[b]) ** 2) + jnp.mean((spread[a] - spread[b]) ** 2) for a, b in pairs]
    return jnp.mean(jnp.stack(apart))


def mmd_penalty(features: Float[Array, "m n d"], gammas: Sequence[float] = GAMMAS) -> Scalar:
    """Squared maximum mean discrepancy over pairs of domains: ``E k(x, x') + E k(y, y') - 2 E k(x, y)``.

    Args:
        features: of m domains, at least 2, with n examples each, at least 2.
        gammas: of the Gaussian kernels ``exp(-gamma |x - y|^2)``, which are added.

    Returns:
        A scalar, not negative: the biased estimate, with each example beside itself.

    Raises:
        BadInput: the shape is another.

    Source:
        Gretton et al. (2012), A kernel two-sample test; Li et al. (2018), Domain generalization with adversarial
        feature learning; kernels as in DomainBed.
    """
    _require_features(features)

    def similarity(a: int, b: int) -> Scalar:
        left, right = features[a], features[b]
        cross = left @ right.T
        squared = jnp.sum(left**2, -1)[:, None] + jnp.sum(right**2, -1)[None, :] - 2 * cross
        return sum((jnp.exp(-g * jnp.maximum(squared, 0)).mean() for g in gammas), start=jnp.zeros((), cross.dtype))

    own = [similarity(a, a) for a in range(features.shape[0])]
    return jnp.mean(jnp.stack([own[a] + own[b] - 2 * similarity(a, b) for a, b in _pairs(features.shape[0])]))


def information_bottleneck_penalty(features: Float[Array, "m n d"]) -> Scalar:
    """The variance of each feature within a domain, averaged: a bound on the entropy of the features.

    Args:
        features: of m domains with n examples each, at least 2.

    Returns:
        A scalar; variances are divided by n - 1, and averaged over features and domains.

    Raises:
        BadInput: the shape is another.

    Source: Ahuja et al. (2021), Invariance principle meets information bottleneck (IB-ERM, IB-IRM).
    """
    _require_features(features, least=1)
    return jnp.var(features, axis=1, ddof=1).mean()


def spectral_decoupling_penalty(logits: Float[Array, "*batch classes"]) -> Scalar:
    """The mean square of the logits: ``mean z^2``, in place of weight decay.

    Source: Pezeshki et al. (2021), Gradient starvation (SD), with the scaling of DomainBed.
    """
    return jnp.mean(jnp.square(logits))


@jax.custom_vjp
def reverse_gradient(values: Array, strength: Strength) -> Array:
    """The values as they are; their gradient times ``-strength``.

    Source: Ganin et al. (2016), Domain-adversarial training of neural networks, section 4.2.
    """
    del strength
    return values


def _reverse_forward(values: Array, strength: Strength) -> tuple[Array, Strength]:
    return values, strength


def _reverse_backward(strength: Strength, cotangent: Array) -> tuple[Array, None]:
    return -jnp.asarray(strength, cotangent.dtype) * cotangent, None


reverse_gradient.defvjp(_reverse_forward, _reverse_backward)


def domain_confusion(
    scores: Float[Array, "m n m"], labels: Int[Array, "m n"] | None = None, num_classes: int = 0
) -> Scalar:
    """The cross-entropy with which a discriminator names the domain of each example (DANN, C-DANN).

    Without labels each example counts alike. With them each class counts alike (C-DANN): an example's weight is one
    over the number of examples of its class in the batch.

    Args:
        scores: the discriminator's logits over the m domains, for features whose gradient is reversed.
        labels: the classes, for a discriminator that was given them too.
        num_classes: how many classes there are; needed with labels.

    Returns:
        A scalar in nats.

    Raises:
        BadInput: the scores are not over as many domains as there are, or labels come without ``num_classes``.

    Source:
        Ganin et al. (2016); Li et al. (2018), Deep domain generalization via conditional invariant adversarial
        networks.
    """
    count, size = scores.shape[:2]
    if scores.ndim != 3 or scores.shape[2] != count:
        raise BadInput(f"scores: shape {scores.shape} is not (m, n, m), over the m domains that the batch has")
    truth = jnp.broadcast_to(jnp.arange(count)[:, None], (count, size))
    losses = cross_entropy(scores, truth)
    if labels is None:
        return losses.mean()
    if num_classes < 1:
        raise BadInput(f"num_classes: {num_classes} is not the number of classes, which labels need")
    member = jax.nn.one_hot(labels, num_classes, dtype=losses.dtype)
    weights = 1 / (member @ member.sum((0, 1)))
    return jnp.sum(weights * losses) / jnp.sum(weights)


def _pairs(count: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(count), 2))


def _require_features(features: Any, least: int = 2) -> None:
    if features.ndim != 3 or features.shape[0] < least or features.shape[1] < 2:
        raise BadInput(
            f"features: shape {features.shape} is not (m, n, d) with at least {least} domains of at least 2 examples"
        )
