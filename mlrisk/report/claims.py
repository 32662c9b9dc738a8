"""Claims: what was published, what was obtained, by which criterion they are compared, and the verdict."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsFloat, SupportsInt

import numpy as np
import pyarrow as pa

from mlrisk.errors import BadInput
from mlrisk.files import write_json
from mlrisk.report.formats import format_interval

Tables = dict[str, pa.Table]


@dataclass(frozen=True)
class Obtained:
    """What a run says about one claim.

    Attributes:
        value: the statistic that is judged, in its own unit.
        low: lower end of its 95 % interval over seeds; None (or NaN) where there is none.
        high: upper end.
        n: number of seeds behind it; 0 for a value computed exactly.
        criterion: the inequality or tolerance it is held to, such as ``"> 10"``.
        agrees: whether the criterion holds.
        note: anything a reader must know to read the number rightly.
    """

    value: SupportsFloat
    low: SupportsFloat | None
    high: SupportsFloat | None
    n: SupportsInt
    criterion: str
    agrees: bool | np.bool_
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published statement together with the function that judges it.

    Attributes:
        name: short and unique within its experiment.
        statement: the published claim in words.
        source: paper, and figure, table or section.
        published: the published number or shape as a string; None where only the statement was published.
        selection: name of the rule by which hyper-parameters were chosen; empty where nothing was chosen.
        check: function of the tables to what was obtained; reads nothing else.
    """

    name: str
    statement: str
    source: str
    published: str | None = None
    selection: str = ""
    check: Callable[[Tables], Obtained]


def judge(claims: Iterable[Claim], tables: Tables, scale: str) -> list[dict[str, Any]]:
    """Judges every claim against the tables of one run.

    Args:
        claims: the claims of an experiment.
        tables: its tables by name.
        scale: a sentence on the scale at which the run was made, such as "1,000 digits, 100 seeds".

    Returns:
        One row a claim, ready for JSON. ``verdict`` is ``"agrees"``, ``"differs"`` or ``"not judged"``;
        in the last case ``agrees`` is None and ``problem`` says why.

    Raises:
        BadInput: two claims have the same name.
    """
    claims = list(claims)
    names = [claim.name for claim in claims]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"claims: the name {name!r} is used {names.count(name)} times; each claim needs its own")
    return [_published(claim, scale) | _judged(claim, tables) for claim in claims]


def claim_line(row: dict[str, Any]) -> str:
    """A row of `judge` in one line for a terminal: verdict, name, value with interval, criterion."""
    if row["value"] is None:
        return f"{row['verdict']:10}  {row['name']}: {row['problem']}"
    found = format_interval(row["value"], row["low"], row["high"])
    return f"{row['verdict']:10}  {row['name']}: {found} ({row['n']} seeds), to be {row['criterion']}"


def write_claims(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes the rows of `judge` as strict JSON, whole or not at all.

    Args:
        path: usually ``claims.json`` in the run folder.
        rows: what `judge` returned; infinities become strings that ``float`` reads back.

    Returns:
        ``path``.

    Raises:
        StorageError: the file cannot be written.
    """
    return write_json(path, rows)


def _published(claim: Claim, scale: str) -> dict[str, Any]:
    fields = ("name", "statement", "source", "published", "selection")
    return {field: getattr(claim, field) for field in fields} | {"scale": scale}


def _judged(claim: Claim, tables: Tables) -> dict[str, Any]:
    try:
        return _row(claim.check(tables))
    # One claim that fails for whatever reason must not cost the others their verdict, nor the run its report.
    except Exception as error:
        reason = " ".join(str(error).split()) or "no reason given"
        return _unjudged(f"could not be judged: {type(error).__name__}: {reason}")


def _row(obtained: Any) -> dict[str, Any]:
    if not isinstance(obtained, Obtained):
        return _unjudged(f"could not be judged: the check returned a {type(obtained).__name__}, not an Obtained")
    value = float(obtained.value)
    if math.isnan(value):
        return _unjudged(f"could not be judged: the value is NaN. {obtained.note}".strip())
    agrees = bool(obtained.agrees)
    return {
        "value": value,
        "low": _end(obtained.low),
        "high": _end(obtained.high),
        "n": int(obtained.n),
        "criterion": obtained.criterion,
        "agrees": agrees,
        "verdict": "agrees" if agrees else "differs",
        "note": obtained.note,
        "problem": None,
    }


def _unjudged(problem: str) -> dict[str, Any]:
    empty = dict.fromkeys(("value", "low", "high", "n", "criterion", "agrees"))
    return empty | {"verdict": "not judged", "note": "", "problem": problem}


def _end(end: SupportsFloat | None) -> float | None:
    return None if end is None or math.isnan(float(end)) else float(end)
