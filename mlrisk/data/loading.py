"""Loading a data set by name."""

import os
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int32, UInt8

from mlrisk.data import cache, records, sources
from mlrisk.data.sources import Dataset
from mlrisk.types import Examples

_DIGITS_FOLD = 5


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """A data set in host memory, the same arrays at every call.

    Args:
        name: one of `mlrisk.data.SOURCES`. ``digits`` is embedded in scikit-learn and split here: within each
            class, in the order of the file, every fifth example is a test example (1442 + 355, stratified).
            All others are read from disk with the split and the order in which TFDS prepared them.
        data_dir: folder that holds ``name/version``; if None, ``MLRISK_DATA_DIR``, ``TFDS_DATA_DIR`` and
            ``~/tensorflow_datasets`` are searched in this order. Not used for ``digits``.
            Decoded pixels are kept in the user's cache folder, see `mlrisk.data.cache`.

    Returns:
        `Dataset` of host arrays, inputs float32 in [0, 1].

    Raises:
        BadInput: no data set has this name.
        DataUnavailable: it is not prepared (the message has the command for it), or its files are damaged.
    """
    sources.source(name)
    if name == "digits":
        return _digits()
    folder = sources.find(name, data_dir)
    if folder is None:
        raise sources.not_prepared(name, data_dir)
    return _dataset(name, cache.cached(folder, records.read_arrays))


def _dataset(name: str, arrays: records.Arrays) -> Dataset:
    train = _examples(arrays.train_inputs, arrays.train_labels)
    test = _examples(arrays.test_inputs, arrays.test_labels)
    names = tuple(str(label) for label in arrays.class_names)
    return Dataset(name, train, test, len(names), arrays.train_inputs.shape[1:], names)


def _examples(pixels: UInt8[np.ndarray, "n h w c"], labels: Int32[np.ndarray, " n"]) -> Examples:
    return _host(np.divide(pixels, np.float32(255)), labels)


def _host(inputs: Any, labels: Any) -> Examples:
    """Examples on the host: JAX takes NumPy arrays wherever it takes its own, which the types do not say."""
    return Examples(inputs, labels)


def _digits() -> Dataset:
    # a second of import time that only this data set needs
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    inputs = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    labels = np.asarray(targets, np.int32)
    held_out = _every_fifth(labels)
    train, test = (_host(inputs[part], labels[part]) for part in (~held_out, held_out))
    return Dataset("digits", train, test, 10, (8, 8, 1), tuple(str(digit) for digit in range(10)))


def _every_fifth(labels: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """True at the fifth, tenth, ... example of each class: a stratified split with no random numbers."""
    held_out = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        held_out[np.flatnonzero(labels == label)[_DIGITS_FOLD - 1 :: _DIGITS_FOLD]] = True
    return held_out
