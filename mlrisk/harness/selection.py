"""Which run and which checkpoint count: rules of model selection across domains, and what each looks at."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mlrisk.errors import BadInput, one_of


class Selected(NamedTuple):
    """Indices of a run (a draw of hyper-parameters) and of one of its checkpoints, and the value that chose them."""

    run: int
    checkpoint: int
    value: float


def training_domain_validation(validation: Float[np.ndarray, "runs checkpoints domains"]) -> Selected:
    """The run and checkpoint with the best mean accuracy on held-out examples of the training domains.

    Args:
        validation: accuracy on the held-out part of each training domain.

    Returns:
        The first best, among equals. Runs that are not finite are never chosen.

    Raises:
        BadInput: the shape is another, or nothing is finite.

    Source: Gulrajani and Lopez-Paz (2021), In search of lost domain generalization, section 3.
    """
    return _best(_require(validation, 3).mean(-1))


def leave_one_domain_out(held_out: Float[np.ndarray, "runs checkpoints domains"]) -> Selected:
    """The run and checkpoint whose hyper-parameters do best on training domains that were left out one by one.

    Args:
        held_out: entry d is the accuracy on training domain d of the network that was trained, with the same
            hyper-parameters, without it (and without the test domain).

    Returns:
        As for `training_domain_validation`; what is reported is the network trained on all training domains.

    Raises:
        BadInput: the shape is another, or nothing is finite.

    Source: Gulrajani and Lopez-Paz (2021), section 3.
    """
    return _best(_require(held_out, 3).mean(-1))


def oracle(test_validation: Float[np.ndarray, "runs checkpoints"]) -> Selected:
    """The run that is best in the test domain at its last checkpoint: an upper bound, no fair comparison.

    Args:
        test_validation: accuracy on the held-out part of the test domain. Checkpoints before the last are not looked
            at: one look a run bounds how much is learnt from the test domain.

    Raises:
        BadInput: the shape is another, or nothing is finite.

    Source: Gulrajani and Lopez-Paz (2021), section 3 (test-domain validation).
    """
    last = _require(test_validation, 2).copy()
    last[:, :-1] = -np.inf
    return _best(last)


def best_checkpoints(values: Float[np.ndarray, "seeds checkpoints"]) -> np.ndarray:
    """Each seed's own first best checkpoint by one curve a seed; the last where nothing is finite.

    Raises:
        BadInput: the shape is another.
    """
    values = _require(values, 2, finite=False)
    safe = np.where(np.isfinite(values), values, -np.inf)
    return np.where(np.isfinite(safe).any(1), safe.argmax(1), values.shape[1] - 1)


RULES = ("last step", "training domains", "test domain")
"""For one curve a seed: the last judgement; the best in the training domains; to compare only, in the test domain."""


def by_rule(
    found: Mapping[str, Float[np.ndarray, "seeds checkpoints"]], rule: str
) -> dict[str, Float[np.ndarray, " seeds"]]:
    """The values of each seed at its own checkpoint, chosen by a rule.

    Args:
        found: curves by name, among them ``validation`` (in the training domains) and ``test``.
        rule: one of `RULES`.

    Returns:
        The same names, one value a seed.

    Raises:
        BadInput: the rule is unknown.
    """
    if rule not in RULES:
        raise BadInput(one_of("rule", rule, RULES))
    by = {"training domains": "validation", "test domain": "test"}.get(rule)
    place = best_checkpoints(found[by]) if by else np.full(len(found["test"]), -1)
    return {name: values[np.arange(len(values)), place] for name, values in found.items()}


def _best(scores: Float[np.ndarray, "runs checkpoints"]) -> Selected:
    safe = np.where(np.isfinite(scores), scores, -np.inf)
    run, checkpoint = np.unravel_index(int(safe.argmax()), safe.shape)
    return Selected(int(run), int(checkpoint), float(scores[run, checkpoint]))


def _require(values: np.ndarray, rank: int, *, finite: bool = True) -> Float[np.ndarray, "..."]:
    values = np.asarray(values, np.float64)
    if values.ndim != rank or not values.size:
        raise BadInput(f"values: shape {values.shape} is not of {rank} axes with at least one entry each")
    if finite and not np.isfinite(values).any():
        raise BadInput("values: none is finite, so nothing can be chosen")
    return values
