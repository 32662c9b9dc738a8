"""Points with intervals of several methods, side by side at each place of a categorical axis."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mlrisk.report.figures import PALETTE

Rows = Sequence[Mapping[str, Any]]


def dodged_points(axes: Axes, series: Mapping[str, Rows], floor: float, *, reference: str = "") -> None:
    """One colour a method, one place a row: ``value`` with its interval, and a dash at a reference beside it.

    Args:
        axes: where to draw, on a logarithmic axis; its x axis counts the places from 0.
        series: method -> rows with ``value``, ``low`` and ``high``, one a place.
        floor: what smaller values and ends are drawn at.
        reference: a column of the rows with a published value, NaN or missing where there is none; "" draws none.
    """
    for number, ((method, rows), color) in enumerate(zip(series.items(), PALETTE.values(), strict=False)):
        across = np.arange(len(rows)) + 0.8 / len(series) * (number - (len(series) - 1) / 2)
        value, low, high = (np.maximum([row[name] for row in rows], floor) for name in ("value", "low", "high"))
        reach = np.maximum(np.stack([value - low, high - value]), 0)
        axes.errorbar(across, value, reach, fmt="o", ms=4, lw=1, color=color, label=method)
        if reference:
            known = np.maximum(np.asarray([row[reference] for row in rows], float), floor)
            axes.plot(across, known, "_", color=PALETTE["ink"], ms=9, mew=1.2, zorder=3)
    axes.set_yscale("log")
