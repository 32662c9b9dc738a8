"""Tables of financial indicators: common columns, equal classes, standardised by year, refused where damaged."""

from pathlib import Path

import numpy as np
import pytest

from mlrisk.data.finance import load_finance
from mlrisk.errors import BadInput, DataUnavailable

SHARED = Path(__file__).parents[2] / "shared" / "data" / "finance"
HEADERS = {2014: ",Revenue,EPS,Only 2014,Sector,Class,2015 PRICE VAR [%]", 2015: ",EPS,Revenue,Sector,Class"}
ROWS = {
    2014: ["A,1,10,0,Tech,1,5", "B,2,20,0,Tech,0,-5", "C,3,30,0,Energy,1,1", "D,4,40,0,Tech,1,2", "E,9,10,0,Tech,0,1"],
    2015: ["A,10,5,Tech,0", "B,30,5,Tech,1"],
}


@pytest.fixture
def tables(tmp_path):
    def write(year, header=None, rows=None):
        lines = [header or HEADERS[year], *(ROWS[year] if rows is None else rows)]
        (tmp_path / f"{year}_clean.csv").write_text("\n".join(lines) + "\n")
        return tmp_path

    for year in HEADERS:
        write(year)
    return write


def test_common_columns_equal_classes_and_standardised_years(tables, tmp_path):
    found = load_finance(tmp_path, (2014, 2015))
    assert found.features == ("Revenue", "EPS")
    first, second = found.years
    assert (first.year, first.labels.tolist()) == (2014, [1, 0, 1, 0])  # A, B, C and E: the first two of each class
    revenue = np.asarray([1, 2, 3, 9.0])
    np.testing.assert_allclose(first.inputs[:, 0], (revenue - revenue.mean()) / revenue.std(), rtol=1e-5)
    np.testing.assert_allclose(second.inputs, [[0, -1], [0, 1]])  # one revenue for all becomes 0


@pytest.mark.parametrize(("year", "header", "rows", "line"), [
    (2015, ",EPS,Revenue,Sector,Rose", None, "columns: the table of 2015 has no column 'Class'"),
    (2015, ",Other,Sector,Class", ["A,1,Tech,0", "B,2,Tech,1"], "columns: the tables of 2014, 2015 have no feature"),
    (2015, None, ["A,10,,Tech,0", "B,30,5,Tech,1"], "Revenue: the table of 2015 has 1 missing or infinite values of 2"),
    (2015, None, ["A,x,4,Tech,0", "B,30,5,Tech,1"], "EPS: the table of 2015 has entries that are not numbers"),
    (2015, None, ["A,10,4,Tech,2", "B,30,5,Tech,1"], "Class: the table of 2015 has other values than 0 and 1"),
    (2015, None, ["A,10,4,Tech,1", "B,30,5,Tech,1"], "Class: the table of 2015 has only one class"),
])  # fmt: skip
def test_damaged_tables_get_one_line(tables, tmp_path, year, header, rows, line, as_a_user):
    tables(year, header, rows)
    with pytest.raises(BadInput) as caught:
        load_finance(tmp_path, (2014, 2015))
    assert str(caught.value).startswith(line)


def test_missing_files_and_single_years_get_one_line(tmp_path):
    with pytest.raises(DataUnavailable, match=r"data_dir: None is no folder with <year>_clean\.csv; the tables of"):
        load_finance(None)
    with pytest.raises(DataUnavailable, match=r"2014_clean\.csv is missing; the tables of"):
        load_finance(tmp_path)
    with pytest.raises(BadInput, match=r"years: \[2014\] are fewer than 2 domains"):
        load_finance(tmp_path, (2014, 2014))


@pytest.mark.skipif(not SHARED.is_dir(), reason="no tables beside the checkout (../shared/data/finance)")
def test_the_published_counts():
    found = load_finance(SHARED)
    assert len(found.features) == 37
    assert [len(year.labels) for year in found.years] == [3228, 2458, 3158, 2736, 2692]
    for year in found.years:
        assert year.labels.mean() == 0.5
        np.testing.assert_allclose(year.inputs.mean(0), 0, atol=1e-4)
