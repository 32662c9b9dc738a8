"""Densities on the plane that can be both drawn from and evaluated: grids of Gaussians and the swiss roll."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk import prng
from mlrisk.data.energies import Box
from mlrisk.errors import BadInput, one_of
from mlrisk.types import RandomKey

_NODES = 512


@dataclass(frozen=True, eq=False)
class Toy:
    """A density on the plane: ``p(x) = sum_k w_k N(x; m_k, s^2 I)``.

    Attributes:
        means: centres m (components, 2).
        weights: masses w (components,), which sum to 1.
        scale: standard deviation s of every component.
        box: holds all but 1e-8 of the mass.
        centres: how to draw centres where the mixture is a quadrature of a continuous one; else None.
    """

    means: Float[np.ndarray, "components 2"]
    weights: Float[np.ndarray, " components"]
    scale: float
    box: Box
    centres: Callable[[RandomKey, int], Float[Array, "n 2"]] | None = None

    def sample(self, key: RandomKey, count: int) -> Float[Array, "count 2"]:
        """Independent draws (count, 2) in float32."""
        which, noise = prng.streams(key, "toy/centre", "toy/noise")
        if self.centres is None:
            row = jax.random.choice(which, len(self.weights), (count,), p=jnp.asarray(self.weights, jnp.float32))
            centre = jnp.asarray(self.means, jnp.float32)[row]
        else:
            centre = self.centres(which, count)
        return centre + self.scale * jax.random.normal(noise, (count, 2))

    def log_prob(self, points: Float[Array, "*batch 2"]) -> Float[Array, "*batch"]:
        """The log-density of each point (...), in nats."""
        points = jnp.asarray(points)
        lead = (1,) * (points.ndim - 1)
        means = jnp.asarray(self.means, points.dtype).reshape(*lead, -1, 2)
        logs = jnp.log(jnp.asarray(self.weights, points.dtype)).reshape(*lead, -1)
        squares = ((points[..., None, :] - means) ** 2).sum(-1)
        constant = math.log(2 * math.pi * self.scale**2)
        return jax.nn.logsumexp(logs - squares / (2 * self.scale**2), axis=-1) - constant


def four_gaussians() -> Toy:
    """Four Gaussians of variance 1 at distance 5 from the origin, masses 0.1, 0.3, 0.4, 0.2: the 2 x 2 grid.

    Source: Huang et al. 2018, toy density estimation; means (-5, 0), (5, 0), (0, 5), (0, -5) as in its code.
    """
    means = np.asarray([[-5.0, 0.0], [5.0, 0.0], [0.0, 5.0], [0.0, -5.0]])
    return Toy(means, np.asarray([0.1, 0.3, 0.4, 0.2]), 1.0, ((-12.0, 12.0), (-12.0, 12.0)))


def gaussian_grid(side: int) -> Toy:
    """``side^2`` equal Gaussians on ``linspace(-5, 5, side)^2`` with covariance ``I / (side log(side))``.

    Args:
        side: Gaussians along each axis, at least 2.

    Raises:
        BadInput: ``side`` is smaller.

    Source: Huang et al. 2018, toy density estimation (5 x 5 and 10 x 10).
    """
    if side < 2:
        raise BadInput(f"side: {side} is not allowed, a grid needs at least 2 Gaussians along each axis")
    along = np.linspace(-5, 5, side)
    means = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    scale = 1 / math.sqrt(side * math.log(side))
    edge = 5 + 6.5 * scale
    return Toy(means, np.full(side**2, side**-2.0), scale, ((-edge, edge), (-edge, edge)))


def swiss_roll(noise: float = 0.5, shrink: float = 3.0) -> Toy:
    """The swiss roll seen from its end: ``x = (t cos t, t sin t) / 3 + noise``, ``t ~ U(3 pi / 2, 9 pi / 2)``.

    Args:
        noise: standard deviation before shrinking, above 0.
        shrink: what coordinates are divided by, above 0.

    Returns:
        Draws with continuous t; their density is the integral over t by Gauss-Legendre quadrature with 512
        nodes, exact to float32 rounding down to noise 0.25.

    Raises:
        BadInput: a number is not positive.

    Source: Marsland, Machine learning: an algorithmic perspective, 2009, chapter 10 (coordinates 0 and 2).
    """
    if not (noise > 0 and shrink > 0):
        raise BadInput(f"noise: {noise} and shrink: {shrink} must be above 0")
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    angles = 1.5 * math.pi * (2 + nodes)
    means = angles[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1) / shrink
    edge = (4.5 * math.pi + 6.5 * noise) / shrink

    def centres(key: RandomKey, count: int) -> Float[Array, "n 2"]:
        t = 1.5 * math.pi * (1 + 2 * jax.random.uniform(key, (count, 1)))
        return t * jnp.concatenate([jnp.cos(t), jnp.sin(t)], axis=-1) / shrink

    return Toy(means, weights / weights.sum(), noise / shrink, ((-edge, edge), (-edge, edge)), centres)


TOYS: Mapping[str, Toy] = {
    "grid_2x2": four_gaussians(),
    "grid_5x5": gaussian_grid(5),
    "grid_10x10": gaussian_grid(10),
    "swiss_roll": swiss_roll(),
}
"""The toy densities by name."""


def find_toy(name: str) -> Toy:
    """The density of that name.

    Raises:
        BadInput: there is none, with the nearest name.
    """
    if name not in TOYS:
        raise BadInput(one_of("toy", name, TOYS))
    return TOYS[name]
