"""One run of one experiment, from its config to its report, in a folder that a later run can trust."""

import datetime
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

from mlrisk import config as configs
from mlrisk import report
from mlrisk.errors import BadInput, StorageError
from mlrisk.experiment import Experiment
from mlrisk.files import storing, write_json, write_text
from mlrisk.harness import processes
from mlrisk.harness.environment import environment
from mlrisk.harness.records import Records


class Job(NamedTuple):
    """A run that has a name: the experiment, its resolved config, and the folder that belongs to them."""

    experiment: Experiment
    config: Any
    preset: str
    folder: Path

    @property
    def done(self) -> bool:
        """Whether the run was finished before."""
        return (self.folder / "DONE").exists()


def job(experiment: Experiment, config: Any, preset: str, out: Path) -> Job:
    """The job of a config: its folder is ``<out>/<experiment>/<preset>-<hash of the resolved config>``."""
    name = f"{preset}-{configs.identity(config, experiment.name)[:10]}"
    return Job(experiment, config, preset, out / experiment.name / name)


def beside(job: Job) -> Job:
    """The same job in the next free folder beside its own, for runs that must start anew."""
    number = 2
    while (folder := job.folder.with_name(f"{job.folder.name}.{number}")).exists():
        number += 1
    return job._replace(folder=folder)


def execute(job: Job, command: str, say: Callable[[str], None]) -> Records:
    """Run a job, or what is left of it, and write its records, tables, figures, claims and report.

    Args:
        job: what to run and where.
        command: the command line, kept in the run folder.
        say: told a line at a time what happens.

    Raises:
        StorageError: the folder cannot be written.
        BadInput: another process is running the same job, or the config asks for something impossible.
    """
    started = time.time()
    if not processes.writes():
        return job.experiment.run(job.config, jax.random.key(job.config.seed), job.folder)
    with storing(job.folder, "nothing was started"):
        job.folder.mkdir(parents=True, exist_ok=True)
    with _alone(job.folder):
        with storing(job.folder, "nothing was started"):
            _begin(job)
        records = job.experiment.run(job.config, jax.random.key(job.config.seed), job.folder)
        with storing(job.folder, "the finished chunks are whole"):
            records.save(job.folder)
            summarise(job, records, command, started, say)
            write_text(job.folder / "DONE", "")
        for leftover in ("chunks", "checkpoints"):
            shutil.rmtree(job.folder / leftover, ignore_errors=True)
    return records


def summarise(job: Job, records: Records, command: str, started: float, say: Callable[[str], None]) -> None:
    """Everything that is made from the records: tables, figures, claims, ``run.json`` and the report page."""
    folder, experiment = job.folder, job.experiment
    tables = experiment.analyse(records)
    for name, table in tables.items():
        report.write_table(table, folder / "tables" / f"{name}.parquet")
    report.save_figures(experiment.figures(records, tables), folder / "figures")
    judged = report.judge(experiment.claims, tables, _scale(job))
    report.write_claims(folder / "claims.json", judged)
    write_json(folder / "run.json", _facts(job, records, command, started))
    report.report_run(folder)
    for row in judged:
        say(report.claim_line(row))
    for lane in records.diverged():
        say("diverged: " + ", ".join(f"{name} {value}" for name, value in lane.items()))


def _begin(job: Job) -> None:
    write_text(job.folder / "config.yaml", configs.dump(job.config, job.experiment.name))
    write_json(job.folder / "environment.json", environment())


def _facts(job: Job, records: Records, command: str, started: float) -> dict[str, Any]:
    experiment = job.experiment
    return {
        "experiment": experiment.name,
        "question": experiment.question,
        "figure": experiment.source,
        "command": command,
        "preset": job.preset,
        "seconds": round(time.time() - started, 1),
        "started": _clock(started),
        "finished": _clock(time.time()),
        "plan": _plan(job.folder),
        "diverged": records.diverged(),
    }


def _scale(job: Job) -> str:
    scale = getattr(job.config, "scale", None)
    return str(scale()) if callable(scale) else f"preset {job.preset}"


def _plan(folder: Path) -> dict[str, int]:
    try:
        kept = json.loads((folder / "chunks" / "plan.json").read_text())["plan"]
    except (OSError, ValueError, KeyError):
        return {}
    return dict(zip(("lanes", "lanes per chunk", "lanes abreast", "devices"), kept, strict=True))


def _clock(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the lock goes with the process, however it ends."""
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadInput(f"out: another process is running in {folder}; wait for it, or use --force") from error
        except OSError:
            pass  # a file system without locks
        yield
    (folder / ".lock").unlink(missing_ok=True)


def usable(out: Path) -> None:
    """Check early that run folders can be made under ``out``.

    Raises:
        StorageError: they cannot.
    """
    with storing(out, "nothing was started"):
        out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise StorageError(f"run folder {out}: permission denied; choose another --out (nothing was started)")
