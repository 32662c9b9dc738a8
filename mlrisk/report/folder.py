"""Run folders as a report reads them: from disk only, whole or refused with the name of the file at fault."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from mlrisk.errors import BadInput, StorageError
from mlrisk.files import read_json, read_text
from mlrisk.report.pictures import Picture, load_picture
from mlrisk.report.tables import TableView, read_table, to_rows

_RUN_FIELDS = ("experiment", "question", "command", "preset")
_CLAIM_FIELDS = (
    "name",
    "statement",
    "source",
    "published",
    "value",
    "low",
    "high",
    "n",
    "criterion",
    "verdict",
)
_NOT_SEARCHED = {"checkpoints", "arrays", "figures", "tables"}


@dataclass(frozen=True)
class RunView:
    """All that the page says about one run.

    Attributes:
        name: the last two parts of its path, ``<experiment>/<preset>-<hash>``.
        run: the contents of ``run.json``.
        config: the resolved configuration, as YAML text.
        environment: the contents of ``environment.json``.
        claims: rows of ``claims.json``.
        tables: the beginning of each table.
        pictures: the figures, in the order of their captions.
        records: facts about ``records.parquet``: number of rows, lanes and seeds, names of the metrics.
    """

    name: str
    run: dict[str, Any]
    config: str
    environment: dict[str, Any]
    claims: list[dict[str, Any]] = field(default_factory=list)
    tables: list[TableView] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    records: dict[str, Any] = field(default_factory=dict)


def find_runs(paths: Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """The run folders under some paths: finished ones (with ``DONE``) and unfinished ones.

    Args:
        paths: run folders, or folders that contain them at any depth.

    Returns:
        ``(finished, unfinished)``, each in the order of the paths, without repeats.

    Raises:
        BadInput: a path is no folder, or holds no run.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise BadInput(f"{path}: is not a folder; give a run folder or a folder that contains some")
        here = list(_runs_under(path))
        if not here:
            raise BadInput(f"{path}: holds no run (no folder with run.json or config.yaml in it)")
        for run in here:
            found.setdefault(run.resolve(), run)
    finished = [run for run in found.values() if (run / "DONE").is_file()]
    return finished, [run for run in found.values() if not (run / "DONE").is_file()]


def load_run(run_dir: str | Path, prefix: str = "run") -> RunView:
    """Reads one run folder.

    Args:
        run_dir: holds ``run.json``, ``config.yaml``, ``environment.json``, ``claims.json``,
            ``records.parquet``, and where there are any ``tables/*.parquet`` and ``figures/*`` with
            ``figures/captions.json``.
        prefix: unique to this run on its page.

    Returns:
        A `RunView`.

    Raises:
        StorageError: a file is missing or damaged; the line names it.
    """
    folder = Path(run_dir)
    return RunView(
        name=run_name(folder),
        run=_run(folder / "run.json"),
        config=_config(folder / "config.yaml"),
        environment=read_json(folder / "environment.json"),
        claims=_claims(folder / "claims.json"),
        tables=[_table(path) for path in sorted((folder / "tables").glob("*.parquet"))],
        pictures=_pictures(folder / "figures", prefix),
        records=_records(folder / "records.parquet"),
    )


def run_name(folder: Path) -> str:
    """The last two parts of the path of a run folder."""
    return "/".join(folder.resolve().parts[-2:]).lstrip("/")


def _runs_under(top: Path) -> Iterable[Path]:
    for place, folders, files in os.walk(top):
        if {"run.json", "config.yaml", "DONE"} & set(files):
            folders.clear()
            yield Path(place)
        folders[:] = sorted(name for name in folders if name not in _NOT_SEARCHED and not name.startswith("."))


def _run(path: Path) -> dict[str, Any]:
    run = read_json(path)
    _require(path, run, _RUN_FIELDS)
    return run


def _claims(path: Path) -> list[dict[str, Any]]:
    claims = read_json(path, list)
    for number, claim in enumerate(claims, 1):
        if not isinstance(claim, dict):
            raise StorageError(f"{path}: is damaged (claim {number} is a {type(claim).__name__})")
        _require(path, claim, _CLAIM_FIELDS, f"claim {number}: ")
    return claims


def _require(path: Path, content: dict[str, Any], fields: Iterable[str], where: str = "") -> None:
    missing = [name for name in fields if name not in content]
    if missing:
        raise StorageError(f"{path}: is damaged ({where}has no {', '.join(missing)})")


def _config(path: Path) -> str:
    text = read_text(path)
    try:
        yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StorageError(f"{path}: is damaged (not YAML: {' '.join(str(error).split())})") from error
    return text


def _table(path: Path) -> TableView:
    return to_rows(read_table(path), path.stem)


def _pictures(folder: Path, prefix: str) -> list[Picture]:
    if not folder.is_dir():
        return []
    captions = read_json(folder / "captions.json")
    for path in sorted(folder.iterdir()):
        if path.suffix in {".svg", ".png"} and path.stem not in captions and not path.name.startswith("."):
            raise StorageError(f"{path}: has no caption in {folder / 'captions.json'}")
    pictures = []
    for number, (name, entry) in enumerate(captions.items(), 1):
        entry = {"caption": entry} if isinstance(entry, str) else entry
        caption = entry.get("caption", "")
        pictures.append(load_picture(folder, name, caption, entry.get("alt") or caption, f"{prefix}-figure-{number}"))
    return pictures


def _records(path: Path) -> dict[str, Any]:
    table = read_table(path)
    facts: dict[str, Any] = {"rows": table.num_rows}
    for column, label in (("lane", "lanes"), ("seed", "seeds")):
        if column in table.column_names:
            facts[label] = len(table[column].unique())
    if "metric" in table.column_names:
        facts["metrics"] = sorted(_texts(table["metric"]))
    return facts


def _texts(column: pa.ChunkedArray) -> list[str]:
    return [str(value) for value in column.unique().to_pylist() if value is not None]
