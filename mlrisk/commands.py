"""What each command of ``mlrisk`` does, once its arguments are understood."""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mlrisk import config as configs
from mlrisk.errors import BadInput, one_of
from mlrisk.experiment import Experiment, experiment_names, find, presets
from mlrisk.harness import launch, processes
from mlrisk.harness.runtime import Cluster, configure
from mlrisk.run import Job, beside, execute, job, usable

DEFAULT_PRESETS = ("digits", "smoke")


def run(parsed: argparse.Namespace, rest: Sequence[str], command: str) -> int:
    """``mlrisk run``: one config, here; done runs are left as they are."""
    experiment = _experiment(parsed)
    if parsed.show_help:
        return _help(experiment, parsed.command)
    work = _job(experiment, parsed, _overrides(rest))
    configure(devices=parsed.devices, cluster=_cluster(parsed))
    if work.done and not parsed.force:
        print(f"done before: {work.folder} (--force runs anew beside it)")
        return 0
    if work.done:
        work = beside(work)
    usable(parsed.out)
    tell = print if processes.writes() else lambda line: None
    tell(f"{experiment.name} ({work.preset}) in {work.folder}")
    execute(work, command, tell)
    tell(f"report: {work.folder / 'report.html'}")
    return 0


def sweep(parsed: argparse.Namespace, rest: Sequence[str], command: str) -> int:
    """``mlrisk sweep``: the plan of a grid of configs, then those that are not done yet."""
    experiment = _experiment(parsed)
    if parsed.show_help:
        return _help(experiment, parsed.command)
    if parsed.jobs < 1:
        raise BadInput(f"jobs: {parsed.jobs} is not allowed, it must be at least 1")
    if parsed.launcher not in launch.LAUNCHERS:
        raise BadInput(one_of("launcher", parsed.launcher, launch.LAUNCHERS))
    options = launch.scheduler_options(parsed.slurm)
    fixed = _overrides(rest)
    points = [fixed | point for point in _grid(parsed.grid)]
    jobs = [_job(experiment, parsed, point) for point in points]
    for point, work in zip(points, jobs, strict=True):
        print(f"{'done' if work.done else 'to do'}  {work.folder}  {_show(point)}")
    open_points = [point for point, work in zip(points, jobs, strict=True) if not work.done]
    if parsed.dry_run or not open_points:
        return 0
    usable(parsed.out)
    from mlrisk.cli import main  # the jobs are command lines of their own

    lines = [_arguments(parsed, point) for point in open_points]
    return launch.launch(main, lines, parsed.launcher, parsed.out / "jobs", parsed.jobs, options)


def data(parsed: argparse.Namespace) -> int:
    """``mlrisk data list`` and ``mlrisk data prepare NAME``."""
    from mlrisk import data as sources

    if parsed.verb == "prepare":
        print(f"prepared {parsed.name} in {sources.prepare(parsed.name, parsed.data_dir)}")
        return 0
    rows = [("name", "train", "test", "shape", "found", "how to prepare")]
    for row in sources.list_sources(parsed.data_dir):
        rows.append(
            (
                row.name,
                f"{row.num_train:,}",
                f"{row.num_test:,}",
                "x".join(map(str, row.shape)),
                row.found,
                row.how,
            )
        )
    _columns(rows)
    return 0


def list_experiments() -> int:
    """``mlrisk list``: every experiment with its paper figure, presets and expected time."""
    rows = [("experiment", "source", "preset", "time", "what")]
    for name in experiment_names():
        experiment = find(name)
        for preset in presets(name).values():
            rows.append(
                (
                    name,
                    experiment.source,
                    preset.name,
                    preset.card.get("time", ""),
                    preset.card.get("what", ""),
                )
            )
    _columns(rows)
    return 0


def _columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _experiment(parsed: argparse.Namespace) -> Experiment:
    if parsed.experiment is None:
        raise BadInput(f"experiment: none given; it is one of {', '.join(experiment_names())}")
    return find(parsed.experiment)


def _job(experiment: Experiment, parsed: argparse.Namespace, overrides: dict[str, Any]) -> Job:
    path, name = _preset(experiment.name, parsed.config)
    config = configs.load(experiment.config, path, overrides, experiment.name)
    return job(experiment, config, name, parsed.out)


def _preset(experiment: str, given: str | None) -> tuple[Path, str]:
    """The preset file that ``--config`` means: a shipped name, or a path."""
    known = presets(experiment)
    if given is None:
        given = next(name for name in (*DEFAULT_PRESETS, *known) if name in known)
    if given in known:
        return known[given].path, given
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        raise BadInput(one_of("config", given, known) + ", nor a YAML file")
    return path, path.stem


def _overrides(rest: Sequence[str]) -> dict[str, str]:
    """``--a.b value`` and ``--a.b=value`` as a mapping; everything else is refused."""
    found: dict[str, str] = {}
    words = list(rest)
    while words:
        word = words.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise BadInput(f"{word!r} is not an argument; fields are set as --field value")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if not words or words[0].startswith("--"):
                raise BadInput(f"{name}: no value given; fields are set as --{name} value")
            value = words.pop(0)
        if name in found:
            raise BadInput(f"{name}: given twice, as {found[name]!r} and {value!r}")
        found[name] = value
    return found


def _grid(axes: Sequence[str]) -> list[dict[str, str]]:
    """All combinations of ``FIELD=A,B,C`` axes; items may be bracketed lists."""
    columns: list[list[tuple[str, str]]] = []
    for axis in axes:
        name, equals, values = axis.partition("=")
        if not equals or not values.strip():
            raise BadInput(f"grid: {axis!r} is not FIELD=A,B,C")
        try:
            items = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError as error:
            raise BadInput(f"grid: {axis!r} is not FIELD=A,B,C") from error
        columns.append([(name, yaml.safe_dump(item, default_flow_style=True).split("\n")[0]) for item in items])
    return [dict(point) for point in itertools.product(*columns)]


def _arguments(parsed: argparse.Namespace, point: dict[str, Any]) -> list[str]:
    words = ["run", parsed.experiment, "--out", str(parsed.out.resolve())]
    words += ["--config", str(_absolute(parsed.config))] if parsed.config else []
    words += ["--devices", str(parsed.devices)] if parsed.devices else []
    return words + [f"--{name}={value}" for name, value in point.items()]


def _absolute(given: str) -> Path | str:
    return Path(given).resolve() if given.endswith((".yaml", ".yml")) else given


def _show(point: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in point.items()) or "(no grid)"


def _cluster(parsed: argparse.Namespace) -> Cluster | None:
    explicit = (parsed.coordinator, parsed.num_processes, parsed.process_id)
    if any(part is not None for part in explicit) and None in explicit:
        raise BadInput("distributed: --coordinator, --num_processes and --process_id go together")
    return Cluster(*explicit) if parsed.distributed or parsed.coordinator else None


def _help(experiment: Experiment, command: str) -> int:
    print(f"{experiment.name}: {experiment.question}\n\nfields (--field value), with their defaults before any preset:")
    rows = [
        (f"  --{name}", str(value), field.metadata.get("help", ""))
        for name, field, value in configs.walk(experiment.config)
    ]
    _columns(rows)
    print("\npresets (--config NAME):")
    _columns(
        [(f"  {p.name}", p.card.get("time", ""), p.card.get("what", "")) for p in presets(experiment.name).values()]
    )
    print(f"\noptions: mlrisk {command} --help")
    return 0
