"""The scores of an audit: for each training example, nine ways to ask whether it is learned by heart."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures.forgetting import cumulative_loss, forgetting_events, forgetting_score
from mlrisk.measures.memorization import memorization_score

SCORES: Mapping[str, str] = {
    "memorization": "how much more often models are right on it if trained with it",
    "held_out_difficulty": "share of the models trained without it that misclassify it",
    "difficulty": "share of the seeds that misclassify it after one epoch",
    "cumulative_loss": "its loss summed over epochs, in nats",
    "first_learned": "the epoch in which it is first right; the number of epochs + 1 if never",
    "forgetting": "how often it goes from right to wrong; the number of epochs if it is never right",
    "curvature": "curvature of its loss in its input, averaged over epochs",
    "critical": "share of the seeds and radii at which its class changes nearby, at the end",
    "sensitivity": "how strongly the training loss depends on its input, through training",
}
"""Each score and what it is, in words; a mean over seeds, and high for an example that is hard or odd."""

LABEL_SCORES = tuple(name for name in SCORES if name not in ("critical", "sensitivity"))
"""The scores that ask whether the given label fits; `suspicion` is made of these."""


class Looks(NamedTuple):
    """What seeds say about each example at successive looks (seeds, looks, n)."""

    predicted: Int[np.ndarray, "seeds looks n"]
    loss: Float[np.ndarray, "seeds looks n"]
    curvature: Float[np.ndarray, "seeds looks n"]


def audit_scores(
    labels: Int[np.ndarray, " n"],
    looks: Looks,
    member: Bool[np.ndarray, "models n"],
    predicted: Int[np.ndarray, "models n"],
    critical: Bool[np.ndarray, "seeds radii n"],
    sensitivity: Float[np.ndarray, "some n"] | None = None,
) -> dict[str, Float[np.ndarray, " n"]]:
    """The `SCORES` of every example. Seeds that diverged are left out.

    Args:
        labels: as given (n,).
        looks: of seeds trained on all examples.
        member: which examples each subset model was trained with.
        predicted: the class that each subset model gives to each example.
        critical: where each seed's last network changes its class near the example.
        sensitivity: of some seeds; None where it is not defined.

    Returns:
        Score name -> values (n,), all finite, in the order of `SCORES`; ``sensitivity`` is left out where every
        seed overflowed. Examples that all or none of the subset models were trained with get the mean score.

    Raises:
        BadInput: every seed diverged.
    """
    kept = np.isfinite(looks.loss).all(axis=(1, 2)) & np.isfinite(looks.curvature).all(axis=(1, 2))
    if not kept.any():
        raise BadInput("optimizer.learning_rate: every seed diverged; a smaller one is needed")
    right = looks.predicted[kept] == labels
    held_out = memorization_score(predicted == labels, member)
    values = {
        "memorization": _filled(held_out.score),
        "held_out_difficulty": _filled(1 - held_out.trained_without),
        "difficulty": 1 - right[:, 0].mean(axis=0),
        "cumulative_loss": jax.jit(cumulative_loss)(looks.loss[kept]).mean(axis=0),
        "first_learned": jax.jit(forgetting_events)(right).first_learned.astype(jnp.float32).mean(axis=0),
        "forgetting": jax.jit(forgetting_score)(right).mean(axis=0),
        "curvature": looks.curvature[kept].mean(axis=(0, 1)),
        "critical": critical[kept].mean(axis=(0, 1)),
    }
    finite = [] if sensitivity is None else [row for row in sensitivity if np.isfinite(row).all()]
    if finite:
        values["sensitivity"] = np.mean(finite, axis=0)
    return {name: np.asarray(value, np.float64) for name, value in values.items()}


def suspicion(scores: Mapping[str, Float[np.ndarray, " n"]]) -> Float[np.ndarray, " n"]:
    """The mean rank of each example in the `LABEL_SCORES`, from 0 (least) to 1 (most suspect).

    Args:
        scores: from `audit_scores`.
    """
    ranks = [stats.rankdata(scores[name]) for name in LABEL_SCORES if name in scores]
    return (np.mean(ranks, axis=0) - 1) / max(len(ranks[0]) - 1, 1)


def most_frequent(
    predicted: Int[np.ndarray, "models n"], counted: Bool[np.ndarray, "models n"], num_classes: int
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The class that most of the counted models give to each example, and the share of them that do.

    Args:
        predicted: by each model (models, n).
        counted: whose vote counts; an example without any gets all votes.
        num_classes: number of classes.
    """
    voting = counted | ~counted.any(axis=0)
    votes = np.stack([((predicted == k) & voting).sum(axis=0) for k in range(num_classes)])
    return votes.argmax(axis=0), votes.max(axis=0) / voting.sum(axis=0)


def _filled(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    known = np.isfinite(values)
    return np.where(known, values, values[known].mean() if known.any() else 0.0)
