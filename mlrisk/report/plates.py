"""Figures that more than one experiment draws: sorted curves, interval charts, grids of pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from mlrisk.measures.intervals import Interval
from mlrisk.report.figures import PALETTE

Look = Mapping[str, Any]
"""Keyword arguments of matplotlib for one line: colour, line style, marker."""

CONDITION_LOOKS: Mapping[str, Look] = {
    "real": {"color": PALETTE["blue"], "linestyle": "-"},
    "randX": {"color": PALETTE["vermilion"], "linestyle": "--"},
    "randY": {"color": PALETTE["green"], "linestyle": "-."},
}
"""How the real and noisy versions of a data set look in every figure."""


def sorted_curves(
    axes: Axes,
    curves: Mapping[str, Float[np.ndarray, " n"]],
    looks: Mapping[str, Look],
    reference: Float[np.ndarray, "draws n"],
    label: str,
) -> None:
    """Each curve sorted, and behind them the band that 95 % of the sorted reference draws fall into.

    Args:
        axes: where to draw.
        curves: values by name; each is sorted by itself.
        looks: how each is drawn.
        reference: draws from a null (draws, n).
        label: the band's name.
    """
    low, high = np.quantile(np.sort(reference, axis=1), [0.025, 0.975], axis=0)
    axes.fill_between(np.arange(len(low)), low, high, color=PALETTE["ink"], alpha=0.3, lw=0, label=label)
    for name, curve in curves.items():
        axes.plot(np.arange(len(curve)), np.sort(curve), label=name, **looks[name])


def interval_chart(
    axes: Axes, rows: Mapping[str, Sequence[Interval]], looks: Mapping[str, Look], markers: Sequence[str]
) -> None:
    """One line a name with its values and intervals, one marker a series; the second and later are open.

    Args:
        axes: where to draw; its y axis gets the names.
        rows: for each name, one interval a series.
        looks: the colour of each name.
        markers: one a series.
    """
    for place, (name, intervals) in enumerate(rows.items()):
        for number, (found, marker) in enumerate(zip(intervals, markers, strict=True)):
            shift = 0.24 * (number - (len(markers) - 1) / 2)
            ends = [[max(found.value - found.low, 0)], [max(found.high - found.value, 0)]]
            color = looks[name]["color"]
            axes.errorbar(found.value, place + shift, xerr=ends, fmt=marker, color=color,
                          markerfacecolor="none" if number else color)  # fmt: skip
    axes.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5))


def picture_grid(
    axes: Axes,
    pictures: Float[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    each: int,
) -> None:
    """For each class a row: the ``each`` pictures of lowest score, a gap, the ``each`` of highest.

    All pictures are tiles of one image: an axis for each would take seconds to lay out.

    Args:
        axes: where to draw; its frame is taken off.
        pictures: values in [0, 1]; one channel is drawn dark on light.
        labels: the class of each picture.
        score: written above each picture.
        each: pictures on either side; a class with fewer than twice as many shows some on both.
    """
    classes, (height, width, channels) = np.unique(labels), pictures.shape[1:]
    room, gap = max(1, round(0.45 * height)), max(1, round(0.3 * width))
    mosaic = np.zeros((len(classes) * (height + room), 2 * each * width + (2 * each + 1) * gap, channels))
    mosaic += 0.0 if channels == 1 else 1.0
    text: dict[str, Any] = {"fontsize": 7, "ha": "center", "va": "bottom"}
    for row, label in enumerate(classes):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(score[members], kind="stable")]
        top = row * (height + room) + room
        axes.text(-gap, top + height / 2, str(label), ha="right", va="center")
        for place, example in [*enumerate(ranked[:each]), *enumerate(ranked[-each:], each)]:
            left = place * (width + gap) + (gap if place >= each else 0)
            mosaic[top : top + height, left : left + width] = pictures[example]
            axes.text(left + width / 2, top - 0.5, f"{score[example]:.2f}", **text)
    axes.imshow(mosaic, cmap="gray_r" if channels == 1 else None, vmin=0, vmax=1)
    axes.axis("off")


def picture_rows(axes: Axes, rows: Mapping[str, Float[np.ndarray, "n h w c"]], across: int) -> None:
    """Pictures in rows of ``across``, one block of rows a name, as tiles of one image.

    Args:
        axes: where to draw; its frame is taken off.
        rows: name -> pictures with values in [0, 1], written left of its block; one channel is drawn dark on light.
        across: pictures side by side; those that do not fill a row are left out.
    """
    _, height, width, channels = next(iter(rows.values())).shape
    gap, blocks, top = max(1, height // 8), [], 0
    for name, pictures in rows.items():
        depth = len(pictures) // across
        tiles = np.pad(pictures[: depth * across], ((0, 0), (0, 1), (0, 1), (0, 0)))
        shape = (depth, across, height + 1, width + 1, channels)
        block = tiles.reshape(shape).swapaxes(1, 2).reshape(depth * (height + 1), across * (width + 1), channels)
        blocks += [block, np.zeros((gap, *block.shape[1:]))]
        axes.text(-gap, top + len(block) / 2, name, ha="right", va="center")
        top += len(block) + gap
    mosaic = np.concatenate(blocks[:-1])
    axes.imshow(mosaic if channels > 1 else mosaic[..., 0], cmap="gray_r" if channels == 1 else None, vmin=0, vmax=1)
    axes.axis("off")


def range_curves(
    axes: Axes, steps: Sequence[int], curves: Mapping[str, Float[np.ndarray, "seeds steps"]], looks: Mapping[str, Look]
) -> None:
    """For each name the mean over seeds along training, and the range over seeds as a band.

    Args:
        axes: where to draw.
        steps: the horizontal axis.
        curves: values by name (seeds, steps).
        looks: how each is drawn; its colour is the band's too.
    """
    for name, values in curves.items():
        axes.plot(steps, values.mean(axis=0), label=name, **looks[name])
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=looks[name]["color"], alpha=0.25, lw=0)


def level_curves(axes: Axes, rows: Sequence[Mapping[str, Any]], x: str, quantities: Sequence[str]) -> None:
    """One colour a level and one line style a quantity (solid, then dotted) with its band, from rows of a table.

    Args:
        axes: where to draw.
        rows: with the columns ``level``, ``quantity``, ``value``, ``low``, ``high`` and the horizontal one, in its
            order.
        x: the column of the horizontal axis.
        quantities: which quantities to draw.
    """
    for color, level in zip(PALETTE.values(), sorted({row["level"] for row in rows}), strict=False):
        for quantity, dash in zip(quantities, ("-", ":"), strict=False):
            line = [row for row in rows if (row["level"], row["quantity"]) == (level, quantity)]
            banded_line(axes, line, x, color=color, linestyle=dash, label=f"{level:.0%}" if dash == "-" else None)
    axes.set_xlabel(x)


def banded_line(axes: Axes, rows: Sequence[Mapping[str, Any]], x: str, **look: Any) -> None:
    """A line through ``value`` over a pale band from ``low`` to ``high``, from rows in the order of the column ``x``.

    Ends that are missing or not finite (a single seed) leave the band out there.
    """
    across, middle, low, high = (np.asarray([row[name] for row in rows], float) for name in (x, "value", "low", "high"))
    (line,) = axes.plot(across, middle, **look)
    axes.fill_between(across, low, high, color=line.get_color(), alpha=0.15, linewidth=0)


def crossed_points(
    axes: Axes, x_rows: Sequence[Mapping[str, Any]], y_rows: Sequence[Mapping[str, Any]], **look: Any
) -> None:
    """One point a pair of rows, with the intervals of both as a thin cross; rows have ``value``, ``low``, ``high``."""
    (x, x_reach), (y, y_reach) = (value_and_reach(rows) for rows in (x_rows, y_rows))
    axes.errorbar(x, y, y_reach, x_reach, elinewidth=0.8, **look)


def value_and_reach(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "2 n"]]:
    """The values of rows, and how far their intervals reach below and above, as error bars want them."""
    values, low, high = (np.asarray([row[name] for row in rows], float) for name in ("value", "low", "high"))
    # rounding may put an end on the wrong side of a value that all seeds share
    return values, np.maximum(np.stack([values - low, high - values]), 0)
