"""Many jobs: here one after another, or handed to submitit, locally or on a Slurm cluster."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlrisk.errors import BadInput

LAUNCHERS = ("here", "local", "slurm")
Line = list[str]
"""The arguments of one ``mlrisk run``."""


def launch(
    main: Callable[[Line], int],
    lines: Sequence[Line],
    launcher: str,
    folder: Path,
    at_a_time: int,
    options: dict[str, Any],
) -> int:
    """Carry out one ``mlrisk run`` per line; return the worst exit code (0 once Slurm has taken them).

    Args:
        main: the command line: takes arguments, returns an exit code.
        lines: arguments of each run.
        launcher: one of `LAUNCHERS`; ``here`` runs them in this process, the others through submitit.
        folder: submitit's folder of logs and pickles.
        at_a_time: how many may run at once.
        options: Slurm's own, such as partition, time and gpus_per_node.

    Raises:
        BadInput: submitit is not installed, or Slurm is not there.
    """
    if launcher == "here":
        return max(main(line) for line in lines)
    executor = _executor(launcher, folder, at_a_time, options)
    if launcher == "slurm":
        jobs = executor.map_array(main, list(lines))
        print(f"submitted {len(jobs)} jobs: {', '.join(job.job_id for job in jobs)}; logs in {folder}")
        return 0
    return max(_locally(executor, main, lines, at_a_time))


def scheduler_options(words: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words as options of the scheduler; whole numbers become numbers.

    Raises:
        BadInput: a word without ``=``.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise BadInput(f"slurm: {word!r} is not KEY=VALUE")
        found[key] = int(value) if value.isdigit() else value
    return found


def _executor(launcher: str, folder: Path, at_a_time: int, options: dict[str, Any]) -> Any:
    if importlib.util.find_spec("submitit") is None:
        raise BadInput(f'launcher: {launcher!r} needs submitit; pip install "mlrisk[slurm]"')
    import submitit

    try:
        executor = submitit.AutoExecutor(folder=str(folder), cluster=launcher)
    except RuntimeError as error:
        raise BadInput(f"launcher: {launcher!r} cannot be used here ({error})") from error
    if launcher == "slurm":
        executor.update_parameters(
            slurm_array_parallelism=at_a_time, **{f"slurm_{key}": value for key, value in options.items()}
        )
    else:
        executor.update_parameters(timeout_min=60 * 24 * 365)
    return executor


def _locally(executor: Any, main: Callable[[Line], int], lines: Sequence[Line], at_a_time: int) -> list[int]:
    waiting, running, codes = list(lines), [], []
    while waiting or running:
        while waiting and len(running) < at_a_time:
            running.append(executor.submit(main, waiting.pop(0)))
        for job in [job for job in running if job.done()]:
            running.remove(job)
            codes.append(_result(job))
        time.sleep(0.2)
    return codes


def _result(job: Any) -> int:
    try:
        code = job.result()
    except Exception as error:  # whatever killed the job: the others go on
        print(f"job {job.job_id} failed ({type(error).__name__}); its log is {job.paths.stderr}")
        return 1
    if code:
        print(f"job {job.job_id} ended with exit code {code}; its log is {job.paths.stderr}")
    return code
