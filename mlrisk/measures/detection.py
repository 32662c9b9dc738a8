"""How well a score finds the examples it should find: ranking quality with intervals over examples."""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures.intervals import Interval


def auroc(
    scores: Float[np.ndarray, " n"] | Int[np.ndarray, " n"], positives: Bool[np.ndarray, " n"], level: float = 0.95
) -> Interval:
    """The probability that a positive has a higher score than a negative: ``P[s_+ > s_-] + P[s_+ = s_-] / 2``.

    Args:
        scores: one an example (n,), high where a positive is suspected; not NaN.
        positives: which examples are to be found (n,).
        level: coverage, between 0 and 1.

    Returns:
        ``(value, low, high)``, DeLong's interval over examples on the logit scale, which stays in [0, 1]. If no pair
        is ranked wrongly (or none rightly), one end is that of ``min(m, n)`` independent pairs without an error.

    Raises:
        BadInput: shapes that do not fit, NaN scores, only one kind of example, or ``level`` out of range.

    Source:
        DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
        characteristic curves, Biometrics 44 (1988).
    """
    scores, positives = _checked(scores, positives)
    if not 0 < level < 1:
        raise BadInput(f"level: {level} is not between 0 and 1")
    found, others = scores[positives], scores[~positives]
    m, n = len(found), len(others)
    ranks = stats.rankdata(np.concatenate([found, others]))
    above = (ranks[:m] - stats.rankdata(found)) / n
    below = 1 - (ranks[m:] - stats.rankdata(others)) / m
    value = float(above.mean())
    if value in (0.0, 1.0):
        bound = float(((1 - level) / 2) ** (1 / min(m, n)))
        return Interval(value, bound, 1.0) if value else Interval(value, 0.0, 1 - bound)
    error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in (above, below) if len(part) > 1))
    centre, half = np.log(value / (1 - value)), stats.norm.ppf((1 + level) / 2) * error / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-end))) for end in (centre - half, centre + half))
    return Interval(value, low, high)


def precision_at(
    scores: Float[np.ndarray, " n"] | Int[np.ndarray, " n"], positives: Bool[np.ndarray, " n"], count: int | None = None
) -> float:
    """The share of positives among the ``count`` highest scores; of equal scores at the edge, a fair share counts.

    Args:
        scores: see `auroc`.
        positives: see `auroc`.
        count: how many examples are looked at; the number of positives when None.

    Raises:
        BadInput: as `auroc`, or ``count`` is not from 1 to n.
    """
    scores, positives = _checked(scores, positives)
    count = int(positives.sum()) if count is None else count
    if not 1 <= count <= len(scores):
        raise BadInput(f"count: {count} is not from 1 to {len(scores)}, the number of examples")
    edge = np.sort(scores)[-count]
    inside, tied = scores > edge, scores == edge
    open_places = count - inside.sum()
    return float((positives[inside].sum() + positives[tied].mean() * open_places) / count)


def _checked(scores: Shaped[np.ndarray, "..."], positives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, positives = np.asarray(scores), np.asarray(positives)
    if scores.ndim != 1 or scores.shape != positives.shape or positives.dtype != bool:
        raise BadInput(f"positives: {positives.dtype} {positives.shape} do not fit scores {scores.shape}; "
                       "one boolean a score is needed")  # fmt: skip
    if wrong := int(np.count_nonzero(np.isnan(scores))):
        raise BadInput(f"scores: {wrong} of {scores.size} are NaN")
    if positives.all() or not positives.any():
        raise BadInput(f"positives: {int(positives.sum())} of {positives.size}; both kinds of example are needed")
    return scores, positives
