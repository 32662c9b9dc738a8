"""What lanes ended with: the last value of each metric over seeds, and its interval as the cells of a table."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Shaped

from mlrisk.errors import BadInput
from mlrisk.harness.records import Records
from mlrisk.measures.intervals import Interval, bootstrap_interval, share_interval
from mlrisk.measures.means import student_mean

Curves = dict[tuple[Any, ...], Float[np.ndarray, "seeds blocks"]]
Outcomes = dict[tuple[str, ...], Float[np.ndarray, " seeds"]]


def last_values(records: Records, split: str, by: Sequence[str]) -> Outcomes:
    """The values of every metric of a split at its last step, one a seed, in the order of the lanes.

    Args:
        records: of one or several sweeps.
        split: the probe's name.
        by: columns that tell settings apart, such as ``("model", "target")``.

    Returns:
        ``(*settings, metric) -> values``, with settings as text, in the order of the rows.

    Raises:
        BadInput: the records have no such split or column.
    """
    table = records.table
    if missing := [name for name in by if name not in table.column_names]:
        raise BadInput(f"by: {missing} are no columns; there are {', '.join(table.column_names)}")
    rows = table.filter(pa.array([name == split for name in table["split"].to_pylist()])).to_pylist()
    if not rows:
        raise BadInput(f"split: {split!r} is not among {', '.join(sorted(set(table['split'].to_pylist())))}")
    last, found = max(row["step"] for row in rows), {}
    for row in rows:
        if row["step"] == last:
            found.setdefault((*(str(row[name]) for name in by), row["metric"]), []).append(row["value"])
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def mean_cells(values: Float[np.ndarray, " seeds"]) -> dict[str, float | int]:
    """Cells ``value``, ``low``, ``high`` and ``seeds``: the mean of the finite values and its bootstrap interval.

    Seeds that diverged are left out here and named in the report; without any other, all cells are NaN.
    """
    kept = values[np.isfinite(values)]
    if not len(kept):
        return {"value": np.nan, "low": np.nan, "high": np.nan, "seeds": 0}
    return bootstrap_interval(kept, seed=0)._asdict() | {"seeds": len(kept)}


def share_cells(hits: Bool[np.ndarray, " seeds"]) -> dict[str, float | int]:
    """The same cells for the share of seeds that hit, with its exact binomial interval."""
    return share_interval(hits)._asdict() | {"seeds": len(hits)}


def seed_cells(values: Shaped[np.ndarray, " seeds"]) -> dict[str, float | int]:
    """The same cells for any one number a seed: Student's interval of a mean, the exact one of a share of hits."""
    if values.dtype == bool:
        return share_cells(values)
    return student_mean(values)._asdict() | {"seeds": len(values)}


def spread_cells(values: Float[np.ndarray, " seeds"]) -> dict[str, float | int]:
    """`seed_cells` and ``deviation``, the population standard deviation over seeds that many papers publish."""
    return {**seed_cells(values), "deviation": float(values.std())}


def curves(records: Records, name: str, by: Sequence[str]) -> Curves:
    """One metric along training, for each setting.

    Args:
        records: of one or several sweeps, whose steps may differ from setting to setting.
        name: ``"<split>/<metric>"``, as in the history.
        by: columns that tell settings apart.

    Returns:
        ``settings -> (seeds, blocks)``, with settings as the columns have them, in the order of the lanes.

    Raises:
        BadInput: the records have no such column or metric, or a setting's lanes have different numbers of blocks.
    """
    table, (split, metric) = records.table, name.split("/", 1)
    if missing := [column for column in by if column not in table.column_names]:
        raise BadInput(f"by: {missing} are no columns; there are {', '.join(table.column_names)}")
    found = table.filter((pc.field("split") == split) & (pc.field("metric") == metric))
    if not found.num_rows:
        known = sorted(
            {f"{one}/{other}" for one, other in zip(*(table[c].to_pylist() for c in ("split", "metric")), strict=True)}
        )
        raise BadInput(f"name: {name!r} is not among {', '.join(known)}")
    keys = list(zip(*(found[column].to_pylist() for column in (*by, "lane")), strict=True))
    lanes: dict[tuple[Any, ...], list[float]] = {}
    for key, value in zip(keys, found["value"].to_pylist(), strict=True):
        lanes.setdefault(key, []).append(value)
    grouped: dict[tuple[Any, ...], list[list[float]]] = {}
    for key, values in lanes.items():
        grouped.setdefault(key[:-1], []).append(values)
    if uneven := [key for key, rows in grouped.items() if len({len(row) for row in rows}) > 1]:
        raise BadInput(f"name: lanes of {uneven[0]} have different numbers of blocks; tell them apart with 'by'")
    return {key: np.asarray(rows, np.float64) for key, rows in grouped.items()}


def curve_rows(
    found: Curves, by: Sequence[str], epochs: Callable[[tuple[Any, ...]], Sequence[int] | np.ndarray], **fixed: Any
) -> list[dict[str, Any]]:
    """Means over seeds along training, one row a setting and epoch, for tables and for figures of curves.

    Args:
        found: see `curves`.
        by: the columns behind its settings.
        epochs: the epoch of each block of a setting.
        fixed: further columns, the same in every row.

    Returns:
        Dicts with the settings, the fixed columns, ``epoch``, and ``value`` with ``low`` and ``high``: Student's
        interval of the mean. All three are NaN where a seed's value is not finite.
    """
    return [
        {**dict(zip(by, key, strict=True)), **fixed, "epoch": int(epoch), **_mean_of_all(column)}
        for key, values in found.items()
        for epoch, column in zip(epochs(key), values.T, strict=True)
    ]


def _mean_of_all(values: Float[np.ndarray, " seeds"]) -> dict[str, float]:
    found = student_mean(values) if np.isfinite(values).all() else Interval(np.nan, np.nan, np.nan)
    return dict(found._asdict())
