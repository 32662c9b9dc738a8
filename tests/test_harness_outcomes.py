"""Last values of lanes over seeds, and their intervals as cells."""

import numpy as np
import pyarrow as pa
import pytest

from mlrisk.errors import BadInput
from mlrisk.harness import Fit, Records, curves, from_fit, last_values, mean_cells, merge, share_cells
from mlrisk.measures import share_interval

ROWS = [
    {"lane": lane, "seed": lane % 2, "model": model, "step": step, "split": split, "metric": metric,
     "value": 10.0 * lane + step}
    for lane, model in enumerate(("a", "a", "b", "b"))
    for step in (1, 2) for split, metric in (("fit", "gap"), ("train", "loss"))
]  # fmt: skip
RECORDS = Records(pa.table({name: [row[name] for row in ROWS] for name in ROWS[0]}), {})


def test_the_last_step_of_one_split_by_setting():
    found = last_values(RECORDS, "fit", ["model"])
    assert list(found) == [("a", "gap"), ("b", "gap")]
    np.testing.assert_array_equal(found["b", "gap"], [22, 32])


def test_wrong_names_get_one_line():
    with pytest.raises(BadInput, match="by: \\['kind'\\] are no columns"):
        last_values(RECORDS, "fit", ["kind"])
    with pytest.raises(BadInput, match="split: 'test' is not among fit, train"):
        last_values(RECORDS, "test", ["model"])


def test_cells_leave_diverged_seeds_out():
    cells = mean_cells(np.asarray([1.0, 3.0, np.nan]))
    assert (cells["value"], cells["seeds"]) == (2.0, 2)
    assert cells["low"] <= 2 <= cells["high"]
    assert np.isnan(mean_cells(np.asarray([np.nan]))["value"])


def test_shares_have_exact_intervals():
    # all of n hit: the lower end solves p^n = 0.025
    found = share_interval(np.ones(20, bool))
    assert found == pytest.approx((1, 0.025 ** (1 / 20), 1))
    assert share_cells(np.zeros(20, bool))["high"] == pytest.approx(1 - 0.025 ** (1 / 20))
    with pytest.raises(BadInput, match="level: 2"):
        share_interval(np.ones(2, bool), 2)


def test_curves_keep_seeds_and_blocks_of_every_setting_whatever_their_steps():
    one, other = np.arange(12.0).reshape(2, 3, 2), np.arange(18.0).reshape(2, 3, 3)
    none = np.full((2, 3), -1)
    parts = {
        name: from_fit(Fit(None, {"val/accuracy": values}, none, none), probe_every=5, settings={"level": [0.2, 0.8]})
        for name, values in (("8", one), ("16", other))
    }
    records = merge(parts, "width")
    found = curves(records, "val/accuracy", ("width", "level"))
    assert list(found) == [("8", 0.2), ("8", 0.8), ("16", 0.2), ("16", 0.8)]
    np.testing.assert_array_equal(found["16", 0.8], other[1])
    np.testing.assert_array_equal(found["8", 0.2], one[0])
    with pytest.raises(BadInput, match="different numbers of blocks"):
        curves(records, "val/accuracy", ("level",))
    with pytest.raises(BadInput, match="name: 'val/loss' is not among lane/diverged_at, lane/stopped_at, val/accuracy"):
        curves(records, "val/loss", ("width",))
    with pytest.raises(BadInput, match=r"by: \['depth'\] are no columns"):
        curves(records, "val/accuracy", ("depth",))
