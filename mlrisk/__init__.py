"""mlrisk: pure-function models, objectives, bijectors and posteriors, and one harness to study their risk."""

__version__ = "0.1.0"
