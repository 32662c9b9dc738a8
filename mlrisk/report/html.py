"""The page: one HTML file with everything in it, made from run folders on disk."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

import mlrisk
from mlrisk.errors import BadInput
from mlrisk.files import write_text
from mlrisk.report.folder import RunView, find_runs, load_run, run_name
from mlrisk.report.formats import format_duration, format_interval, format_number

PLURALS = {"agrees": "agree", "differs": "differ", "not judged": "not judged"}
VERDICTS = {"agrees": "✓", "differs": "✗", "not judged": "?"}
_MOST_LANES = 40  # diverged lanes named one by one; the rest is counted


@dataclass(frozen=True)
class Page:
    """What one report shows.

    Attributes:
        title: of the document.
        runs: finished runs, in the order of the page.
        unfinished: names of runs found without ``DONE``.
    """

    title: str
    runs: list[RunView] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def report(paths: Iterable[str | Path], output: str | Path) -> Path:
    """Reads run folders and writes one self-contained page.

    Args:
        paths: run folders, or folders that contain them at any depth.
        output: the HTML file.

    Returns:
        The path of the page. Runs without ``DONE`` are listed as unfinished.

    Raises:
        BadInput: no paths, a path that holds no run, or an ``output`` that is a folder.
        StorageError: a file of a finished run is missing or damaged, or the page cannot be written.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise BadInput("paths: none given; give a run folder or a folder that contains some")
    if Path(output).is_dir():
        raise BadInput(f"output: {str(output)!r} is a folder; give the name of an HTML file")
    finished, unfinished = find_runs(paths)
    runs = [load_run(folder, f"run-{number}") for number, folder in enumerate(finished, 1)]
    return write(output, render(Page(_title(runs), runs, [run_name(folder) for folder in unfinished])))


def report_run(run_dir: str | Path) -> Path:
    """Writes ``report.html`` into one run folder, whether or not it is marked ``DONE`` yet.

    Raises:
        StorageError: a file of the run is missing or damaged, or the page cannot be written.
    """
    run = load_run(run_dir, "run-1")
    return write(Path(run_dir) / "report.html", render(Page(_title([run]), [run])))


def render(page: Page) -> str:
    """The page as HTML text: no scripts, nothing loaded from outside; the same page gives the same text."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "duration": format_duration,
        "number": format_number,
        "heading": heading,
        "flatten": flatten,
        "obtained": obtained,
        "seeds": seeds,
        "lanes": name_lanes,
    }
    here = files("mlrisk.report")
    template = environment.from_string((here / "page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        page=page,
        css=(here / "page.css").read_text(encoding="utf-8"),
        version=mlrisk.__version__,
        tallies=[tally(run.claims) for run in page.runs],
        symbols=VERDICTS,
        plurals=PLURALS,
    )


def write(path: str | Path, html: str) -> Path:
    """Writes the page, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    return write_text(Path(path), html)


def heading(name: str) -> str:
    """A name from code as a heading: ``"easy_examples"`` becomes ``"Easy examples"``."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def tally(claims: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """How many claims have each verdict, in the order of `VERDICTS`, without the empty ones."""
    counts = Counter(claim["verdict"] for claim in claims)
    return [(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]]


def flatten(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested dicts as rows of (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, dict):
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _plain(value)))
    return rows


def obtained(claim: dict[str, Any]) -> tuple[str, str]:
    """The value of a row of ``claims.json`` and its interval in brackets; empty where there is none."""
    value, low, high = (None if claim[end] is None else float(claim[end]) for end in ("value", "low", "high"))
    middle, _, ends = (format_number(None) if value is None else format_interval(value, low, high)).partition(" ")
    return middle, ends


def seeds(count: int | None) -> str:
    """A number of seeds in words; 0 means that the value was computed exactly."""
    if not count:
        return "" if count is None else "exact, no seeds"
    return f"{count:,} seed{'s' if count > 1 else ''}"


def name_lanes(diverged: list[dict[str, Any]]) -> str:
    """The diverged lanes by name: lane, seed, and the step at which the loss stopped being finite."""
    named = [", ".join(f"{name} {value}" for name, value in lane.items()) for lane in diverged[:_MOST_LANES]]
    rest = len(diverged) - len(named)
    return "; ".join(named) + (f"; and {rest:,} more" if rest else "")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return format_number(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return format_number(None) if value is None else str(value)


def _title(runs: list[RunView]) -> str:
    if len(runs) == 1:
        return heading(str(runs[0].run["experiment"]))
    return f"{len(runs)} runs" if runs else "No finished run"
