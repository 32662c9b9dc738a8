"""Nine unnormalised densities on the plane, to fit by reverse Kullback-Leibler divergence: U1 to U9."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from mlrisk.errors import BadInput, one_of

Points = Float[Array, "*batch 2"]
LogDensity = Float[Array, "*batch"]
Box = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Energy:
    """An unnormalised log-density on the plane; calling it evaluates it on points (..., 2), in nats.

    Attributes:
        function: the log-density; value and gradient are finite at every finite point of moderate size.
        box: ((z1 low, z1 high), (z2 low, z2 high)); less than 1e-8 of the mass is outside.
    """

    function: Callable[[Points], LogDensity]
    box: Box

    def __call__(self, points: Points) -> LogDensity:
        """The log-density of each point (...), in nats, up to a constant."""
        return self.function(points)


def grid(box: Box, step: float) -> tuple[Float[np.ndarray, "rows columns 2"], float]:
    """Midpoints of a regular grid over a box, and the area of one cell.

    Args:
        box: see `Energy`.
        step: largest side of a cell, in the unit of the points.

    Returns:
        Points (rows, columns, 2) in float64, rows along z2 and columns along z1, and the area.
    """
    sides = [np.linspace(low, high, max(1, math.ceil((high - low) / step)) + 1) for low, high in box]
    mesh = np.meshgrid(*[(side[1:] + side[:-1]) / 2 for side in sides])
    return np.stack(mesh, axis=-1), float(np.prod([side[1] - side[0] for side in sides]))


def log_normaliser(energy: Energy, step: float = 0.04) -> float:
    """``log int exp(u(z)) dz`` by the midpoint rule in float64, in nats.

    Args:
        energy: one of `ENERGIES`.
        step: side of a cell; the error is below 1e-7 even for U3, which has a kink at the origin.

    Returns:
        The logarithm of the integral over the energy's box.
    """
    points, area = grid(energy.box, step)
    with jax.enable_x64(True):  # noqa: FBT003 (it takes its argument by position)
        values = np.asarray(jax.jit(energy.function)(jnp.asarray(points)))
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum() * area))


U4_MODES: Float[np.ndarray, "4 2"] = np.asarray([[-2.5, 0.0], [2.5, 0.0], [0.0, 2.5], [0.0, -2.5]])
"""Means of the four Gaussians of U4."""

U4_WEIGHTS: Float[np.ndarray, "4"] = np.asarray([0.1, 0.3, 0.4, 0.2])
"""Their masses."""

_U4_VARIANCE = 1.5  # of 2 z

U4_LOG_NORMALISER = 2.5 - 2 * math.log(2)
"""Exact: a normalised mixture of 2 z, times exp(2.5)."""


def mode_masses(points: Points, weights: Float[Array, "*batch"] | None = None) -> Float[Array, "4"]:
    """The share of points nearest each mode of U4.

    Args:
        points: samples (..., 2).
        weights: what each point counts (...), non-negative; 1 by default.

    Returns:
        Four shares that sum to 1. For U4 itself they are `U4_WEIGHTS` to within 0.002: the Gaussians overlap.
    """
    points = jnp.asarray(points)
    weights = jnp.ones(points.shape[:-1], points.dtype) if weights is None else jnp.asarray(weights)
    gaps = points[..., None, :] - _spread(jnp.asarray(U4_MODES, points.dtype), points.ndim - 1)
    nearest = jnp.argmin((gaps**2).sum(-1), axis=-1)
    counts = jnp.zeros(4, weights.dtype).at[nearest].add(weights)
    return counts / counts.sum()


def outside_modes(points: Points, deviations: float | int = 3) -> Float[Array, ""]:
    """The share of points (..., 2) farther than so many standard deviations from every mode of U4.

    For one Gaussian it is ``exp(-deviations^2 / 2)``; for U4 less, as discs of neighbouring modes touch: 0.009 for 3.
    """
    points = jnp.asarray(points)
    gaps = points[..., None, :] - _spread(jnp.asarray(U4_MODES, points.dtype), points.ndim - 1)
    nearest = (gaps**2).sum(-1).min(-1)
    return (nearest > deviations**2 * _U4_VARIANCE / 4).mean(dtype=points.dtype)


def find_energy(name: str) -> Energy:
    """The energy of that name.

    Raises:
        BadInput: there is none, with the nearest name.
    """
    if name not in ENERGIES:
        raise BadInput(one_of("energy", name, ENERGIES))
    return ENERGIES[name]


def _spread(array: Shaped[Array, "..."], leading: int) -> Shaped[Array, "..."]:
    return array.reshape((1,) * leading + array.shape)


def _norm(square: LogDensity) -> LogDensity:
    """The root of a non-negative number, with gradient 0 at 0, where the plain one is infinite."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def _bump(distance: LogDensity, scale: float) -> LogDensity:
    return -0.5 * (distance / scale) ** 2


