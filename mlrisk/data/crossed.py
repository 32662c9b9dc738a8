"""Random inputs and random labels, each without and with the other."""

import jax.numpy as jnp

from mlrisk.data.conditions import CONDITIONS, noise_conditions
from mlrisk.data.preprocess import Per
from mlrisk.types import Examples, RandomKey

CROSSED = (*CONDITIONS, "randXY")


def crossed_conditions(key: RandomKey, real: Examples, num_classes: int, moments: Per = "global") -> Examples:
    """The conditions of `noise_conditions` and, last, its random inputs with its random labels.

    Args:
        key: see `noise_conditions`.
        real: inputs (n, *shape), labels (n,).
        num_classes: number of classes.
        moments: see `noise_conditions`.

    Returns:
        Inputs (4, n, *shape), labels (4, n), in the order of `CROSSED`.
    """
    three = noise_conditions(key, real, num_classes, moments)
    inputs = jnp.concatenate([three.inputs, three.inputs[1:2]])
    return Examples(inputs, jnp.concatenate([three.labels, three.labels[2:]]))
