"""How much a network's answer on a training example is owed to that example alone."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from mlrisk.errors import BadInput


class Memorization(NamedTuple):
    """Per example (n,): the score, its standard error, its interval, and the two accuracies it is the difference of.

    NaN where every model, or none, was trained with the example.
    """

    score: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    trained_with: Float[np.ndarray, " n"]
    trained_without: Float[np.ndarray, " n"]


def memorization_score(
    correct: Bool[np.ndarray, "models n"], member: Bool[np.ndarray, "models n"], level: float = 0.95
) -> Memorization:
    """How much more often models are right on an example if it was in their training set.

    ``mem_i = P[f(x_i) = y_i | i in the set] - P[f(x_i) = y_i | i not in the set]``, over random sets and seeds.

    Args:
        correct: whether each model classifies each example as its label says (models, n).
        member: whether the example was in the model's training set (models, n).
        level: coverage of the interval, between 0 and 1.

    Returns:
        `Memorization`. The standard error is that of a difference of two shares; it is 0 where both shares are 0
        or 1, which the interval, Newcombe's from two Wilson scores, is not.

    Raises:
        BadInput: shapes that do not fit, entries that are not booleans, no models, or ``level`` out of range.

    Source:
        Feldman and Zhang, What neural networks memorize and why, NeurIPS 2020, equation (1) and section 2, with
        random subsets of a share of the data in place of leaving out one example. Newcombe, Interval estimation for
        the difference between independent proportions, Statistics in Medicine 17 (1998), method 10.
    """
    correct, member = np.asarray(correct), np.asarray(member)
    if correct.ndim != 2 or correct.shape != member.shape or not correct.size:
        raise BadInput(f"member: shape {member.shape} with correct {correct.shape} are not both (models, n)")
    if correct.dtype != bool or member.dtype != bool:
        raise BadInput(f"correct: dtypes {correct.dtype} and {member.dtype} of it and member are not both bool")
    if not 0 < level < 1:
        raise BadInput(f"level: {level} is not between 0 and 1")
    counts = [member.sum(axis=0).astype(float), (~member).sum(axis=0).astype(float)]
    hits = [(correct & member).sum(axis=0), (correct & ~member).sum(axis=0)]
    z = float(stats.norm.ppf((1 + level) / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q = (h / m for h, m in zip(hits, counts, strict=True))
        (p_low, p_high), (q_low, q_high) = (_wilson(share, m, z) for share, m in zip((p, q), counts, strict=True))
        error = np.sqrt(p * (1 - p) / counts[0] + q * (1 - q) / counts[1])
    low = p - q - np.sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = p - q + np.sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return Memorization(p - q, error, low, high, p, q)


def _wilson(share: np.ndarray, count: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return centre - half, centre + half
