"""Runs of the DomainBed protocol: accuracies by held-out domains, and what each selection rule reports of them."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from mlrisk.errors import BadInput, one_of
from mlrisk.harness.outcomes import curves, seed_cells
from mlrisk.harness.records import Records
from mlrisk.harness.selection import Selected, leave_one_domain_out, oracle, training_domain_validation

RULES = ("training domains", "leave one out", "oracle")
"""What chooses a run and checkpoint: see `mlrisk.harness.selection`."""
BETWEEN = "|"
"""Between the names of domains that were held out together."""


class Accuracies:
    """What the records of a benchmark say, by algorithm, held-out domains and domain.

    Args:
        records: with the columns ``algorithm``, ``held_out`` (names joined by `BETWEEN`) and ``draw``, the metrics
            ``inside/<domain>`` and ``outside/<domain>``, and the domains' ``names`` as an array.
    """

    def __init__(self, records: Records) -> None:
        self.names = [str(name) for name in records.arrays["names"]]
        by = ("algorithm", "held_out", "draw")
        parts = ("inside", "outside")
        self._found = {(p, n): curves(records, f"{p}/{n}", by) for p in parts for n in self.names}
        keys = list(self._found["inside", self.names[0]])
        self.algorithms = list(dict.fromkeys(key[0] for key in keys))
        self.held = list(dict.fromkeys(key[1] for key in keys))
        self.tested = [name for name in self.held if name in self.names]
        self.draws = sorted({key[2] for key in keys})
        self.trials = len(next(iter(self._found["inside", self.names[0]].values())))

    def of(self, part: str, domain: str, algorithm: str, *held: str) -> Float[np.ndarray, "draws trials checkpoints"]:
        """Accuracy on a part of a domain of the networks trained without ``held``."""
        out = BETWEEN.join(sorted(held, key=self.names.index))
        return np.stack([self._found[part, domain][algorithm, out, draw] for draw in self.draws])

    def selected(self, rule: str, algorithm: str, test: str, trial: int) -> Selected:
        """What a rule chooses in one trial.

        Raises:
            BadInput: there is no such rule.
        """
        if rule not in RULES:
            raise BadInput(one_of("rule", rule, RULES))
        rest = [name for name in self.names if name != test]
        if rule == "oracle":
            return oracle(self.of("outside", test, algorithm, test)[:, trial])
        if rule == "training domains":
            looked = [self.of("outside", name, algorithm, test)[:, trial] for name in rest]
            return training_domain_validation(np.stack(looked, -1))
        looked = [self.of("inside", name, algorithm, test, name)[:, trial] for name in rest]
        return leave_one_domain_out(np.stack(looked, -1))

    def reported(self, rule: str, algorithm: str, test: str) -> Float[np.ndarray, " trials"]:
        """Accuracy on the training part of the test domain, as DomainBed reports it, of each trial's chosen run."""
        chosen = [self.selected(rule, algorithm, test, trial) for trial in range(self.trials)]
        judged = self.of("inside", test, algorithm, test)
        return np.asarray([judged[c.run, trial, c.checkpoint] for trial, c in enumerate(chosen)])


def accuracy_rows(found: Accuracies) -> Iterator[dict[str, Any]]:
    """One row an algorithm, rule and test domain, and one for their average.

    Leave-one-domain-out is left out where no pairs of domains were held out.

    Returns:
        Dicts with ``algorithm``, ``rule``, ``test domain``, the cells of the mean over trials, its standard error, and
        the gain over the first algorithm, paired by trial.
    """
    rules = [rule for rule in RULES if rule != RULES[1] or len(found.held) > len(found.tested)]
    first: dict[tuple[str, str], np.ndarray] = {}
    for algorithm, rule in itertools.product(found.algorithms, rules):
        each = {test: found.reported(rule, algorithm, test) for test in found.tested}
        each["average"] = np.mean(list(each.values()), axis=0)
        for test, shares in each.items():
            gain = seed_cells(shares - first.setdefault((rule, test), shares))
            yield {
                **{"algorithm": algorithm, "rule": rule, "test domain": test},
                **seed_cells(shares),
                "standard error": shares.std(ddof=1) / np.sqrt(len(shares)),
                **{"gain": gain["value"], "gain low": gain["low"], "gain high": gain["high"]},
            }


def run_rows(found: Accuracies) -> Iterator[dict[str, Any]]:
    """One row an algorithm, test domain and draw, at the last checkpoint: means over trials, with nothing selected.

    Returns:
        Dicts with ``validation``, the held-out accuracy in the training domains, and ``test``, that in the test domain.
    """
    for algorithm, test in itertools.product(found.algorithms, found.tested):
        rest = [name for name in found.names if name != test]
        validation = np.mean([found.of("outside", name, algorithm, test)[:, :, -1] for name in rest], (0, 2))
        tested = found.of("inside", test, algorithm, test)[:, :, -1].mean(1)
        for draw, *shares in zip(found.draws, validation, tested, strict=True):
            names = ("algorithm", "test domain", "draw", "validation", "test", "trials")
            yield dict(zip(names, (algorithm, test, draw, *shares, found.trials), strict=True))
