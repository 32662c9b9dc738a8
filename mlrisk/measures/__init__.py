"""Measures of what networks learn, for any predictions or any ``apply(params, x)``."""

from mlrisk.measures.adversaries import Adversaries, fgsm, lass, lass_search, pgd
from mlrisk.measures.anchor_regression import anchor_regression, domain_indicators
from mlrisk.measures.ascent import Search
from mlrisk.measures.contrasts import geometric_mean_time, interval_difference, log_time_ratio
from mlrisk.measures.convergence import Convergence, time_to_convergence
from mlrisk.measures.critical_samples import critical_sample_ratio
from mlrisk.measures.curvature import input_curvature
from mlrisk.measures.detection import auroc, precision_at
from mlrisk.measures.difficulty import (
    binomial_null,
    dispersion_index,
    example_difficulty,
    split_half_reliability,
    within_class_dispersion,
)
from mlrisk.measures.early_stopping import EarlyStopping, early_stopping, value_at
from mlrisk.measures.elasticity import elasticity
from mlrisk.measures.filters import low_frequency_share, roughness
from mlrisk.measures.forgetting import Forgetting, cumulative_loss, forgetting_events, forgetting_score
from mlrisk.measures.gini import gini
from mlrisk.measures.intervals import Interval, bootstrap_interval, share_interval
from mlrisk.measures.invariant_prediction import InvariantPrediction, invariant_causal_prediction
from mlrisk.measures.means import clustered_mean, student_mean
from mlrisk.measures.memorization import Memorization, memorization_score
from mlrisk.measures.overdispersion import RESAMPLED, overdispersion
from mlrisk.measures.scores import gain_rows, score_rows
from mlrisk.measures.sensitivity import (
    ClassLossSensitivity,
    LossSensitivity,
    class_loss_sensitivity,
    loss_sensitivity,
    sensitivity_norms,
)
from mlrisk.measures.trajectory import SGD
from mlrisk.measures.unrolled import InputGradients, input_gradients

__all__ = [
    "RESAMPLED",
    "SGD",
    "Adversaries",
    "ClassLossSensitivity",
    "Convergence",
    "EarlyStopping",
    "Forgetting",
    "InputGradients",
    "Interval",
    "InvariantPrediction",
    "LossSensitivity",
    "Memorization",
    "Search",
    "anchor_regression",
    "auroc",
    "binomial_null",
    "bootstrap_interval",
    "class_loss_sensitivity",
    "clustered_mean",
    "critical_sample_ratio",
    "cumulative_loss",
    "dispersion_index",
    "domain_indicators",
    "early_stopping",
    "elasticity",
    "example_difficulty",
    "fgsm",
    "forgetting_events",
    "forgetting_score",
    "gain_rows",
    "geometric_mean_time",
    "gini",
    "input_curvature",
    "input_gradients",
    "interval_difference",
    "invariant_causal_prediction",
    "lass",
    "lass_search",
    "log_time_ratio",
    "loss_sensitivity",
    "low_frequency_share",
    "memorization_score",
    "overdispersion",
    "pgd",
    "precision_at",
    "roughness",
    "score_rows",
    "sensitivity_norms",
    "share_interval",
    "split_half_reliability",
    "student_mean",
    "time_to_convergence",
    "value_at",
    "within_class_dispersion",
]
