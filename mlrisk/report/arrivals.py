"""Lines of times that runs take to arrive, with marks where they are only lower bounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter


def arrival_lines(
    axes: Axes, rows: Sequence[Mapping[str, Any]], x: str, looks: Mapping[str, Mapping[str, Any]]
) -> None:
    """One line a group with its intervals, on logarithmic axes; open triangles where some runs had not arrived.

    Args:
        axes: where to draw.
        rows: with the columns ``group``, ``value``, ``low``, ``high``, ``lower bounds`` (how many runs are only that)
            and the horizontal one.
        x: the column of the horizontal axis.
        looks: how each group is drawn, in the order of the legend.
    """
    for name, look in looks.items():
        line = sorted((row for row in rows if row["group"] == name), key=lambda row: row[x])
        value, low, high = (np.asarray([row[end] for row in line], float) for end in ("value", "low", "high"))
        ends = np.nan_to_num([value - low, np.where(np.isfinite(high), high - value, 0)])
        across = [row[x] for row in line]
        axes.errorbar(across, value, yerr=np.maximum(ends, 0), marker="o", capsize=2, label=name, **look)
        late = [row["lower bounds"] > 0 for row in line]
        axes.plot(np.compress(late, across), value[late], ls="", marker="^", ms=9, mfc="white", mec=look["color"])
    axes.set(xscale="log", yscale="log")
    places = sorted({row[x] for row in rows})
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
