"""How the inverse and the training step of a neural autoregressive flow grow with variables, units and layers."""

import math
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.flows import ours, timed
from mlrisk import report
from mlrisk.bijectors import neural_autoregressive_flow

BATCH, WIDTHS = 256, (128, 128)
AXES = {"D": (8, 16, 32, 64, 128, 256, 512), "units": (4, 8, 16, 32, 64), "layers": (1, 2, 4, 8)}
DEFAULT = {"D": 32, "units": 16, "layers": 2}
CALLS = {"train": "training step", "sample": "inverse"}


def run(rounds: int) -> list[dict[str, Any]]:
    """One row per setting, and one with the fitted exponent of each axis.

    Args:
        rounds: repetitions, of which medians are taken.
    """
    rows = []
    for axis, values in AXES.items():
        for value in values:
            setting = DEFAULT | {axis: value}
            rows.append({"axis": axis, **setting} | _measure(setting, rounds))
            print(rows[-1], flush=True)
    return rows


def exponents(rows: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """The slopes of log time over log size, by least squares over the upper half of each axis."""
    found = {}
    for axis in AXES:
        own = [row for row in rows if row["axis"] == axis]
        own = own[len(own) // 2 - 1 :]
        for call in CALLS:
            x, y = ([math.log(row[name]) for row in own] for name in (axis, f"{call}_ms"))
            found[axis, call] = float(np.polyfit(x, y, 1)[0])
    return found


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Time over size on each axis, with the exponents in the legend."""
    slopes = exponents(rows)
    with report.house_style():
        made = Figure(figsize=(7.2, 2.6))
        for axes, axis in zip(made.subplots(1, 3, sharey=True), AXES, strict=True):
            own = [row for row in rows if row["axis"] == axis]
            for call, color in zip(CALLS, ("blue", "vermilion"), strict=True):
                x, y = ([row[name] for row in own] for name in (axis, f"{call}_ms"))
                label = f"{CALLS[call]}: exponent {slopes[axis, call]:.2f}"
                axes.plot(x, y, marker="o", color=report.PALETTE[color], label=label)
            axes.set(xscale="log", yscale="log", xlabel={"D": "variables D"}.get(axis, axis))
            axes.set_xticks(AXES[axis], labels=map(str, AXES[axis]), fontsize=6)
            axes.minorticks_off()
            axes.legend(fontsize=6)
        made.axes[0].set(ylabel="time, ms")
        made.savefig(path, dpi=150, bbox_inches="tight")


def _measure(setting: dict[str, int], rounds: int) -> dict[str, float]:
    flow = neural_autoregressive_flow(
        setting["D"], num_layers=setting["layers"], units=setting["units"], hidden_sizes=WIDTHS
    )
    calls = ours(flow, setting["D"], BATCH)
    return {f"{call}_ms": median(timed(calls[call]) for _ in range(rounds)) for call in CALLS}
