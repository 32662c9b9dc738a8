"""The evidence lower bound and what is made of it: annealing, free bits, importance-weighted log-likelihood."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput
from mlrisk.types import Examples, Hyper, Metrics, Objective, Params, RandomKey, Scalar

_LOG_TWO_PI = math.log(2 * math.pi)


@runtime_checkable
class Posterior(Protocol):
    """What is needed of q(z|x): any `distrax.Distribution` with batch (n,) and event (latent,)."""

    def sample_and_log_prob(
        self, *, seed: RandomKey
    ) -> tuple[Float[Array, "n latent"], Float[Array, " n"]]:  # pragma: no cover
        """One latent for each example, with its log-density in nats."""
        ...


class ElboTerms(NamedTuple):
    """The two terms of the bound for each example (n,), in nats, from one latent each."""

    log_likelihood: Float[Array, " n"]
    kl: Float[Array, " n"]

    @property
    def elbo(self) -> Float[Array, " n"]:
        """``log p(x|z) - kl``: an unbiased estimate of the bound."""
        return self.log_likelihood - self.kl


def bernoulli_log_likelihood(
    logits: Float[Array, "*batch event"], pixels: Float[Array, "*batch event"]
) -> Float[Array, "*batch"]:
    """The log-likelihood of black-and-white pixels: ``sum_i x_i l_i - log(1 + exp(l_i))``, in nats.

    Args:
        logits: log-odds l of each pixel being on.
        pixels: x in {0, 1}; values between are taken as expectations.

    Returns:
        One log-likelihood for each picture, finite for finite logits.
    """
    return jnp.sum(pixels * logits - jax.nn.softplus(logits), axis=-1)


def standard_normal_log_density(latents: Float[Array, "*batch event"]) -> Float[Array, "*batch"]:
    """The log-density of N(0, I): ``-|z|^2 / 2 - d log(2 pi) / 2``, in nats."""
    return -0.5 * (jnp.sum(jnp.square(latents), axis=-1) + latents.shape[-1] * _LOG_TWO_PI)


def elbo_terms(
    log_likelihood: Callable[[Float[Array, "n latent"]], Float[Array, " n"]],
    posterior: Posterior,
    key: RandomKey,
    log_prior: Callable[[Float[Array, "n latent"]], Float[Array, " n"]] = standard_normal_log_density,
) -> ElboTerms:
    """One draw of the evidence lower bound of each example, for any posterior that knows its samples' density.

    ``z ~ q(z|x)``, ``log p(x|z)`` and the Monte-Carlo ``kl = log q(z|x) - log p(z)``, whose mean is the divergence.

    Args:
        log_likelihood: latents (n, latent) -> ``log p(x|z)`` of each example's own picture (n,).
        posterior: q(z|x), batch (n,).
        key: typed key of the draw.
        log_prior: ``log p(z)``; by default of N(0, I).

    Returns:
        `ElboTerms`; a single-sample ``kl`` may be negative.

    Source:
        Kingma and Welling (2014), equation 7; the KL by samples as in Kingma et al. (2016), algorithm 1.
    """
    latents, log_q = posterior.sample_and_log_prob(seed=key)
    return ElboTerms(log_likelihood(latents), log_q - log_prior(latents))


def kl_annealing(step: Int[Array, ""] | int, warmup: int = 50_000, floor: float = 1e-4) -> Float[Array, ""]:
    """The weight of the KL at a step: ``min(1, max(floor, step / warmup))``.

    Args:
        step: optimiser steps taken before this one; may be traced.
        warmup: steps until the weight is 1; 0 for a weight of 1 throughout.
        floor: least weight.

    Returns:
        A scalar in [floor, 1].

    Raises:
        BadInput: ``warmup`` is negative, or ``floor`` is not in [0, 1].

    Source:
        Bowman et al. (2016), section 3.1; the constants of Huang et al. (2018).
    """
    if warmup < 0 or not 0 <= floor <= 1:
        raise BadInput(f"kl_annealing: warmup {warmup} must be at least 0 and floor {floor} in [0, 1]")
    share = jnp.asarray(step, jnp.float32) / max(warmup, 1)
    return jnp.clip(share, floor, 1.0) if warmup else jnp.ones_like(share)


def penalised_kl(
    kl: Float[Array, " n"], weight: Float[Array, ""] | float = 1.0, free_bits: float = 0.0
) -> Float[Array, " n"]:
    """What an example pays for its posterior: ``max(weight kl, free_bits)``, on the total KL over all dimensions.

    Args:
        kl: total KL of each example, in nats.
        weight: annealing weight in [0, 1].
        free_bits: nats that cost nothing; 0 lets a single-sample KL that is negative count as it is.

    Returns:
        The penalty of each example, in nats.

    Source:
        Kingma et al. (2016), appendix C.8, there for groups of dimensions; on the total as in Huang et al. (2018).
    """
    weighted = weight * kl
    return jnp.maximum(weighted, free_bits) if free_bits else weighted


def negative_elbo(
    at: Callable[[Params], tuple[Callable[[Array], Posterior], Callable[[Array, Array], Array]]], free_bits: float = 0.0
) -> Objective:
    """The objective that trains a model with latents by the evidence lower bound.

    Mean over the batch of ``-log p(x|z) + max(w (log q(z|x) - log p(z)), free_bits)``, one ``z ~ q(z|x)`` each.

    Args:
        at: ``params -> (inputs -> q(z|x), (latents, inputs) -> log p(x|z))``.
        free_bits: see `penalised_kl`.

    Returns:
        ``(params, batch, weight, key) -> (loss, metrics)`` on `Examples` (labels are not used), with w as the hyper
        (None for 1) and metrics ``elbo``, ``kl`` (nats, unweighted) and ``weight``.

    Source:
        Kingma et al. (2016), equation 2 and appendix C.8.
    """

    def objective(params: Params, batch: Examples, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        weight = jnp.float32(1) if hyper is None else hyper
        posterior, log_likelihood = at(params)
        terms = elbo_terms(lambda latents: log_likelihood(latents, batch.inputs), posterior(batch.inputs), key)
        loss = jnp.mean(penalised_kl(terms.kl, weight, free_bits) - terms.log_likelihood)
        return loss, {"elbo": terms.elbo.mean(), "kl": terms.kl.mean(), "weight": weight}

    return objective


class WeightedBounds(NamedTuple):
    """Two bounds on log p(x) for each example (n,), in nats, from the same latents."""

    elbo: Float[Array, " n"]
    """Mean of the log-weights ``log p(x, z) - log q(z|x)``: the evidence lower bound."""
    log_likelihood: Float[Array, " n"]
    """Log of the mean weight: the importance-weighted bound."""


def importance_weighted_bounds(
    log_joint: Callable[[Float[Array, "n latent"]], Float[Array, " n"]],
    posterior: Posterior,
    key: RandomKey,
    num_samples: int,
    *,
    chunk: int = 50,
) -> WeightedBounds:
    """Bounds on log p(x) from K importance weights an example, in memory that does not grow with K.

    ``log w_k = log p(x, z_k) - log q(z_k|x)``, ``z_k ~ q(z|x)``;
    ``elbo = (1/K) sum_k log w_k`` and ``log_likelihood = log (1/K) sum_k w_k``, which rises to log p(x) with K.

    Sample k is drawn from ``fold_in(key, k)``, so the result depends on ``chunk`` through rounding alone.

    Args:
        log_joint: latents (n, latent) -> ``log p(x, z)`` of each example's own x (n,); is vmapped over samples.
        posterior: q(z|x), batch (n,).
        key: typed key.
        num_samples: K (static).
        chunk: samples at a time (static).

    Returns:
        Both bounds for each example, in nats.

    Raises:
        BadInput: ``num_samples`` or ``chunk`` is not positive.

    Source:
        Burda, Grosse and Salakhutdinov (2016), equation 8.
    """
    if num_samples < 1 or chunk < 1:
        raise BadInput(f"num_samples: {num_samples} in chunks of {chunk}; both must be at least 1")
    width = min(chunk, num_samples)

    def log_weight(index: Int[Array, ""]) -> Float[Array, " n"]:
        latents, log_q = posterior.sample_and_log_prob(seed=jax.random.fold_in(key, index))
        return log_joint(latents) - log_q

    def add(number: Int[Array, ""] | int, totals: tuple[Array, Array]) -> tuple[Array, Array]:
        indices = number * width + jnp.arange(width)
        weights, real = jax.vmap(log_weight)(indices), (indices < num_samples)[:, None]
        most = jax.nn.logsumexp(jnp.where(real, weights, -jnp.inf), axis=0)
        return totals[0] + jnp.where(real, weights, 0).sum(0), jnp.logaddexp(totals[1], most)

    like = jax.eval_shape(log_weight, jnp.int32(0))
    start = (jnp.zeros_like(like), jnp.full_like(like, -jnp.inf))
    total, weight = lax.fori_loop(0, -(-num_samples // width), add, start)
    return WeightedBounds(total / num_samples, weight - math.log(num_samples))


def importance_weighted_log_likelihood(
    log_joint: Callable[[Float[Array, "n latent"]], Float[Array, " n"]],
    posterior: Posterior,
    key: RandomKey,
    num_samples: int,
    *,
    chunk: int = 50,
) -> Float[Array, " n"]:
    """The importance-weighted bound on log p(x): the second of `importance_weighted_bounds`, which see."""
    return importance_weighted_bounds(log_joint, posterior, key, num_samples, chunk=chunk).log_likelihood
