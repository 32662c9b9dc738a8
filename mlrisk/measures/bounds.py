"""Bounds on the log-likelihood of a whole data set under a model with latents, a batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput
from mlrisk.objectives.elbo import (
    ElboTerms,
    WeightedBounds,
    elbo_terms,
    importance_weighted_bounds,
    standard_normal_log_density,
)
from mlrisk.types import RandomKey

PosteriorOf = Callable[[Float[Array, "batch ..."]], Any]
"""Inputs -> q(z|x), see `mlrisk.objectives.elbo.Posterior`."""

LikelihoodOf = Callable[[Float[Array, "batch latent"], Float[Array, "batch ..."]], Float[Array, " batch"]]
"""``(latents, inputs) -> log p(x|z)``, in nats."""


def data_elbo(
    posterior: PosteriorOf,
    log_likelihood: LikelihoodOf,
    inputs: Float[Array, "n ..."],
    key: RandomKey,
    *,
    batch_size: int = 100,
) -> ElboTerms:
    """The terms of the evidence lower bound of each example under the prior N(0, I), from one latent each.

    Args:
        posterior: q(z|x) of a batch.
        log_likelihood: log p(x|z) of a batch.
        inputs: the whole set (n, *shape).
        key: typed key.
        batch_size: examples at a time, to bound the memory (static).

    Returns:
        `ElboTerms` (n,), in nats.

    Raises:
        BadInput: ``batch_size`` is not positive.
    """

    def terms(batch: Array, key: RandomKey) -> ElboTerms:
        return elbo_terms(lambda latents: log_likelihood(latents, batch), posterior(batch), key)

    return _over_batches(terms, inputs, key, batch_size)


def data_bounds(
    posterior: PosteriorOf,
    log_likelihood: LikelihoodOf,
    inputs: Float[Array, "n ..."],
    key: RandomKey,
    *,
    num_samples: int,
    batch_size: int = 100,
    chunk: int = 50,
) -> WeightedBounds:
    """The evidence lower bound and the importance-weighted one of each example under the prior N(0, I).

    Args:
        posterior: q(z|x) of a batch.
        log_likelihood: log p(x|z) of a batch.
        inputs: the whole set (n, *shape).
        key: typed key.
        num_samples: latents an example (static).
        batch_size: examples at a time (static).
        chunk: latents at a time (static); memory grows with ``batch_size * chunk``.

    Returns:
        `WeightedBounds` (n,), in nats; see `mlrisk.objectives.importance_weighted_bounds`.

    Raises:
        BadInput: a count is not positive.
    """

    def bounds(batch: Array, key: RandomKey) -> WeightedBounds:
        def log_joint(latents: Float[Array, "batch latent"]) -> Float[Array, " batch"]:
            return log_likelihood(latents, batch) + standard_normal_log_density(latents)

        return importance_weighted_bounds(log_joint, posterior(batch), key, num_samples, chunk=chunk)

    return _over_batches(bounds, inputs, key, batch_size)


def _over_batches(function: Callable[[Array, RandomKey], Any], inputs: Array, key: RandomKey, batch_size: int) -> Any:
    """``function(batch, key of the batch)`` on equal batches; the last is filled up with the last example."""
    if batch_size < 1:
        raise BadInput(f"batch_size: {batch_size} is not a positive number of examples")
    total = inputs.shape[0]
    count = -(-total // batch_size)
    size = -(-total // count)
    rows = jnp.minimum(jnp.arange(count * size), total - 1).reshape(count, size)

    def one(number: Int[Array, ""]) -> Any:
        return function(inputs[rows[number]], jax.random.fold_in(key, number))

    found = jax.lax.map(one, jnp.arange(count))
    return jax.tree.map(lambda leaf: leaf.reshape(count * size)[:total], found)
