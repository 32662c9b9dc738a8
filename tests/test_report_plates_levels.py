"""Curves by level: one colour a level, one line style a quantity."""

from matplotlib.figure import Figure

from mlrisk.report import level_curves


def test_each_level_has_its_colour_and_each_quantity_its_dash():
    rows = [
        {"level": level, "quantity": quantity, "epoch": epoch, "value": level * epoch, "low": 0.0, "high": 2.0}
        for level in (0.0, 0.5)
        for quantity in ("a", "b", "other")
        for epoch in (1, 2, 3)
    ]
    axes = Figure().subplots()
    level_curves(axes, rows, "epoch", ("a", "b"))
    lines = axes.get_lines()
    assert len(lines) == len(axes.collections) == 4
    assert len({line.get_color() for line in lines}) == 2
    assert [line.get_linestyle() for line in lines] == ["-", ":", "-", ":"]
    assert list(lines[2].get_ydata()) == [0.5, 1.0, 1.5]
    assert axes.get_legend_handles_labels()[1] == ["0%", "50%"]
    assert axes.get_xlabel() == "epoch"
