"""What a sweep measured, as one long tidy table and a few large arrays; analysis reads nothing else."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlrisk.errors import BadInput, StorageError
from mlrisk.files import storing, write_bytes
from mlrisk.harness.loop import Fit

LANE_SPLIT = "lane"
"""The split under which facts about a whole lane are kept, such as the step at which it diverged."""


class Records(NamedTuple):
    """``table``: lane, seed, one column per setting, step, split, metric, value. ``arrays``: by history name.

    An array has axes (settings..., seeds, blocks, ...) as the sweep returned it.
    """

    table: pa.Table
    arrays: dict[str, np.ndarray]

    def save(self, run_dir: Path) -> None:
        """Write ``records.parquet`` and ``arrays/<name>.npy``, each whole or not at all.

        Raises:
            StorageError: the folder cannot be written.
        """
        with storing(run_dir, "the finished chunks are whole"):
            folder = run_dir / "arrays"
            folder.mkdir(parents=True, exist_ok=True)
            for name, array in self.arrays.items():
                write_bytes(folder / f"{name.replace('/', '.')}.npy", npy_bytes(array))
            write_bytes(run_dir / "records.parquet", parquet_bytes(self.table))

    @staticmethod
    def load(run_dir: Path) -> "Records":
        """Read back what `save` wrote.

        Raises:
            StorageError: a file is missing or damaged.
        """
        path = Path(run_dir) / "records.parquet"
        try:
            table = pq.read_table(path)
            arrays = {f.stem.replace(".", "/"): np.load(f) for f in sorted(path.parent.glob("arrays/*.npy"))}
        except (OSError, ValueError, pa.ArrowException) as error:
            raise StorageError(f"records: {path} is missing or damaged ({_first_line(error)})") from error
        return Records(table, arrays)

    def diverged(self) -> list[dict[str, Any]]:
        """The lanes whose loss was not finite at some step: lane, seed, settings and that step."""
        marked = [
            row
            for row in self.table.to_pylist()
            if row["split"] == LANE_SPLIT and row["metric"] == "diverged_at" and row["value"] >= 0
        ]
        drop = {"split", "metric", "value", "step"}
        return [{k: v for k, v in r.items() if k not in drop} | {"step": int(r["value"])} for r in marked]


def from_fit(fit: Fit, *, probe_every: int, settings: Mapping[str, Sequence[Any]] | None = None) -> Records:
    """The records of a sweep over seeds, or over settings and seeds.

    Args:
        fit: what `sweep` gave back for a `Train`; histories (settings?, seeds, blocks, ...).
        probe_every: steps in a block, to give each row its step.
        settings: column name -> value of each setting, in the order of the hypers; None without hypers.

    Returns:
        Scalars per block as rows of the table; everything larger as arrays.
    """
    axes = np.shape(fit.diverged_at)
    count, seeds = int(np.prod(axes)), axes[-1]
    lane = np.arange(count)
    columns = {"lane": lane, "seed": lane % seeds}
    for name, values in (settings or {}).items():
        columns[name] = np.asarray(values)[lane // seeds]
    parts, arrays = [], {}
    for name, values in fit.history.items():
        if np.ndim(values) == len(axes) + 1:
            blocks = np.shape(values)[-1]
            steps = probe_every * (1 + np.arange(blocks))
            parts.append(_rows(columns, steps, name, np.reshape(values, (count, blocks))))
        else:
            arrays[name] = np.asarray(values)
    last = np.asarray([probe_every * max(1, *[np.shape(v)[len(axes)] for v in fit.history.values()])])
    for name in ("diverged_at", "stopped_at"):
        parts.append(_rows(columns, last, f"{LANE_SPLIT}/{name}", np.reshape(getattr(fit, name), (count, 1))))
    return Records(pa.concat_tables(parts), arrays)


def merge(parts: Mapping[str, Records], column: str) -> Records:
    """One `Records` of several sweeps whose parameters differ in shape, so that no single sweep holds them.

    Args:
        parts: name -> records of one sweep, all with the same columns.
        column: name of the new column that says which part a row is from.

    Returns:
        The tables one below the other, lanes numbered through; arrays named ``<part>/<name>``.

    Raises:
        BadInput: there are no parts, their columns differ, or ``column`` is one of them already.
    """
    columns = {tuple(records.table.column_names) for records in parts.values()}
    if len(columns) != 1 or column in next(iter(columns)):
        raise BadInput(f"parts: {len(parts)} parts with columns {sorted(columns)} cannot be merged along {column!r}")
    tables, first = [], 0
    for name, (table, _) in parts.items():
        lanes = table["lane"].to_numpy()
        table = table.set_column(0, "lane", pa.array(lanes + first))
        place = table.column_names.index("step")
        tables.append(table.add_column(place, column, pa.array([name] * table.num_rows, pa.string())))
        first += int(lanes.max(initial=-1)) + 1
    arrays = {f"{name}/{key}": array for name, part in parts.items() for key, array in part.arrays.items()}
    return Records(pa.concat_tables(tables), arrays)


def npy_bytes(array: np.ndarray) -> bytes:
    """An array in numpy's own file format."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    """A table in Parquet, compressed with zstd; the same table always gives the same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def _rows(columns: Mapping[str, np.ndarray], steps: np.ndarray, name: str, values: np.ndarray) -> pa.Table:
    lanes, blocks = values.shape
    split, metric = name.split("/", 1)
    table = {key: pa.array(np.repeat(column, blocks)) for key, column in columns.items()}
    table["step"] = pa.array(np.tile(steps, lanes).astype(np.int64))
    table["split"] = pa.array([split] * lanes * blocks, pa.string())
    table["metric"] = pa.array([metric] * lanes * blocks, pa.string())
    table["value"] = pa.array(values.astype(np.float64).ravel())
    return pa.table(table)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
