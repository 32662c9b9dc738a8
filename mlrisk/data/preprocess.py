"""Standardising inputs and drawing subsets: pure functions of examples, usable under ``jit``."""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.errors import BadInput, one_of
from mlrisk.types import Examples, RandomKey

Per = Literal["global", "channel", "pixel"]


class Moments(NamedTuple):
    """Mean and standard deviation, each of a shape that broadcasts against one input."""

    mean: Float[Array, "..."]
    std: Float[Array, "..."]


def moments(inputs: Float[Array | np.ndarray, "n ..."], per: Per = "global") -> Moments:
    """Mean and population standard deviation of the inputs.

    Args:
        inputs: (n, *shape).
        per: ``"global"``: one number for all; ``"channel"``: one for each entry of the last axis;
            ``"pixel"``: one for each entry of an input.

    Returns:
        `Moments` of shape (), (channels,) or ``shape``.

    Raises:
        BadInput: ``per`` is none of the three.
    """
    if per not in get_args(Per):
        raise BadInput(one_of("per", per, get_args(Per)))
    values = jnp.asarray(inputs)
    mean = _average(values, per)
    deviations = values - broadcast(mean, values)
    return Moments(mean, jnp.sqrt(_average(jnp.square(deviations), per)))


def _average(values: Float[Array, "n ..."], per: Per) -> Float[Array, "..."]:
    """In two stages, within examples and then across: one long float32 sum would lose digits."""
    inner = {"global": range(1, values.ndim), "channel": range(1, values.ndim - 1), "pixel": ()}[per]
    return jnp.mean(jnp.mean(values, axis=tuple(inner)), axis=0)


def broadcast(moment: Float[Array, "..."], values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """A moment with leading axes of one, so that it broadcasts without rank promotion."""
    return moment.reshape((1,) * (values.ndim - moment.ndim) + moment.shape)


def standardise(examples: Examples, reference: Examples | None = None, *, per: Per = "global") -> Examples:
    """Inputs with the reference's mean taken off, divided by its standard deviation: ``(x - mean) / std``.

    Entries that are constant in the reference (the border of MNIST, per pixel) are centred and not divided.

    Args:
        examples: inputs (n, *shape), labels (n,).
        reference: the set whose moments are used, normally the training set; ``examples`` itself if None.
        per: see `moments`.

    Returns:
        Examples with new inputs and the same labels.

    Raises:
        BadInput: ``per`` is unknown, or the reference has inputs of another shape.
    """
    source = examples if reference is None else reference
    if source.inputs.shape[1:] != examples.inputs.shape[1:]:
        raise BadInput(
            f"reference: inputs of shape {source.inputs.shape[1:]}; allowed is {examples.inputs.shape[1:]}, "
            "the shape of the examples"
        )
    mean, std = moments(source.inputs, per)
    # a constant that float32 cannot hold exactly has a std of about one rounding error, not 0
    constant = std <= 1e-6 * jnp.max(jnp.abs(jnp.asarray(source.inputs)))
    scale = jnp.where(constant, jnp.ones_like(std), std)
    inputs = jnp.asarray(examples.inputs)
    return Examples((inputs - broadcast(mean, inputs)) / broadcast(scale, inputs), jnp.asarray(examples.labels))


def subset(key: RandomKey, examples: Examples, size: int, *, balanced: bool = False) -> Examples:
    """A random subset of ``size`` examples, without replacement and in random order.

    Args:
        key: typed key.
        examples: inputs (n, *shape), labels (n,).
        size: how many to keep, from 1 to n (static).
        balanced: take the classes in turns, so that their counts differ by at most one until one runs out.
            The result is then ordered by turns: each prefix of it is balanced as well.

    Returns:
        Inputs (size, *shape), labels (size,).

    Raises:
        BadInput: ``size`` is not in [1, n].
    """
    count = examples.labels.shape[0]
    if not 1 <= size <= count:
        raise BadInput(f"size: {size} is not from 1 to {count} (the number of examples)")
    order = jax.random.permutation(prng.stream(key, "subset"), count)
    if balanced:
        order = order[jnp.argsort(_turns(jnp.asarray(examples.labels)[order]), stable=True)]
    chosen = order[:size]
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], examples)


def _turns(labels: Int[Array, " n"]) -> Int[Array, " n"]:
    """For each place, how many earlier places have the same label."""
    by_label = jnp.argsort(labels, stable=True)
    grouped = labels[by_label]
    rank = jnp.arange(labels.shape[0]) - jnp.searchsorted(grouped, grouped, side="left")
    return jnp.zeros_like(rank).at[by_label].set(rank)
