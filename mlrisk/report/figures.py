"""Figures: the house style, and saving them with captions so that the same figure gives the same bytes."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style as styles
from cycler import cycler
from matplotlib.figure import Figure

from mlrisk.errors import BadInput
from mlrisk.files import replacing, write_json

INK = "#20262d"
GRID = "#d9dde2"
PALETTE = {
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "orange": "#e69f00",
    "sky": "#56b4e9",
    "ink": INK,
}
"""Colours that people with any common colour blindness tell apart.

Source: Okabe and Ito, Color universal design (2008).
Differs: dark ink for black, so that pages can lighten it in dark mode; yellow left out, too pale on white.
"""

_DASHES = ("-", "--", "-.", ":", "-", "--", "-.")
_DPI = 144
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Plate(NamedTuple):
    """A figure with its caption, and what it shows in words (``alt``; from the axis labels if empty)."""

    figure: Figure
    caption: str
    alt: str = ""


def style() -> dict[str, Any]:
    """The matplotlib settings of the house: 5.6 by 3.5 inches, quiet axes, colours all can tell apart."""
    return {
        "figure.figsize": (5.6, 3.5),
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.labelsize": 10,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.8,
        "lines.markersize": 5,
        "image.cmap": "cividis",
        "axes.prop_cycle": cycler(color=list(PALETTE.values())) + cycler(linestyle=_DASHES),
        "svg.fonttype": "path",
        "svg.hashsalt": "mlrisk",
    }


@contextmanager
def house_style() -> Iterator[None]:
    """A block in which ``Figure()`` has the house style; settings are as before when it ends."""
    with styles.context(["default", style()]):
        yield


def save_figures(figures: Mapping[str, Plate], folder: Path) -> list[Path]:
    """Writes each figure as SVG (transparent) and PNG (white, 144 dots an inch), and ``captions.json`` last.

    Args:
        figures: plates by name; names become file names.
        folder: usually ``figures`` in the run folder.

    Returns:
        The paths written. The same figures give the same bytes: no dates, fixed identifiers.

    Raises:
        BadInput: a name that is no file name, or an empty caption.
        StorageError: a file cannot be written.
    """
    for name, plate in figures.items():
        _check(name, plate)
    folder = Path(folder)
    written = [path for name, plate in figures.items() for path in _save(plate.figure, folder, name)]
    captions = {
        name: {"caption": plate.caption, "alt": plate.alt or describe(plate.figure)} for name, plate in figures.items()
    }
    return [*written, write_json(folder / "captions.json", captions)]


def describe(figure: Figure) -> str:
    """What the axes of a figure say in words, for instance "Plot of loss against step"."""
    panels = [
        f"{axes.get_title()}: {axes.get_ylabel()} against {axes.get_xlabel()}".removeprefix(": ")
        for axes in figure.axes
        if axes.get_xlabel() and axes.get_ylabel()
    ]
    return f"Plot of {'; '.join(dict.fromkeys(panels))}" if panels else "Figure without labelled axes"


def _check(name: str, plate: Plate) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(f"figures: the name {name!r} is not made of letters, digits, dashes and underscores")
    if not plate.caption.strip():
        raise BadInput(f"figures: {name!r} has an empty caption; say what is shown, and over how many seeds")


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    anonymous = {"Creator": None, "Date": None, "Format": None, "Type": None}
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    with house_style(), replacing(paths[0]) as draft:
        figure.savefig(draft, format="svg", transparent=True, metadata=anonymous)
    with house_style(), replacing(paths[1]) as draft:
        figure.savefig(draft, format="png", dpi=_DPI, metadata={"Software": None})
    return paths
