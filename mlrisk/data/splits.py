"""Training and validation examples, both cut from the training split, so that nothing is chosen on test data."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk.data.preprocess import Per, moments, standardise, subset
from mlrisk.data.sources import Dataset
from mlrisk.errors import BadInput
from mlrisk.types import Examples, RandomKey


class Split(NamedTuple):
    """Standardised examples to train and to validate on, and which rows of the training split they are."""

    train: Examples
    validation: Examples
    train_index: Int[np.ndarray, " n"]
    validation_index: Int[np.ndarray, " m"]
    scale: Float[Array, "..."]
    """What the inputs were divided by: a length r in their old unit is ``r / scale`` in the new one."""


def train_and_validation(
    source: Dataset, key: RandomKey, train_size: int, validation_size: int, *, per: Per = "global"
) -> Split:
    """Two disjoint random subsets of a training split with equal classes, standardised by the first.

    Args:
        source: a loaded data set; its test split is not touched.
        key: typed key.
        train_size: examples to train on.
        validation_size: examples to validate on; the same ones for every smaller ``train_size`` of a key.
        per: which moments are used, see `mlrisk.data.moments`.

    Raises:
        BadInput: the training split has too few examples for both.
    """
    most = len(source.train.labels)
    if train_size < 1 or validation_size < 1 or train_size + validation_size > most:
        raise BadInput(
            f"train_size: {train_size} and validation_size {validation_size} are not allowed, both must be positive "
            f"and {source.name} has {most} training examples for the two together"
        )
    rows = Examples(jnp.arange(most), jnp.asarray(source.train.labels))
    order = np.asarray(subset(key, rows, validation_size + train_size, balanced=True).inputs)
    held, used = order[:validation_size], order[validation_size:]
    train, validation = (_take(source.train, index) for index in (used, held))
    scale = moments(train.inputs, per).std
    return Split(standardise(train, per=per), standardise(validation, train, per=per), used, held, scale)


def _take(examples: Examples, index: Int[np.ndarray, " m"]) -> Examples:
    return Examples(*(jnp.asarray(np.asarray(leaf)[index]) for leaf in examples))
