"""The frequency of a sine wave seen at three of its zeros: a posterior with four modes, known by quadrature."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

TIMES: Float[np.ndarray, "3"] = np.asarray([0.0, 5 / 6, 10 / 6])
"""When the wave was observed, in seconds; every observation is 0."""

HIGHEST = 2.0
"""The prior on the frequency is uniform on (0, 2) hertz."""

VARIANCE = 0.125
"""Variance of the noise on each observation."""

MODES: Float[np.ndarray, "4"] = np.asarray([0.0, 0.6, 1.2, 1.8])
"""Frequencies at which all observations are zeros of the wave; the first is half a mode, at the prior's edge."""

EDGES: Float[np.ndarray, "5"] = np.asarray([0.0, 0.3, 0.9, 1.5, 2.0])
"""Where the valleys between the modes are."""


class SineOracle(NamedTuple):
    """What quadrature says of the posterior: masses between `EDGES` (4,), in nats the integral and the entropy."""

    masses: Float[np.ndarray, "4"]
    log_integral: float
    entropy: float


def log_likelihood(frequency: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``-sum_i sin(2 pi f t_i)^2 / (2 * 0.125)``: the log-likelihood of zeros at `TIMES`, without its constant.

    Args:
        frequency: f (...), in hertz.

    Returns:
        One number a frequency (...), in nats, at most 0.

    Source: Huang et al. 2018, the sine wave posterior.
    """
    frequency = jnp.asarray(frequency)
    phases = [jnp.sin(frequency * (2 * math.pi * time)) ** 2 for time in TIMES.tolist()]
    return -sum(phases[1:], start=phases[0]) / (2 * VARIANCE)


def log_prior(frequency: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``-log 2`` on (0, 2) hertz, minus infinity outside (...), in nats."""
    frequency = jnp.asarray(frequency)
    inside = (frequency > 0) & (frequency < HIGHEST)
    return jnp.where(inside, -math.log(HIGHEST), -jnp.inf).astype(frequency.dtype)


def posterior_oracle(nodes: int = 200_000) -> SineOracle:
    """The posterior by the midpoint rule in float64.

    Args:
        nodes: cells over (0, 2) hertz; the default divides at `EDGES`.

    Returns:
        `SineOracle`; with the prior's density 1/2 the integral is ``log 2`` smaller.
    """
    frequency = (np.arange(nodes) + 0.5) * HIGHEST / nodes
    log_density = -(np.sin(2 * np.pi * frequency[:, None] * TIMES) ** 2).sum(1) / (2 * VARIANCE)
    cell = np.exp(log_density) * HIGHEST / nodes
    total = cell.sum()
    masses = np.histogram(frequency, EDGES, weights=cell / total)[0]
    log_integral = float(np.log(total))
    return SineOracle(masses, log_integral, float(log_integral - (cell * log_density).sum() / total))


def mode_masses(frequency: Float[Array, " n"]) -> Float[Array, "4"]:
    """The share of frequencies (n,) in hertz between each pair of `EDGES`."""
    frequency = jnp.asarray(frequency)
    cell = jnp.searchsorted(jnp.asarray(EDGES[1:-1], frequency.dtype), frequency, side="right")
    return jnp.zeros(4, frequency.dtype).at[cell].add(1) / frequency.shape[0]
