"""Fitting a flow to samples (maximum likelihood) or to a log-density (reverse Kullback-Leibler divergence)."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput
from mlrisk.types import Hyper, Metrics, Objective, Params, RandomKey, Scalar

LogTarget = Callable[..., Float[Array, "..."]]
"""``(points) -> log-density``, or ``(points, hyper)`` for targets that differ from lane to lane; in nats."""


@runtime_checkable
class Base(Protocol):
    """The distribution of the noise, as distrax has them; events (D,)."""

    def sample(self, *, seed: Any, sample_shape: Any) -> Any:
        """Independent draws (sample_shape, D)."""
        ...

    def log_prob(self, value: Any, /) -> Any:
        """The log-density of each draw, in nats."""
        ...


@runtime_checkable
class FlowLike(Protocol):
    """Whatever has ``bijector(params)`` that maps noise to data forward, as `mlrisk.bijectors.Flow` has."""

    @property
    def bijector(self) -> Callable[..., Any]:
        """The function that makes a distrax bijector of parameters."""
        ...


class Tempered(NamedTuple):
    """A hyper with the weight of the target's log-density, and the hyper that the target itself is given."""

    weight: Float[Array, "..."]
    target: Hyper = None


class Fitness(NamedTuple):
    """How near a flow is to an unnormalised target, from weighted samples; in nats."""

    elbo: Scalar
    """``E_q[log p~ - log q]``, a lower bound on the log-normaliser."""
    log_normaliser: Scalar
    """``log mean(p~ / q)`` by importance sampling."""
    efficiency: Scalar
    """Effective sample size over the number of samples, in (0, 1]."""


def maximum_likelihood(flow: FlowLike, base: Base) -> Objective:
    """The mean negative log-likelihood of a batch, ``-(1 / n) sum_i log q(x_i)``, in nats.

    ``log q(x) = log base(f^-1(x)) + log |det df^-1/dx|``.

    Args:
        flow: one whose inverse takes one pass (``parallel="inverse"``), or training is slow.
        base: distribution of the noise, events (D,).

    Returns:
        ``(params, batch, hyper, key) -> (loss, metrics)`` on batches (n, D), with metric ``loss``; neither
        hyper nor key is used.
    """

    def objective(params: Params, batch: Float[Array, "n d"], hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        del hyper, key
        loss = -log_density(flow, base, params, batch).mean()
        return loss, {"loss": loss}

    return objective


def reverse_kl(flow: FlowLike, log_target: LogTarget, batch_size: int, base: Base) -> Objective:
    """``E_q[log q(x) - w log p~(x)]`` by reparameterised samples: KL(q || p) up to the log-normaliser, in nats.

    Args:
        flow: one whose forward direction takes one pass (``parallel="forward"``).
        log_target: log p~; a function of two arguments is given hyper too.
        batch_size: fresh samples a step, at least 1.
        base: distribution of the noise, events (D,).

    Returns:
        ``(params, batch, hyper, key) -> (loss, metrics)`` with metrics ``loss`` and ``elbo`` (untempered). The
        batch is not used. The weight w is 1, or that of a hyper that is `Tempered`; see `tempering`.

    Raises:
        BadInput: ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise BadInput(f"batch_size: {batch_size} is not a positive number of samples")

    def objective(params: Params, batch: Any, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics]:
        del batch
        weight, own = hyper if isinstance(hyper, Tempered) else (1.0, hyper)
        points, log_q = draw(flow, base, params, key, batch_size)
        log_p = _target_at(log_target, points, own)
        return (log_q - weight * log_p).mean(), {
            "loss": (log_q - weight * log_p).mean(),
            "elbo": (log_p - log_q).mean(),
        }

    return objective


def tempering(start: float | int, steps: float | int) -> Callable[[Hyper, Int[Array, ""]], Tempered]:
    """A schedule for `mlrisk.harness.make_train`: the weight ``min(1, start + step / steps)``.

    Args:
        start: weight at step 0, in [0, 1].
        steps: how many steps a whole unit takes, above 0.

    Returns:
        ``(hyper, step) -> Tempered(weight, hyper)``.

    Raises:
        BadInput: a number is out of its range.

    Source: Huang et al. 2018, the sine wave posterior, with start 0.2 and 16000 steps.
    """
    if not 0 <= start <= 1:
        raise BadInput(f"start: {start} is not in [0, 1]")
    if not steps > 0:
        raise BadInput(f"steps: {steps} is not above 0")

    def schedule(hyper: Hyper, step: Int[Array, ""]) -> Tempered:
        return Tempered(jnp.minimum(1.0, start + jnp.asarray(step).astype(jnp.float32) / steps), hyper)

    return schedule


def log_density(flow: FlowLike, base: Base, params: Params, points: Float[Array, "n d"]) -> Float[Array, " n"]:
    """The flow's log-density at each point (n,), in nats."""
    noise, log_det = flow.bijector(params).inverse_and_log_det(points)
    return base.log_prob(noise) + log_det


def draw(
    flow: FlowLike, base: Base, params: Params, key: RandomKey, count: int
) -> tuple[Float[Array, "count d"], Float[Array, " count"]]:
    """Samples of the flow (count, D) and their log-densities (count,), in one pass forward."""
    noise = base.sample(seed=key, sample_shape=(count,))
    points, log_det = flow.bijector(params).forward_and_log_det(noise)
    return points, base.log_prob(noise) - log_det


def fitness(
    flow: FlowLike, log_target: LogTarget, base: Base, params: Params, key: RandomKey, count: int, hyper: Hyper = None
) -> tuple[Fitness, Float[Array, "count d"], Float[Array, " count"]]:
    """How well a flow stands for an unnormalised target, with the samples (count, D) and their log-weights.

    Args:
        flow: see `reverse_kl`.
        log_target: see `reverse_kl`.
        base: distribution of the noise, events (D,).
        params: of the flow.
        key: of the samples.
        count: how many.
        hyper: given to targets that want it.

    Returns:
        `Fitness`, samples, and ``log p~ - log q`` of each.
    """
    points, log_q = draw(flow, base, params, key, count)
    log_weights = _target_at(log_target, points, hyper) - log_q
    total, squares = jax.nn.logsumexp(log_weights), jax.nn.logsumexp(2 * log_weights)
    log_count = math.log(count)
    found = Fitness(log_weights.mean(), total - log_count, jnp.exp(2 * total - squares - log_count))
    return found, points, log_weights


def _target_at(log_target: LogTarget, points: Array, hyper: Hyper) -> Array:
    wanted = [p for p in inspect.signature(log_target).parameters.values() if p.default is p.empty]
    return log_target(points, hyper) if len(wanted) == 2 else log_target(points)
