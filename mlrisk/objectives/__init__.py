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
from mlrisk.objectives.disturbances import both, dropout, gaussian_noise
from mlrisk.objectives.elbo import (
    ElboTerms,
    WeightedBounds,
    bernoulli_log_likelihood,
    elbo_terms,
    importance_weighted_bounds,
    importance_weighted_log_likelihood,
    kl_annealing,
    negative_elbo,
    penalised_kl,
    standard_normal_log_density,
)
from mlrisk.objectives.regularisers import Adversarial, Regularisers, regularised, weight_penalty

__all__ = [
    "Adversarial",
    "ElboTerms",
    "Fitness",
    "Regularisers",
    "Tempered",
    "WeightedBounds",
    "accuracy",
    "bernoulli_log_likelihood",
    "both",
    "classification",
    "cross_entropy",
    "draw",
    "dropout",
    "elbo_terms",
    "fitness",
    "gaussian_noise",
    "importance_weighted_bounds",
    "importance_weighted_log_likelihood",
    "kl_annealing",
    "log_density",
    "maximum_likelihood",
    "negative_elbo",
    "penalised_kl",
    "regularised",
    "reverse_kl",
    "standard_normal_log_density",
    "tempering",
    "weight_penalty",
]
