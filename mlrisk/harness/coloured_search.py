"""Random hyper-parameters for networks on coloured digits, grouped by width so that each group is one sweep."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.objectives.domains import Penalty, at_step
from mlrisk.types import RandomKey

WIDTHS = (64, 96, 128, 192, 256, 384, 512)
"""Widths that drawn ones are rounded up to: one compile each."""


class Shifted(NamedTuple):
    """The hyper of a lane: its penalty, Adam's step size, and the share by which its domains differ."""

    penalty: Penalty
    learning_rate: Float[Array, "..."]
    share: Float[Array, "..."]


def shifted_at_step(hyper: Shifted, step: Int[Array, ""] | int) -> Shifted:
    """The hyper with the penalty's weight of a step; a ``schedule`` of `mlrisk.harness.make_train`."""
    return hyper._replace(penalty=at_step(hyper.penalty, step))


class Draws(NamedTuple):
    """Random settings: hidden units, factor of the squared parameters, step size, switch and weight, each (draws,)."""

    hidden: np.ndarray
    weight_decay: np.ndarray
    learning_rate: np.ndarray
    switch: np.ndarray
    weight: np.ndarray


def draw_settings(key: RandomKey, count: int) -> Draws:
    """Settings from the published ranges, all independent.

    Hidden units ``2^U(6, 9)``, rounded up to one of `WIDTHS`; weight decay ``10^U(-5, -2)``; step size
    ``10^U(-3.5, -2.5)``; switch uniform in 50 to 249; weight ``10^U(2, 6)``.

    Raises:
        BadInput: ``count`` is not positive.

    Source: Arjovsky et al. (2019), code (reproduction script).

    Differs: widths are rounded up, so that those of a bucket share one compile.
    """
    if count < 1:
        raise BadInput(f"count: {count} is not a positive number of settings")
    names = ("hidden", "weight_decay", "learning_rate", "switch", "weight")
    unit = {
        n: np.asarray(jax.random.uniform(k, (count,)), float)
        for n, k in zip(names, prng.streams(key, *names), strict=True)
    }
    wanted = 2.0 ** (6 + 3 * unit["hidden"])
    hidden = np.asarray(WIDTHS)[np.searchsorted(WIDTHS, np.minimum(wanted, WIDTHS[-1]))]
    return Draws(
        hidden,
        10 ** (-5 + 3 * unit["weight_decay"]),
        10 ** (-3.5 + unit["learning_rate"]),
        50 + np.floor(200 * unit["switch"]).astype(int),
        10 ** (2 + 4 * unit["weight"]),
    )


def shifted_lanes(draws: Draws, chosen: Any, methods: list[int], share: float) -> Shifted:
    """The hypers of all chosen draws, for each method one after another."""
    pick = [np.tile(np.asarray(leaf)[chosen], len(methods)) for leaf in draws]
    index = np.repeat(methods, len(np.asarray(draws.hidden)[chosen]))
    penalty = Penalty(
        jnp.asarray(index, jnp.int32),
        jnp.asarray(pick[4], jnp.float32),
        jnp.asarray(pick[3], jnp.int32),
        jnp.asarray(pick[1], jnp.float32),
    )
    return Shifted(penalty, jnp.asarray(pick[2], jnp.float32), jnp.full(len(index), share, jnp.float32))