def _either(*branches: LogDensity) -> LogDensity:
    return jax.nn.logsumexp(jnp.stack(branches), axis=0)


def _split(points: Points) -> tuple[LogDensity, LogDensity]:
    return points[..., 0], points[..., 1]


def _wave(z1: LogDensity) -> LogDensity:
    return jnp.sin(z1 * (0.5 * math.pi))


def _two_moons(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    return _bump(_norm(z1**2 + z2**2) - 2, 0.4) + _either(_bump(z1 - 2, 0.6), _bump(z1 + 2, 0.6))


def _broken_ring(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    ring = _bump(_norm(0.5 * (z1**2 + z2**2)) - 2, 0.5)
    return ring + _either(_bump(z1 - 2, 0.6), _bump(jnp.sin(z1), 0.5), _bump(z1 + z2 + 2.5, 0.6))


def _ring(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    return -((2 - _norm(z1**2 + 0.5 * z2**2)) ** 2)


def _four_modes(points: Points) -> LogDensity:
    scaled = jnp.asarray(2 * U4_MODES, points.dtype)
    squares = ((2 * points[..., None, :] - _spread(scaled, points.ndim - 1)) ** 2).sum(-1)
    logs = _spread(jnp.log(jnp.asarray(U4_WEIGHTS, points.dtype)), points.ndim - 1)
    return jax.nn.logsumexp(logs - squares / (2 * _U4_VARIANCE), axis=-1) - math.log(2 * math.pi * _U4_VARIANCE) + 2.5


def _snake(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    return _bump(z2 - _wave(z1), 0.4) - 0.1 * z1**2


def _split_snake(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    away, gap = z2 - _wave(z1), 3 * jnp.exp(_bump(z1 - 2, 1.0))
    return _either(_bump(away, 0.35), _bump(away + gap, 0.35)) - 0.05 * z1**2


def _split_cosine(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    away, gap = z2 - jnp.cos(z1 * (0.35 * math.pi)), 2 * jnp.exp(-0.2 * (2 * (z1 - 2)) ** 2)
    return _either(_bump(away, 0.35), _bump(away + gap, 0.35)) - 0.1 * (z1 - 2) ** 2


def _forked(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    away, gap = z2 - _wave(z1), 2.5 * jax.nn.sigmoid((z1 - 2) / 0.3)
    return _either(_bump(away, 0.4), _bump(away + gap, 0.35))


def _forked_and_bump(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    fork = _forked(points) - 0.05 * ((z1 - 2) ** 2 + (z2 + 3) ** 2)
    return _either(fork, -2.5 * (z1 - 2) ** 2 - 2.5 * (z2 - 2) ** 2)


def _forked_and_ring(points: Points) -> LogDensity:
    z1, z2 = _split(points)
    return _either(_forked(points) - 0.05 * (z1**2 + z2**2), 2 * _ring(1.5 * points - 2)) - 1


ENERGIES: Mapping[str, Energy] = {
    "U1": Energy(_two_moons, ((-6.0, 6.0), (-6.0, 6.0))),
    "U2": Energy(_broken_ring, ((-8.0, 8.0), (-8.0, 8.0))),
    "U3": Energy(_ring, ((-8.0, 8.0), (-11.0, 11.0))),
    "U4": Energy(_four_modes, ((-7.0, 7.0), (-7.0, 7.0))),
    "U5": Energy(_snake, ((-15.0, 15.0), (-5.0, 5.0))),
    "U6": Energy(_split_snake, ((-21.0, 21.0), (-7.0, 5.0))),
    "U7": Energy(_split_cosine, ((-13.0, 17.0), (-6.0, 4.0))),
    "U8": Energy(_forked_and_bump, ((-19.0, 23.0), (-7.0, 6.0))),
    "U9": Energy(_forked_and_ring, ((-21.0, 21.0), (-7.0, 8.0))),
}
"""The toy energies by name.

Source:
    Huang et al. 2018, target densities of the published code; they vary and extend the four of Rezende and
    Mohamed, Variational inference with normalizing flows, ICML 2015, Table 1.

Differs:
    Sums of exponentials are taken in log space, and the norm has gradient 0 at the origin: values and gradients
    are finite where the published formulas give infinities.
"""
