"""Models judged on the same examples over several seeds: their scores, and how far one is above another."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mlrisk.measures.means import clustered_mean, student_mean

Scores = Mapping[str, Float[np.ndarray, "seeds rows"]]
"""For each model the score of each test row under each seed."""


def score_rows(scores: Scores, groups: Int[np.ndarray, " rows"] | None = None) -> list[dict[str, Any]]:
    """One row a model: its mean score with an interval over test rows and one over seeds.

    Args:
        scores: by model; the mean is over both axes.
        groups: the cluster that each test row was cut from, see `clustered_mean`.

    Returns:
        Dicts with ``model``, ``value``, ``low``, ``high`` (over rows, of the mean over seeds), ``seeds low``,
        ``seeds high`` (Student's, over seeds), ``seeds`` and ``rows``.
    """
    return [{"model": model, **_summary(values, groups)} for model, values in scores.items()]


def gain_rows(scores: Scores, groups: Int[np.ndarray, " rows"] | None = None) -> list[dict[str, Any]]:
    """One row a pair of models, later above earlier: the difference on the same rows and seeds.

    Args:
        scores: by model; all with the same rows, and seeds that belong together.
        groups: as for `score_rows`.

    Returns:
        Dicts as of `score_rows`, with the other model as ``above``.
    """
    names = list(scores)
    pairs = [(one, other) for i, other in enumerate(names) for one in names[i + 1 :]]
    return [
        {"model": one, "above": other, **_summary(scores[one] - scores[other], groups)}
        for one, other in pairs
    ]  # fmt: skip


def _summary(values: Float[np.ndarray, "seeds rows"], groups: Int[np.ndarray, " rows"] | None) -> dict[str, Any]:
    value, low, high = clustered_mean(values.mean(axis=0), groups)
    _, seeds_low, seeds_high = student_mean(values.mean(axis=1))
    over = {"value": value, "low": low, "high": high, "seeds low": seeds_low, "seeds high": seeds_high}
    return over | {"seeds": values.shape[0], "rows": values.shape[1]}
