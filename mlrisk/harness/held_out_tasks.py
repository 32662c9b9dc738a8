"""Tasks that differ in which domains are trained on: all of them, the block that a rule names, and comparisons."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mlrisk.errors import BadInput, one_of
from mlrisk.harness.outcomes import Curves, seed_cells
from mlrisk.measures.intervals import Interval
from mlrisk.measures.means import clustered_mean

RULES: Mapping[str, str] = {
    "other": "best block of the other held-out domain",
    "validation": "best block on held-out examples of the training domains",
    "last": "last block",
}
"""What each rule looks at; the first sees a test domain, though not the one that is reported."""


class Task(NamedTuple):
    """Domains to train on, the one to test on, and the other one held out; ``group`` counts the choices to train on."""

    group: int
    training: tuple[int, ...]
    test: int
    other: int


def held_out_tasks(num_domains: int) -> list[Task]:
    """Each choice of all but two domains to train on, twice: either of the two is the test.

    Raises:
        BadInput: fewer than 4 domains, which would leave one to train on.
    """
    if num_domains < 4:
        raise BadInput(f"num_domains: {num_domains} is below 4, and two are held out")
    tasks = []
    for group, training in enumerate(itertools.combinations(range(num_domains), num_domains - 2)):
        first, second = (i for i in range(num_domains) if i not in training)
        tasks += [Task(group, training, first, second), Task(group, training, second, first)]
    return tasks


def chosen_block(
    rule: str, validation: Float[np.ndarray, "seeds blocks"], other: Float[np.ndarray, "seeds blocks"]
) -> int:
    """The one block that a rule names for all restarts: the first best of its mean curve, or the last.

    Args:
        rule: see `RULES`.
        validation: accuracy on held-out examples of the training domains.
        other: accuracy on the held-out domain that is not the test.

    Raises:
        BadInput: no such rule, or curves of different lengths.
    """
    if rule not in RULES:
        raise BadInput(one_of("rule", rule, RULES))
    if validation.shape != other.shape:
        raise BadInput(f"other: shape {other.shape} is not {validation.shape}, that of validation")
    if rule == "last":
        return validation.shape[1] - 1
    return int(np.argmax((other if rule == "other" else validation).mean(0)))


def joined(names: Sequence[str], training: Sequence[int]) -> str:
    """How a choice of domains is written in records and tables: ``2014, 2015, 2018``."""
    return ", ".join(names[i] for i in training)


def task_rows(
    found: Mapping[str, Curves], names: Sequence[str], method: str, rule: str, every: int
) -> Iterator[dict[str, Any]]:
    """One row a task: the accuracy on its test domain at the block that a rule names.

    Args:
        found: ``"validation"`` and each domain's name -> curves by (method, `joined` training domains).
        names: of the domains.
        method: which curves.
        rule: see `RULES`.
        every: steps of a block.
    """
    for task in held_out_tasks(len(names)):
        key = (method, joined(names, task.training))
        block = chosen_block(rule, found["validation"][key], found[names[task.other]][key])
        cells = seed_cells(found[names[task.test]][key][:, block])
        yield {"rule": rule, "method": method, "training": key[1], "test": names[task.test],
               "step": every * (1 + block), **cells}  # fmt: skip


def mean_curves(found: Mapping[str, Curves], names: Sequence[str], method: str, every: int) -> Iterator[dict[str, Any]]:
    """One row a block: the means over tasks and restarts on held-out examples and on test domains; see `task_rows`."""
    tasks = [(method, joined(names, t.training), names[t.test]) for t in held_out_tasks(len(names))]
    held = np.mean([found["validation"][name, training] for name, training, _ in tasks], axis=(0, 1))
    test = np.mean([found[domain][name, training] for name, training, domain in tasks], axis=(0, 1))
    for block, (one, other) in enumerate(zip(held, test, strict=True)):
        yield {"method": method, "step": every * (1 + block), "validation": float(one), "test": float(other)}


def task_statistics(
    values: Float[np.ndarray, " tasks"], groups: list[int], against: Mapping[str, Float[np.ndarray, " tasks"]]
) -> dict[str, Interval]:
    """The mean over tasks, the mean differences to others task by task, and the deviation, least and most of tasks.

    Args:
        values: one a task.
        groups: tasks of one group share their network and count as one cluster.
        against: name -> what is subtracted.

    Returns:
        ``mean``, ``less <name>`` with 95 % intervals over groups, and ``deviation``, ``least``, ``most`` without.
        Groups share domains too, which the intervals do not know: they are too narrow.

    Raises:
        BadInput: numbers that are not finite, or not one a task.
    """
    clusters = np.asarray(groups)
    means: dict[str, Any] = {"mean": values} | {f"less {name}": values - other for name, other in against.items()}
    found = {name: clustered_mean(column, clusters) for name, column in means.items()}
    plain = {"deviation": values.std(), "least": values.min(), "most": values.max()}
    return found | {name: Interval(float(value), np.nan, np.nan) for name, value in plain.items()}
