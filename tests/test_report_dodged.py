"""Points side by side: each at its value, smaller ones at the floor, and dashes at what was published."""

import numpy as np
from matplotlib.figure import Figure

from mlrisk.report.dodged import dodged_points

ROWS = [{"value": 1.0, "low": 0.5, "high": 2.0, "old": 3.0}, {"value": 0.0, "low": -1.0, "high": 0.2, "old": None}]


def test_points_stand_at_their_values_apart_and_above_the_floor():
    axes = Figure().subplots()
    dodged_points(axes, {"a": ROWS, "b": ROWS}, 1e-3, reference="old")
    points, bars = [line for line in axes.lines if line.get_marker() == "o"], axes.collections
    np.testing.assert_allclose([line.get_ydata() for line in points], [[1.0, 1e-3]] * 2)
    assert points[0].get_xdata()[0] < 0 < points[1].get_xdata()[0] < 1 + points[0].get_xdata()[0]
    ends = [np.asarray(segment)[:, 1] for segment in bars[0].get_segments()]
    np.testing.assert_allclose(ends, [[0.5, 2.0], [1e-3, 0.2]])
    dashes = [line for line in axes.lines if line.get_marker() == "_"]
    np.testing.assert_allclose([line.get_ydata() for line in dashes], [[3.0, np.nan]] * 2)
    assert axes.get_yscale() == "log"
    assert axes.get_legend_handles_labels()[1] == ["a", "b"]


def test_without_a_reference_there_are_no_dashes():
    axes = Figure().subplots()
    dodged_points(axes, {"a": ROWS}, 1e-3)
    assert not [line for line in axes.lines if line.get_marker() == "_"]
