"""When runs reach a threshold, by setting, and how that time grows along a line of settings."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mlrisk.errors import BadInput
from mlrisk.harness.outcomes import curves
from mlrisk.harness.records import Records
from mlrisk.measures.contrasts import interval_difference
from mlrisk.measures.convergence import time_to_convergence
from mlrisk.measures.elasticity import elasticity
from mlrisk.measures.intervals import Interval

Arrivals = dict[tuple[Any, ...], tuple[Float[np.ndarray, " seeds"], Bool[np.ndarray, " seeds"]]]
"""For each setting the times, one a seed, and which of them are only lower bounds."""


def arrivals(
    records: Records, name: str, by: Sequence[str], threshold: float, times: Mapping[Any, Float[np.ndarray, " blocks"]]
) -> Arrivals:
    """When each run's curve first reaches the threshold.

    Args:
        records: of one or several sweeps.
        name: ``"<split>/<metric>"`` of the curve.
        by: columns that tell settings apart.
        threshold: see `mlrisk.measures.time_to_convergence`.
        times: the time of each block, by the value of the first column of ``by``.

    Returns:
        ``settings -> (times, lower bounds)``, each (seeds,).

    Raises:
        BadInput: see `curves` and `time_to_convergence`.
    """
    found: Arrivals = {}
    for setting, values in curves(records, name, by).items():
        time, censored = time_to_convergence(values, times[setting[0]], threshold)
        found[setting] = np.asarray(time[:, 0], np.float64), np.asarray(censored[:, 0])
    return found


def elasticity_rows(
    groups: Mapping[tuple[Any, ...], Mapping[float | int, tuple[np.ndarray, np.ndarray]]],
    references: Mapping[tuple[Any, ...], tuple[Any, ...]],
    sign: int = 1,
) -> list[dict[str, Any]]:
    """For each group of runs the elasticity of its times, and how far it is above that of its reference.

    Args:
        groups: ``group -> size -> (times, lower bounds)``.
        references: ``group -> group``.
        sign: -1 for what shortens the time as it grows.

    Returns:
        A dict a group, in their order: ``value``, ``low``, ``high`` of the elasticity times ``sign``; ``extra``,
        ``extra low``, ``extra high``; ``lower bounds`` and ``runs``, how many of either; ``seeds``.

    Raises:
        BadInput: a group has fewer than two sizes, or times that are not positive.
    """
    if abs(sign) != 1:
        raise BadInput(f"sign: {sign} is not 1 or -1")
    found, rows = {}, []
    for group, line in groups.items():
        own, late = (np.stack([runs[part] for runs in line.values()]) for part in (0, 1))
        slope = elasticity(np.asarray(list(line), np.float64), own, late)
        found[group] = slope if sign > 0 else Interval(-slope.value, -slope.high, -slope.low)
        rows.append({"lower bounds": int(late.sum()), "runs": late.size, "seeds": late.shape[1]})
    for row, group in zip(rows, groups, strict=True):
        extra = interval_difference(found[group], found[references[group]])
        row |= found[group]._asdict() | {"extra": extra.value, "extra low": extra.low, "extra high": extra.high}
    return rows
