"""The figures of an audit: how soon a ranking finds what it should, and the examples at its top."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlrisk.measures.audit import SCORES
from mlrisk.measures.intervals import Interval
from mlrisk.report.figures import PALETTE, Plate
from mlrisk.report.plates import Look, interval_chart, range_curves

NAMES = ("suspicion", *SCORES)
LOOKS: Mapping[str, Look] = {
    name: {"color": list(PALETTE.values())[number % 5], "linestyle": "-" if number < 5 else "--"}
    for number, name in enumerate(NAMES)
}
"""How each score of an audit is drawn."""


def search_plate(suspects: pa.Table) -> Plate:
    """How many wrong labels each score finds as more examples are looked at, highest scores first.

    Args:
        suspects: one row an example, with ``made_wrong`` and a column a score.
    """
    figure = Figure(figsize=(5.6, 3.8))
    axes, wrong = figure.subplots(), suspects["made_wrong"].to_numpy()
    scores = {name: suspects[name].to_numpy() for name in NAMES if name in suspects.column_names}
    search_curves(axes, scores, wrong, LOOKS)
    axes.legend(fontsize=7.5, loc="lower right")
    return Plate(
        figure,
        f"The share of the {wrong.sum()} labels made wrong that is found, against the share of the {len(wrong)} "
        "examples that someone would have to look at, highest scores first.",
    )


def detection_plate(detection: pa.Table) -> Plate:
    """The AUROC of each score with its interval.

    Args:
        detection: with the columns score, value, low and high.
    """
    figure = Figure(figsize=(5.6, 3.2))
    axes, rows = figure.subplots(), detection.to_pylist()
    found = {row["score"]: [Interval(row["value"], row["low"], row["high"])] for row in rows}
    interval_chart(axes, found, LOOKS, ("o",))
    axes.axvline(0.5, color=PALETTE["ink"], lw=1)
    axes.set(xlabel="AUROC of finding wrong labels")
    return Plate(
        figure,
        "How well each score tells labels made wrong from the others: AUROC with DeLong's 95 % intervals over "
        "examples. The line at 0.5 is chance.",
    )


def accuracy_plate(curves: Mapping[str, Float[np.ndarray, "seeds epochs"]]) -> Plate:
    """Accuracies along training.

    Args:
        curves: by name of the set.
    """
    figure = Figure()
    axes, colors = figure.subplots(), list(PALETTE.values())
    looks = {name: {"color": color, "linestyle": dash}
             for name, color, dash in zip(curves, colors, ("-", "--", ":"), strict=False)}  # fmt: skip
    epochs = next(iter(curves.values())).shape[1]
    range_curves(axes, list(range(1, epochs + 1)), curves, looks)
    axes.set(xlabel="epoch", ylabel="accuracy, by the given labels")
    axes.legend()
    return Plate(
        figure, "Accuracy along training, mean and range over seeds. Given labels count as right, wrong or not."
    )


def suspects_plate(pictures: Float[np.ndarray, "n h w c"], rows: Sequence[Mapping[str, Any]]) -> Plate:
    """The most suspect examples as pictures.

    Args:
        pictures: in any unit, drawn from the lowest to the highest of their values.
        rows: of each, with ``label``, ``models_say`` and ``made_wrong``.
    """
    low, high = pictures.min(), pictures.max()
    titles = [f"{row['label']}→{row['models_say']}{'*' * row['made_wrong']}" for row in rows]
    figure = Figure(figsize=(6.4, 2.6))
    suspect_pictures(figure.subplots(), (pictures - low) / max(high - low, 1e-12), titles, across=10)
    return Plate(
        figure,
        "The most suspect examples: the given label → what most models say that were trained without the example. A "
        "star marks labels that the audit made wrong.",
    )


def search_curves(
    axes: Axes,
    scores: Mapping[str, Float[np.ndarray, " n"]],
    positives: Bool[np.ndarray, " n"],
    looks: Mapping[str, Look],
) -> None:
    """The share of positives found against the share of examples looked at, highest scores first.

    Args:
        axes: where to draw.
        scores: by name (n,); equal scores are drawn as a straight line, the mean over their orders.
        positives: which examples are to be found, at least one.
        looks: how each score is drawn.
    """
    for name, score in scores.items():
        levels, place = np.unique(-score, return_inverse=True)
        seen = np.bincount(place, minlength=len(levels)).cumsum() / len(score)
        found = np.bincount(place, positives, minlength=len(levels)).cumsum() / positives.sum()
        axes.plot([0, *seen], [0, *found], label=name, **looks[name])
    axes.set(xlabel="share of the examples looked at", ylabel="share of the wrong labels found", ylim=(0, 1.02))
    axes.set_xlim(0, min(1.0, max(0.1, 4 * float(positives.mean()))))


def suspect_pictures(axes: Axes, pictures: Float[np.ndarray, "n h w c"], titles: Sequence[str], across: int) -> None:
    """Pictures in rows of ``across``, each with a line of text above, as tiles of one image.

    Args:
        axes: where to draw; its frame is taken off.
        pictures: values in [0, 1], of one or three channels; one is drawn dark on light.
        titles: one a picture.
        across: pictures side by side.
    """
    count, height, width, channels = pictures.shape
    room, gap = max(3, round(0.35 * height)), max(1, round(0.25 * width))
    rows = -(-count // across)
    mosaic = np.full((rows * (height + room), across * (width + gap) - gap, channels), float(channels > 1))
    for number, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        top, left = (number // across) * (height + room) + room, (number % across) * (width + gap)
        mosaic[top : top + height, left : left + width] = picture
        axes.text(left + width / 2, top - 0.5, title, fontsize=7, ha="center", va="bottom")
    axes.imshow(mosaic if channels > 1 else mosaic[..., 0], cmap="gray_r" if channels == 1 else None, vmin=0, vmax=1)
    axes.axis("off")
