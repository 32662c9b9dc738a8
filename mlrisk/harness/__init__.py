"""The harness: ``train(key, hyper)`` as a pure function, and sweeps of it that survive anything."""

from mlrisk.harness.judgements import block_length, judged_steps
from mlrisk.harness.lanes import Plan
from mlrisk.harness.loop import Fit, Train, TrainState, make_train
from mlrisk.harness.outcomes import curve_rows, curves, last_values, mean_cells, seed_cells, share_cells, spread_cells
from mlrisk.harness.records import Records, from_fit, merge
from mlrisk.harness.sweep import Prepared, prepare, sweep
from mlrisk.harness.tracking import Best, BestRule

__all__ = [
    "Best",
    "BestRule",
    "Fit",
    "Plan",
    "Prepared",
    "Records",
    "Train",
    "TrainState",
    "block_length",
    "curve_rows",
    "curves",
    "from_fit",
    "judged_steps",
    "last_values",
    "make_train",
    "mean_cells",
    "merge",
    "prepare",
    "seed_cells",
    "share_cells",
    "spread_cells",
    "sweep",
]
