"""Losses to minimise, as pure functions of outputs, labels and, across domains, of vectors of risks."""

from mlrisk.objectives.classification import accuracy, classification, cross_entropy
from mlrisk.objectives.density import (
    Fitness,
    Tempered,
    draw,
    fitness,
    log_density,
    maximum_likelihood,
    reverse_kl,
    tempering,
)

__all__ = [
    "Fitness",
    "Tempered",
    "accuracy",
    "classification",
    "cross_entropy",
    "draw",
    "fitness",
    "log_density",
    "maximum_likelihood",
    "reverse_kl",
    "tempering",
]
