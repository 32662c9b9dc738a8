"""Reading the files in which tables of numbers are handed around: npy, csv, text, pickles and HDF5."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from mlrisk.errors import DataUnavailable

EXTRA = 'pip install "mlrisk[tabular]"'
SPLITS = (("train",), ("validation", "val"), ("test",))
"""The names that the three parts of a data set may have in an HDF5 file."""


def read_npy(path: Path) -> Float64[np.ndarray, "n d"]:
    """A table from a ``.npy`` file, as float64.

    Raises:
        DataUnavailable: the file is damaged or holds no table of numbers.
    """
    table = _reading(path, lambda: np.load(path, allow_pickle=False).astype(np.float64))
    if table.ndim != 2:
        raise DataUnavailable(f"{path}: holds an array of shape {table.shape}, a table (rows, columns) is wanted")
    return table


def read_csv(path: Path) -> Float64[np.ndarray, "n d"]:
    """A table from comma-separated text with a header line, plain or gzipped.

    Rows longer than the header lose their last fields: what pandas does with ``index_col=False``.

    Raises:
        DataUnavailable: the file is damaged.
    """
    from pyarrow import csv  # not needed by those who read no text

    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        columns = len(file.readline().rstrip("\r\n").split(","))
    options = csv.ReadOptions(skip_rows=1, autogenerate_column_names=True)
    table = _reading(path, lambda: csv.read_csv(path, read_options=options))
    return _reading(path, lambda: np.stack([_column(table, i) for i in range(columns)], axis=1))


def read_text(path: Path) -> Float64[np.ndarray, "n d"]:
    """A table from numbers between blanks, after at most one header line, plain or gzipped.

    Raises:
        DataUnavailable: the file is damaged.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        header = not _is_number(file.readline().split()[:1])
    return _reading(path, lambda: np.loadtxt(path, skiprows=int(header), ndmin=2))


def read_frame(path: Path) -> Any:
    """The pandas data frame of a pickle; a pickle can run code, so open none that you do not trust.

    Raises:
        DataUnavailable: pandas is missing, or cannot read a frame of that age.
    """
    try:
        import pandas
    except ImportError as error:
        raise DataUnavailable(f"{path}: reading this pickle needs pandas: {EXTRA}") from error
    try:
        return pandas.read_pickle(path)
    except Exception as error:  # whatever unpickling runs into: frames of pandas 0.x fail in many ways
        raise DataUnavailable(
            f"{path}: pandas {pandas.__version__} cannot read it ({_line(error)}); pandas below 2 reads old pickles"
        ) from error


def read_hdf5(path: Path) -> tuple[Shaped[np.ndarray, "n d"], ...]:
    """The train, validation and test tables of an HDF5 file, in the dtype they are stored in.

    Raises:
        DataUnavailable: h5py is missing, or the file is damaged or lacks a part.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataUnavailable(f"{path}: reading HDF5 needs h5py: {EXTRA}") from error

    def read() -> tuple[np.ndarray, ...]:
        with h5py.File(path, "r") as file:
            return tuple(_part(file, names) for names in SPLITS)

    return _reading(path, read)


def _part(file: Any, names: tuple[str, ...]) -> np.ndarray:
    found = next((file[name] for name in names if name in file), None)
    if found is None:
        raise ValueError(f"no {' or '.join(names)} in it, it has {', '.join(sorted(file)) or 'nothing'}")
    if getattr(found, "ndim", 0) != 2:
        raise ValueError(f"{names[0]} is not a table (rows, columns)")
    return found[()]


def _column(table: Any, index: int) -> np.ndarray:
    return table.column(index).to_numpy().astype(np.float64)


def _reading(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ValueError, IndexError, EOFError) as error:  # Arrow's own errors are ValueErrors too
        raise DataUnavailable(f"{path}: is damaged ({_line(error)})") from error


def _is_number(words: list[str]) -> bool:
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
