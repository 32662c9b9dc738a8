"""Whether examples differ in difficulty more than chance: every statistic of it, each with its interval."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from mlrisk import prng
from mlrisk.measures.difficulty import (
    binomial_null,
    dispersion_index,
    example_difficulty,
    split_half_reliability,
    within_class_dispersion,
)
from mlrisk.measures.intervals import Interval, bootstrap_interval
from mlrisk.types import RandomKey

RARE = 0.05
"""An example is always right if fewer than this share of the seeds misclassify it, always wrong if all but this do."""
RESAMPLED = {
    "accuracy": "seeds",
    "dispersion": "examples",
    "within_class_dispersion": "examples",
    "p_chance": "",
    "always_right": "examples",
    "always_wrong": "examples",
    "reliability": "splits of the seeds",
}
"""What the interval of each statistic of `overdispersion` varies."""


def overdispersion(
    correct: Bool[np.ndarray, "seeds n"], labels: Int[np.ndarray, " n"], num_classes: int, key: RandomKey
) -> dict[str, Interval]:
    """How far the difficulty of examples is from what chance alone would show, in seven statistics.

    Args:
        correct: (seeds, n), whether each seed's network classifies each example as its label says.
        labels: the labels that this refers to (n,).
        num_classes: number of classes.
        key: typed key for the draws from the null and the splits of the seeds.

    Returns:
        ``accuracy`` over seeds; ``dispersion`` and ``within_class_dispersion``, variance over binomial variance;
        ``p_chance``, the parametric-bootstrap p-value of a within-class dispersion this large if examples of a
        class were equally difficult; ``always_right`` and ``always_wrong``, shares of examples that nearly every
        seed gets right or wrong; ``reliability``, the correlation between disjoint halves of the seeds. Intervals
        are 95 %, over what `RESAMPLED` says.

    Source: Arpit et al. 2017, section 3.1 and Figure 1, for the question and the binomial reference.
    Differs: the paper shows curves only; the statistics and their intervals are ours.
    """
    null_key, split_key = prng.streams(key, "null", "splits")
    seeds, difficulty = len(correct), np.asarray(example_difficulty(jnp.asarray(correct)))
    rows, classes = np.arange(len(difficulty)), np.asarray(labels)
    overall = jax.jit(lambda d: dispersion_index(d, seeds))
    within = jax.jit(lambda d, labels: within_class_dispersion(d, labels, seeds, num_classes))
    spread = bootstrap_interval(rows, lambda r: within(difficulty[r], classes[r]), seed=0)
    splits = np.asarray(split_half_reliability(split_key, jnp.asarray(correct)))
    return {
        "accuracy": bootstrap_interval(correct.mean(axis=1), seed=0),
        "dispersion": bootstrap_interval(rows, lambda r: overall(difficulty[r]), seed=0),
        "within_class_dispersion": spread,
        "p_chance": Interval(_p_value(null_key, difficulty, labels, seeds, spread.value), np.nan, np.nan),
        "always_right": bootstrap_interval((difficulty < RARE).astype(float), seed=0),
        "always_wrong": bootstrap_interval((difficulty > 1 - RARE).astype(float), seed=0),
        "reliability": Interval(float(splits.mean()), *(float(q) for q in np.quantile(splits, [0.025, 0.975]))),
    }


def _p_value(
    key: RandomKey,
    difficulty: Float[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    seeds: int,
    found: float,
) -> float:
    """How often examples as difficult as their class's mean show a within-class dispersion of ``found`` or more."""
    classes, member = np.unique(labels, return_inverse=True)
    rates = np.bincount(member, difficulty) / np.bincount(member)
    draws = binomial_null(key, jnp.asarray(rates[member], jnp.float32), seeds)
    index, count = jnp.asarray(member), len(classes)
    by_chance = jax.lax.map(lambda draw: within_class_dispersion(draw, index, seeds, count), draws)
    return float((1 + np.sum(np.asarray(by_chance) >= found)) / (1 + len(draws)))
