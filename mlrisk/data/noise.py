"""Replacing inputs or labels by noise, drawn once and then frozen: the randX and randY of memorisation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from mlrisk import prng
from mlrisk.data import preprocess
from mlrisk.errors import BadInput
from mlrisk.types import Examples, RandomKey


class Corrupted(NamedTuple):
    """Examples of which some were replaced, and ``mask`` (n,): True where they were."""

    examples: Examples
    mask: Bool[Array, " n"]


def rand_x(
    key: RandomKey, examples: Examples, fraction: float = 1.0, *, moments: preprocess.Per = "global"
) -> Corrupted:
    """Replace the inputs of a share of the examples by Gaussian noise with the data's own mean and variance.

    ``x_i ~ N(mean, std^2)`` independently in every entry, for exactly ``round(fraction * n)`` examples.

    Args:
        key: typed key; the same key gives the same noise, so nothing is redrawn during training.
        examples: the real data, inputs (n, *shape), labels (n,).
        fraction: share of the examples to replace, in [0, 1] (static).
        moments: which moments the noise copies, as ``per`` of `mlrisk.data.moments`; per pixel, entries that
            never vary stay constant.

    Returns:
        `Corrupted`; the noise is not clipped to the range of the data.

    Raises:
        BadInput: ``fraction`` is not in [0, 1], or ``moments`` is unknown.

    Source:
        Arpit et al. (2017), A closer look at memorization in deep networks, section 3 (randX). The paper
        leaves open whether the moments are global or per pixel.
    """
    mask = which_examples(prng.stream(key, "rand_x/which"), examples, fraction)
    mean, std = preprocess.moments(examples.inputs, moments)
    inputs = jnp.asarray(examples.inputs)
    unit = jax.random.normal(prng.stream(key, "rand_x/noise"), inputs.shape, inputs.dtype)
    noise = preprocess.broadcast(mean, inputs) + preprocess.broadcast(std, inputs) * unit
    where = mask.reshape((-1,) + (1,) * (inputs.ndim - 1))
    return Corrupted(Examples(jnp.where(where, noise, inputs), jnp.asarray(examples.labels)), mask)


def rand_y(key: RandomKey, examples: Examples, num_classes: int, fraction: float = 1.0) -> Corrupted:
    """Replace the labels of a share of the examples by labels drawn uniformly from all classes.

    ``y_i ~ Uniform{0, ..., K - 1}`` for exactly ``round(fraction * n)`` random examples. A share 1/K of them
    draws the right label again, so about ``fraction * (1 - 1/K)`` of the labels are wrong; ``mask`` marks all
    that were replaced.

    Args:
        key: typed key; the same key gives the same labels.
        examples: the real data, inputs (n, *shape), labels (n,).
        num_classes: K, positive (static).
        fraction: share of the examples to replace, in [0, 1] (static).

    Returns:
        `Corrupted`, labels of the same integer type.

    Raises:
        BadInput: ``fraction`` is not in [0, 1], or ``num_classes`` is not positive.

    Source:
        Arpit et al. (2017), A closer look at memorization in deep networks, section 3 (randY).
    """
    if num_classes < 1:
        raise BadInput(f"num_classes: {num_classes} is not a positive number of classes")
    mask = which_examples(prng.stream(key, "rand_y/which"), examples, fraction)
    labels = jnp.asarray(examples.labels)
    noise = jax.random.randint(prng.stream(key, "rand_y/noise"), labels.shape, 0, num_classes, labels.dtype)
    return Corrupted(Examples(jnp.asarray(examples.inputs), jnp.where(mask, noise, labels)), mask)


def which_examples(key: RandomKey, examples: Examples, fraction: float | int) -> Bool[Array, " n"]:
    """Exactly ``round(fraction * n)`` random examples, as a mask (n,).

    Raises:
        BadInput: ``fraction`` is not a number in [0, 1], or is traced.
    """
    count = examples.labels.shape[0]
    return jax.random.permutation(key, count) < round(_share(fraction) * count)


def _share(fraction: float | int) -> float:
    """The fraction as a float in [0, 1]; a traced fraction is refused, as the count must be static."""
    try:
        value = float(fraction)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        raise BadInput(f"fraction: {fraction} is not a number in [0, 1]")
    return value
