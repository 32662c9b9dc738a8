"""Closed-form and constructed models that experiments compare with."""

from mlrisk.theory.universality import MONOTONE, Construction, Monotone, construct

__all__ = ["MONOTONE", "Construction", "Monotone", "construct"]
