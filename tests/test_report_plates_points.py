"""Points with intervals on both axes, and lines with bands."""

import numpy as np
from matplotlib.figure import Figure

from mlrisk.report import banded_line, crossed_points

ROWS = [{"epoch": e, "value": v, "low": v - 0.1, "high": v + 0.3} for e, v in ((1, 0.2), (2, 0.5))]
BARE = [{"epoch": e, "value": v, "low": np.nan, "high": np.nan} for e, v in ((1, 0.2), (2, 0.5))]


def test_crosses_reach_from_low_to_high_on_both_axes():
    axes = Figure().subplots()
    crossed_points(axes, ROWS, ROWS, marker="o")
    (container,) = axes.containers
    across, up = (np.asarray(bars.get_segments()) for bars in container.lines[2])
    np.testing.assert_allclose(across[:, :, 0], [[0.1, 0.5], [0.4, 0.8]])
    np.testing.assert_allclose(up[:, :, 1], [[0.1, 0.5], [0.4, 0.8]])
    np.testing.assert_allclose(container.lines[0].get_xydata(), [[0.2, 0.2], [0.5, 0.5]])


def test_a_band_runs_from_low_to_high_where_there_is_one():
    axes = Figure().subplots()
    banded_line(axes, ROWS, "epoch", label="a")
    (band,) = axes.collections
    ends = band.get_paths()[0].vertices
    assert {tuple(np.round(point, 6)) for point in ends} >= {(1.0, 0.1), (1.0, 0.5), (2.0, 0.4), (2.0, 0.8)}
    banded_line(axes, BARE, "epoch")
    assert len(axes.get_lines()) == 2
    assert axes.collections[1].get_paths() == []
