"""Networks that guess the domain from features, for adversarial training of the features."""

import itertools
from typing import Any

import jax
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.objectives.featurised import apply_linear, init_linear
from mlrisk.objectives.matching import Strength, domain_confusion, reverse_gradient
from mlrisk.types import RandomKey, Scalar

WIDTH = 256
DEPTH = 3


def init_discriminator(
    key: RandomKey,
    num_features: int,
    num_domains: int,
    *,
    num_classes: int = 0,
    width: int = WIDTH,
    depth: int = DEPTH,
) -> dict[str, Any]:
    """Layers of an MLP from features to domains, and an embedding of each class where there are classes.

    Args:
        key: typed key.
        num_features: d.
        num_domains: m.
        num_classes: 0 for a discriminator that does not look at labels (DANN).
        width: units of the hidden layers.
        depth: linear layers, the last included.

    Returns:
        ``layers``, and ``classes`` (num_classes, d) from a standard normal.
    """
    sizes = [num_features, *[width] * (depth - 1), num_domains]
    keys = prng.streams(key, *(f"layer{number}" for number in range(depth)))
    layers = [init_linear(k, a, b) for k, (a, b) in zip(keys, itertools.pairwise(sizes), strict=True)]
    if not num_classes:
        return {"layers": layers}
    return {"layers": layers, "classes": jax.random.normal(prng.stream(key, "classes"), (num_classes, num_features))}


def confusion(
    discriminator: dict[str, Any],
    features: Float[Array, "m n d"],
    strength: Strength,
    labels: Int[Array, "m n"] | None = None,
) -> Scalar:
    """The discriminator's cross-entropy: it learns to lower it, and the features to raise it ``strength`` times.

    Args:
        discriminator: from `init_discriminator`, with classes if there are labels.
        features: of m domains.
        strength: factor of the reversed gradient that reaches the features.
        labels: each class then counts alike, and its embedding is added to the features (C-DANN).

    Returns:
        A scalar in nats.

    Source: Ganin et al. (2016); Li et al. (2018); sizes and embeddings of DomainBed.
    """
    values = reverse_gradient(features, strength)
    if labels is not None:
        values = values + discriminator["classes"][labels]
    *hidden, last = discriminator["layers"]
    for layer in hidden:
        values = jax.nn.relu(apply_linear(layer, values))
    num_classes = 0 if labels is None else discriminator["classes"].shape[0]
    return domain_confusion(apply_linear(last, values), labels, num_classes)
