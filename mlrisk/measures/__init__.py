"""Measures of what networks learn, for any predictions or any ``apply(params, x)``."""

from mlrisk.measures.convergence import Convergence, time_to_convergence
from mlrisk.measures.difficulty import (
    binomial_null,
    dispersion_index,
    example_difficulty,
    split_half_reliability,
    within_class_dispersion,
)
from mlrisk.measures.elasticity import elasticity
from mlrisk.measures.intervals import Interval, bootstrap_interval, share_interval
from mlrisk.measures.means import clustered_mean, student_mean
from mlrisk.measures.overdispersion import RESAMPLED, overdispersion
from mlrisk.measures.scores import gain_rows, score_rows

__all__ = [
    "RESAMPLED",
    "Convergence",
    "Interval",
    "binomial_null",
    "bootstrap_interval",
    "clustered_mean",
    "dispersion_index",
    "elasticity",
    "example_difficulty",
    "gain_rows",
    "overdispersion",
    "score_rows",
    "share_interval",
    "split_half_reliability",
    "student_mean",
    "time_to_convergence",
    "within_class_dispersion",
]
