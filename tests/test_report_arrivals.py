"""Lines of arrivals: what is drawn where."""

import numpy as np
from matplotlib.figure import Figure

from mlrisk.report import arrival_lines


def test_each_group_is_a_line_and_lower_bounds_are_open_triangles():
    rows = [
        {"group": group, "width": width, "value": value, "low": value / 2, "high": high, "lower bounds": late}
        for group, width, value, high, late in (
            ("real", 64, 10.0, 20.0, 0), ("real", 32, 20.0, 30.0, 0), ("noise", 32, 90.0, np.inf, 3),
            ("noise", 64, 40.0, None, 0),
        )
    ]  # fmt: skip
    axes = Figure().subplots()
    arrival_lines(axes, rows, "width", {"real": {"color": "blue"}, "noise": {"color": "red"}})
    real, marks, noise, triangles = (line for line in axes.lines if line.get_marker() in ("o", "^"))
    np.testing.assert_array_equal(real.get_xydata(), [[32, 20], [64, 10]])
    np.testing.assert_array_equal(noise.get_xydata(), [[32, 90], [64, 40]])
    assert marks.get_xydata().size == 0
    np.testing.assert_array_equal(triangles.get_xydata(), [[32, 90]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["32", "64"]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_legend_handles_labels()[1] == ["real", "noise"]
