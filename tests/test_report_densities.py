"""Tiles of densities, charts of masses, and the cell of a table."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlrisk import report
from mlrisk.errors import BadInput
from mlrisk.report import Cell

ROWS = [{"model": "a", "value": 1.0, "low": 0.5, "high": 1.5, "seeds": 3},
        {"model": "b", "value": 2.0, "low": float("nan"), "high": float("nan"), "seeds": 1}]  # fmt: skip


def test_the_mosaic_shows_each_density_upright_on_the_scale_of_the_first_row():
    density = np.zeros((1, 2, 3))
    density[0, 0, 1] = 4.0  # lower row, middle column
    axes = Figure().subplots()
    report.density_mosaic(axes, {"truth": density, "fit": density / 2}, ["U1"])
    image = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(image[:3, :3], [[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert image[4, 1] == 0.5
    assert [label.get_text() for label in axes.get_yticklabels()] == ["truth", "fit"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["U1"]


def test_a_mass_chart_names_modes_and_models():
    axes = Figure().subplots()
    found = {"m": [Cell(0.2, 0.1, 0.3, 5), Cell(0.8, float("nan"), float("nan"), 1)]}
    report.mass_chart(axes, found, {"m": {"color": "#0072b2"}}, {"left": 0.25, "right": 0.75})
    assert [label.get_text() for label in axes.get_xticklabels()] == ["left", "right"]
    assert sorted(text.get_text() for text in axes.get_legend().get_texts()) == ["m", "truth"]


def test_a_cell_is_found_by_its_columns():
    table = report.tidy_table(ROWS, "caption")
    assert report.cell(table, model="a") == (1.0, 0.5, 1.5, 3)
    assert np.isnan(report.cell(table, model="b").low)
    with pytest.raises(BadInput, match="'model': 'c'} is in 0 rows"):
        report.cell(table, model="c")
