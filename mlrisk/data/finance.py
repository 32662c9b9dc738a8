"""Yearly financial indicators of US stocks, each year a domain: does last year's report predict next year's price?"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int32
from pyarrow import csv

from mlrisk.errors import BadInput, DataUnavailable

YEARS = (2014, 2015, 2016, 2017, 2018)
TARGET, SECTOR = "Class", "Sector"
ORIGIN = (
    "the tables of '200+ financial indicators of US stocks (2014-2018)' on Kaggle, cleaned as in the code of Krueger "
    "et al. (2021): bring your own copy, and check its licence; mlrisk ships none"
)


class Year(NamedTuple):
    """One domain: standardised ``inputs`` (n, features), and ``labels`` (n,), 1 where the price rose in a year."""

    year: int
    inputs: Float32[np.ndarray, "n features"]
    labels: Int32[np.ndarray, " n"]


class Finance(NamedTuple):
    """All years, and the names of the features that they share, in the order of the columns."""

    years: tuple[Year, ...]
    features: tuple[str, ...]


def load_finance(folder: str | os.PathLike[str] | None, years: Sequence[int] = YEARS) -> Finance:
    """The balanced, standardised domains of several years, from ``<year>_clean.csv`` in a folder.

    Features are the columns that all these years have, but for the ticker, the sector and the target. Of each year
    as many stocks of either class are kept, the first in the table's order; then each feature has the year's own mean
    taken off and is divided by its own deviation (population), in test years too.

    Args:
        folder: holds the files; bring your own copy, see `ORIGIN`.
        years: which, each with its file, at least 2.

    Returns:
        The years in the order asked for, stocks in the order of their tables.

    Raises:
        DataUnavailable: the folder or a file is missing or damaged.
        BadInput: fewer than 2 years, or a table without the target, without common features, with missing values, a
            target other than 0 and 1, or a single class.

    Source: Krueger et al. (2021), code (finance experiments).

    Differs: a feature that is the same for all stocks of a year becomes 0; the code divides by zero.
    """
    if len(set(years)) < 2:
        raise BadInput(f"years: {sorted(set(years))} are fewer than 2 domains")
    if folder is None or not Path(folder).is_dir():
        raise DataUnavailable(f"data_dir: {folder} is no folder with <year>_clean.csv; {ORIGIN}")
    tables = {year: _read(Path(folder) / f"{year}_clean.csv") for year in years}
    features = _common(tables)
    return Finance(tuple(_year(year, table, features) for year, table in tables.items()), tuple(features))


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise DataUnavailable(f"data_dir: {path} is missing; {ORIGIN}")
    try:
        return csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise DataUnavailable(f"data_dir: {path} is damaged ({str(error).splitlines()[0]})") from error


def _common(tables: dict[int, pa.Table]) -> list[str]:
    for year, table in tables.items():
        if TARGET not in table.column_names:
            raise BadInput(f"columns: the table of {year} has no column {TARGET!r}")
    first = next(iter(tables.values()))
    found = [
        name
        for name in first.column_names[1:]  # the first is the ticker
        if name not in (TARGET, SECTOR) and all(name in table.column_names for table in tables.values())
    ]
    if not found:
        raise BadInput(f"columns: the tables of {', '.join(map(str, tables))} have no feature in common")
    return found


def _year(year: int, table: pa.Table, features: list[str]) -> Year:
    columns = [_numbers(year, table, name) for name in (*features, TARGET)]
    labels = columns.pop()
    if not np.isin(labels, (0, 1)).all():
        raise BadInput(f"{TARGET}: the table of {year} has other values than 0 and 1")
    kept = _balanced(year, labels.astype(np.int32))
    inputs = np.stack(columns, axis=1)[kept]
    spread = inputs.std(0)
    inputs = (inputs - inputs.mean(0)) / np.where(spread > 0, spread, 1)
    return Year(year, inputs.astype(np.float32), labels[kept].astype(np.int32))


def _numbers(year: int, table: pa.Table, name: str) -> np.ndarray:
    column: Any = table[name]
    try:
        values = np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)
    except (pa.ArrowException, ValueError) as error:
        raise BadInput(f"{name}: the table of {year} has entries that are not numbers") from error
    if wrong := np.count_nonzero(~np.isfinite(values)):
        raise BadInput(f"{name}: the table of {year} has {wrong} missing or infinite values of {len(values)}")
    return values


def _balanced(year: int, labels: Int32[np.ndarray, " n"]) -> Int32[np.ndarray, " kept"]:
    """The first of each class, as many as the rarer has, in the order of the table."""
    counts = np.bincount(labels, minlength=2)
    if not counts.all():
        raise BadInput(f"{TARGET}: the table of {year} has only one class")
    each = [np.flatnonzero(labels == label)[: counts.min()] for label in (0, 1)]
    return np.sort(np.concatenate(each)).astype(np.int32)
