"""Wrong labels on purpose, to see whether they are found."""

import jax
import jax.numpy as jnp

from mlrisk import prng
from mlrisk.data.noise import Corrupted, which_examples
from mlrisk.errors import BadInput
from mlrisk.types import Examples, RandomKey


def mislabel(key: RandomKey, examples: Examples, num_classes: int, fraction: float | int) -> Corrupted:
    """Give a share of the examples a label of another class, each wrong class equally likely.

    ``y_i <- (y_i + d) mod K`` with d uniform on 1 to K - 1, for exactly ``round(fraction * n)`` random examples.

    Args:
        key: typed key; the same key gives the same labels.
        examples: inputs (n, *shape), labels (n,).
        num_classes: K, at least 2 (static).
        fraction: share of the examples to mislabel, in [0, 1] (static).

    Returns:
        `Corrupted`, whose mask marks the labels that are now wrong, unlike that of `rand_y`.

    Raises:
        BadInput: ``fraction`` is not in [0, 1], or there are fewer than 2 classes.
    """
    if num_classes < 2:
        raise BadInput(f"num_classes: {num_classes} is not 2 or more; a wrong label needs another class")
    which, by = prng.streams(key, "mislabel/which", "mislabel/by")
    labels = jnp.asarray(examples.labels)
    mask = which_examples(which, examples, fraction)
    shift = jax.random.randint(by, labels.shape, 1, num_classes, labels.dtype)
    wrong = jnp.where(mask, (labels + shift) % num_classes, labels)
    return Corrupted(Examples(jnp.asarray(examples.inputs), wrong), mask)
