"""Pictures of densities on the plane side by side, and of the masses of their modes."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from mlrisk.report.figures import PALETTE
from mlrisk.report.plates import Look
from mlrisk.report.tables import Cell


def density_mosaic(
    axes: Axes, rows: Mapping[str, Float[np.ndarray, "columns height width"]], columns: Sequence[str]
) -> None:
    """A table of densities as tiles of one image; each column is as bright as its first row's highest density.

    Args:
        axes: where to draw; its ticks name rows and columns.
        rows: name -> densities (not their logarithms) of that row, one a column, with the vertical axis upwards.
        columns: their names.
    """
    first = next(iter(rows.values()))
    _, height, width = first.shape
    top = first.max(axis=(1, 2), keepdims=True)
    tiles = [np.pad(np.clip(row / top, 0, 1)[:, ::-1], ((0, 0), (0, 1), (0, 1))) for row in rows.values()]
    axes.imshow(np.concatenate([np.concatenate(list(row), axis=1) for row in tiles]), vmin=0, vmax=1)
    centres = [
        (np.arange(count) + 0.5) * (side + 1) - 0.5 for count, side in ((len(columns), width), (len(rows), height))
    ]
    axes.set(xticks=centres[0], xticklabels=list(columns), yticks=centres[1], yticklabels=list(rows))
    axes.tick_params(length=0)
    axes.grid(visible=False)


def mass_chart(
    axes: Axes, found: Mapping[str, Sequence[Cell]], looks: Mapping[str, Look], truth: Mapping[str, float]
) -> None:
    """For each mode the mass that each model gives it, with its interval, and a line at the truth.

    Args:
        axes: where to draw; its horizontal axis gets the modes' names.
        found: model -> one cell a mode.
        looks: the colour of each model.
        truth: mode -> mass, in the order of the cells.
    """
    places = np.arange(len(truth))
    for number, (name, cells) in enumerate(found.items()):
        ends = np.asarray([[c.value - c.low, c.high - c.value] for c in cells], float).T.clip(0)
        shifted = places + 0.6 * ((number + 0.5) / len(found) - 0.5)
        axes.errorbar(shifted, [c.value for c in cells], ends, fmt="o", label=name, color=looks[name]["color"])
    axes.hlines(list(truth.values()), places - 0.35, places + 0.35, color=PALETTE["ink"], lw=1, label="truth")
    axes.set(xticks=places, xticklabels=list(truth), ylim=(0, None))
    axes.legend(ncols=2)
