"""Data sets of one's own: an ``.npz`` file with inputs and labels, or the name of a set that mlrisk knows."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlrisk.data.loading import load
from mlrisk.data.sources import SOURCES, Dataset
from mlrisk.errors import BadInput, DataUnavailable, one_of
from mlrisk.types import Examples

_REQUIRED, _OPTIONAL = ("x", "y"), ("x_test", "y_test")


def load_any(data: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """A data set by the name of its source, or by the path of an ``.npz`` file.

    Args:
        data: one of `mlrisk.data.SOURCES`, or a path that ends in ``.npz``.
        data_dir: for sources, see `mlrisk.data.load`.

    Raises:
        BadInput: it is neither, or the file's content is not allowed.
        DataUnavailable: the file or the prepared set is missing or damaged.
    """
    if data in SOURCES:
        return load(data, data_dir)
    if not data.endswith(".npz"):
        raise BadInput(one_of("data", data, SOURCES) + ", nor the path of an .npz file")
    return load_arrays(data)


def load_arrays(path: str | os.PathLike[str]) -> Dataset:
    """The data set in an ``.npz`` file, as ``numpy.savez(path, x=inputs, y=labels)`` writes it.

    Args:
        path: a file with ``x``, numbers of any shape (n, ...), and ``y``, integers from 0 (n,); perhaps with
            ``x_test`` and ``y_test``, of the same kinds.

    Returns:
        `Dataset`; inputs as float32 in the file's own unit, and a test split without examples if there is none.
        There are as many classes as the largest label of ``y`` says.

    Raises:
        BadInput: other arrays, wrong types or shapes, values that are not finite, labels out of range, one class.
        DataUnavailable: the file is missing or cannot be read.
    """
    arrays = _read(Path(path).expanduser())
    if "x" not in arrays or "y" not in arrays or (("x_test" in arrays) != ("y_test" in arrays)):
        raise BadInput(f"data: {path} has {', '.join(arrays) or 'no arrays'}; x and y are needed, "
                       "and x_test and y_test go together")  # fmt: skip
    if unknown := set(arrays) - {*_REQUIRED, *_OPTIONAL}:
        raise BadInput(f"data: {path}: " + one_of("array", min(unknown), (*_REQUIRED, *_OPTIONAL)))
    train = _examples(arrays, "x", "y")
    classes = int(train.labels.max()) + 1
    if len(np.unique(train.labels)) < 2:
        raise BadInput(f"y: all labels are {classes - 1}; at least two classes are needed")
    if classes > len(train.labels):
        raise BadInput(f"y: label {classes - 1} is not a class of {len(train.labels)} examples; labels count from 0")
    if "x_test" not in arrays:
        test = Examples(train.inputs[:0], train.labels[:0])
    else:
        test = _examples(arrays, "x_test", "y_test")
        if test.inputs.shape[1:] != train.inputs.shape[1:]:
            raise BadInput(f"x_test: inputs of shape {test.inputs.shape[1:]}, those of x are {train.inputs.shape[1:]}")
        if test.labels.max() >= classes:
            raise BadInput(f"y_test: label {test.labels.max()} is not from 0 to {classes - 1}, the classes of y")
    return Dataset(Path(path).stem, train, test, classes, train.inputs.shape[1:])


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DataUnavailable(f"data: {path} is not there; numpy.savez(path, x=inputs, y=labels) writes such a file")
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise DataUnavailable(f"data: {path} is damaged or no .npz file") from error
    except ValueError as error:
        raise BadInput(f"data: {path} holds objects that are not arrays of numbers, or is no .npz file") from error


def _examples(arrays: Mapping[str, np.ndarray], inputs: str, labels: str) -> Examples:
    x, y = arrays[inputs], arrays[labels]
    if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer)) or x.ndim < 2:
        raise BadInput(f"{inputs}: {x.dtype} of shape {x.shape} is not numbers of shape (n, ...)")
    if not np.issubdtype(y.dtype, np.integer):
        raise BadInput(f"{labels}: dtype {y.dtype} is not an integer type")
    if y.shape != x.shape[:1] or not x.size:
        raise BadInput(f"{labels}: shape {y.shape} does not fit {inputs} {x.shape}; one label an input, at least one")
    with np.errstate(over="ignore"):
        values = x.astype(np.float32)
    if wrong := int(np.count_nonzero(~np.isfinite(values))):
        raise BadInput(f"{inputs}: {wrong} of {values.size} values are not finite (as float32)")
    if y.min() < 0 or y.max() > np.iinfo(np.int32).max:
        raise BadInput(f"{labels}: labels from {y.min()} to {y.max()}; they must count the classes from 0")
    found: tuple[Any, Any] = values, y.astype(np.int32)
    return Examples(*found)
