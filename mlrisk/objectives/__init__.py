"""Losses to minimise, as pure functions of outputs, labels and, across domains, of vectors of risks."""

from mlrisk.objectives.classification import accuracy, classification, cross_entropy

__all__ = ["accuracy", "classification", "cross_entropy"]
