"""Arrivals by setting and their elasticities: recovered from curves made with a known law."""

import numpy as np
import pyarrow as pa
import pytest

from mlrisk.errors import BadInput
from mlrisk.harness.arrivals import arrivals, elasticity_rows
from mlrisk.harness.records import Records

SIZES, SEEDS = (100.0, 200.0, 400.0), 6


def times(exponent):
    """``size -> (times, censored)`` of ``T = size^exponent`` with noise that cancels at each size."""
    noise = np.exp(0.05 * (-1.0) ** np.arange(SEEDS))
    return {n: (n**exponent * noise, np.zeros(SEEDS, bool)) for n in SIZES}


def test_arrivals_are_the_first_blocks_at_the_threshold_by_setting():
    curves = {"a": [[0.5, 0.9, 1.0], [0.2, 1.0, 0.8]], "b": [[0.1, 0.2, 0.3], [1.0, 1.0, 1.0]]}
    rows = [
        {"lane": 2 * (cell == "b") + seed, "seed": seed, "cell": cell, "step": step, "split": "own",
         "metric": "accuracy", "value": value}
        for cell, lanes in curves.items() for seed, lane in enumerate(lanes) for step, value in enumerate(lane)
    ]  # fmt: skip
    records = Records(pa.Table.from_pylist(rows), {})
    epochs = {"a": np.asarray([1.0, 2.0, 3.0]), "b": np.asarray([10.0, 20.0, 30.0])}
    found = arrivals(records, "own/accuracy", ("cell",), 1.0, epochs)
    np.testing.assert_array_equal(found["a",], ([3.0, 2.0], [False, False]))
    np.testing.assert_array_equal(found["b",], ([30.0, 10.0], [True, False]))


def test_elasticities_and_their_excess_over_a_reference_are_recovered():
    groups = {("real",): times(0.3), ("noise",): times(1.1)}
    real, noise = elasticity_rows(groups, dict.fromkeys(groups, ("real",)))
    for row, exponent, extra in ((real, 0.3, 0.0), (noise, 1.1, 0.8)):
        np.testing.assert_allclose((row["value"], row["extra"]), (exponent, extra), atol=1e-5)
        assert row["low"] < exponent < row["high"]
        assert (row["lower bounds"], row["runs"], row["seeds"]) == (0, len(SIZES) * SEEDS, SEEDS)
    assert noise["extra low"] > 0.6


def test_the_sign_turns_an_elasticity_and_its_ends():
    groups = {("real",): times(-0.5)}
    (plain,), (turned,) = (elasticity_rows(groups, {("real",): ("real",)}, sign) for sign in (1, -1))
    assert (turned["value"], turned["low"], turned["high"]) == (-plain["value"], -plain["high"], -plain["low"])
    with pytest.raises(BadInput, match="sign: 2 is not 1 or -1"):
        elasticity_rows(groups, {("real",): ("real",)}, 2)
