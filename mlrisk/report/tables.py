"""Tables: written as Parquet with their caption inside, shown as rows of formatted text."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlrisk.errors import BadInput, StorageError
from mlrisk.files import replacing
from mlrisk.report.formats import NONE, format_column

_CAPTION = b"caption"
_LONGEST_CELL = 80


class TableView(NamedTuple):
    """A table as text: ``columns`` of (heading, whether numeric), ``rows`` of cells, and what was left."""

    name: str
    caption: str
    columns: list[tuple[str, bool]]
    rows: list[list[str]]
    total_rows: int
    total_columns: int

    @property
    def left_out(self) -> str:
        """What a reader of the rows does not see, in words; empty where all is shown."""
        parts = []
        if len(self.rows) < self.total_rows:
            parts.append(f"the first {len(self.rows):,} of {self.total_rows:,} rows")
        if len(self.columns) < self.total_columns:
            parts.append(f"the first {len(self.columns):,} of {self.total_columns:,} columns")
        return " and ".join(parts)


def write_table(table: pa.Table, path: Path, caption: str | None = None) -> Path:
    """Writes a table as Parquet with its caption in the schema, whole or not at all.

    Args:
        table: any Arrow table.
        path: usually ``tables/<name>.parquet`` in the run folder.
        caption: a sentence that says what a row is, and the units; None keeps the one that the table has.

    Returns:
        ``path``.

    Raises:
        StorageError: the file cannot be written.
    """
    with replacing(path) as draft:
        pq.write_table(table if caption is None else captioned(table, caption), draft)
    return Path(path)


def captioned(table: pa.Table, caption: str) -> pa.Table:
    """The table with a caption in its schema: a sentence that says what a row is, and the units."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _CAPTION: caption.encode()})


def tidy_table(rows: list[dict[str, Any]], caption: str) -> pa.Table:
    """A captioned table from one dict a row, with the columns of the first; NaN becomes a missing value."""
    columns = {name: pa.array([row[name] for row in rows], from_pandas=True) for name in rows[0]}
    return captioned(pa.table(columns), caption)


class Cell(NamedTuple):
    """A value of a table with its interval and the number of seeds behind it; begins an `Obtained`."""

    value: float
    low: float
    high: float
    seeds: int


def cell(table: pa.Table, **wanted: str | int | float) -> Cell:
    """The columns value, low, high and seeds of the one row in which each named column has the wanted value.

    Raises:
        BadInput: there is no such row, or more than one.
    """
    rows = [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]
    if len(rows) != 1:
        raise BadInput(f"wanted: {wanted} is in {len(rows)} rows of the table; exactly one is needed")
    value, low, high = (np.nan if rows[0][name] is None else rows[0][name] for name in ("value", "low", "high"))
    return Cell(value, low, high, rows[0]["seeds"])


def find_row(table: pa.Table, **wanted: Any) -> dict[str, Any]:
    """The first row whose columns have the wanted values; missing numbers come back as NaN.

    Raises:
        BadInput: there is none.
    """
    for row in table.to_pylist():
        if wanted.items() <= row.items():
            return {name: float("nan") if value is None else value for name, value in row.items()}
    raise BadInput(f"table: no row has {', '.join(f'{name} {value!r}' for name, value in wanted.items())}")


def read_table(path: Path) -> pa.Table:
    """The table of a Parquet file.

    Raises:
        StorageError: the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise StorageError(f"{path}: is missing")
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise StorageError(f"{path}: is damaged (not a whole Parquet file)") from error


def caption_of(table: pa.Table) -> str:
    """The caption that `write_table` put into the schema; empty where there is none."""
    return (table.schema.metadata or {}).get(_CAPTION, b"").decode()


def to_rows(table: pa.Table, name: str = "", *, most_rows: int = 12, most_columns: int = 12) -> TableView:
    """The beginning of a table as formatted text.

    Args:
        table: any Arrow table.
        name: its name, for headings and links.
        most_rows: rows shown; the rest is counted.
        most_columns: columns shown; the rest is counted.

    Returns:
        A `TableView`: floats to four significant digits, integers whole, missing values as a dash.
    """
    head = table.slice(0, most_rows).select(table.column_names[:most_columns])
    cells = [_cells(head.column(i)) for i in range(head.num_columns)]
    return TableView(
        name=name,
        caption=caption_of(table),
        columns=[(field.name, _numeric(field.type)) for field in head.schema],
        rows=[list(row) for row in zip(*cells, strict=True)],
        total_rows=table.num_rows,
        total_columns=table.num_columns,
    )


def _numeric(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _cells(column: pa.ChunkedArray) -> list[str]:
    values = column.to_pylist()
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return format_column([None if value is None else float(value) for value in values])
    return [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)  # ungrouped: seeds, steps and labels are names as often as they are counts
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"
