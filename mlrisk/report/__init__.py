"""From the tables of a run to claims with verdicts, figures in one style, and one page that stands alone."""

from mlrisk.report.arrivals import arrival_lines
from mlrisk.report.claims import Claim, Obtained, Tables, claim_line, judge, write_claims
from mlrisk.report.densities import density_mosaic, mass_chart
from mlrisk.report.figures import PALETTE, Plate, house_style, save_figures, style
from mlrisk.report.folder import RunView, find_runs, load_run
from mlrisk.report.formats import format_interval, format_number
from mlrisk.report.html import Page, render, report, report_run, write
from mlrisk.report.plates import (
    CONDITION_LOOKS,
    banded_line,
    crossed_points,
    interval_chart,
    level_curves,
    picture_grid,
    picture_rows,
    range_curves,
    sorted_curves,
    value_and_reach,
)
from mlrisk.report.tables import (
    Cell,
    TableView,
    captioned,
    cell,
    find_row,
    read_table,
    tidy_table,
    to_rows,
    write_table,
)

__all__ = [
    "CONDITION_LOOKS",
    "PALETTE",
    "Cell",
    "Claim",
    "Obtained",
    "Page",
    "Plate",
    "RunView",
    "TableView",
    "Tables",
    "arrival_lines",
    "banded_line",
    "captioned",
    "cell",
    "claim_line",
    "crossed_points",
    "density_mosaic",
    "find_row",
    "find_runs",
    "format_interval",
    "format_number",
    "house_style",
    "interval_chart",
    "judge",
    "level_curves",
    "load_run",
    "mass_chart",
    "picture_grid",
    "picture_rows",
    "range_curves",
    "read_table",
    "render",
    "report",
    "report_run",
    "save_figures",
    "sorted_curves",
    "style",
    "tidy_table",
    "to_rows",
    "value_and_reach",
    "write",
    "write_claims",
    "write_table",
]
