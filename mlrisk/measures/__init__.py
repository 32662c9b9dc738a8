"""Measures of what networks learn, for any predictions or any ``apply(params, x)``."""

from mlrisk.measures.difficulty import (
    binomial_null,
    dispersion_index,
    example_difficulty,
    split_half_reliability,
    within_class_dispersion,
)

__all__ = [
    "binomial_null",
    "dispersion_index",
    "example_difficulty",
    "split_half_reliability",
    "within_class_dispersion",
]
