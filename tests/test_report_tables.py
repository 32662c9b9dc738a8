"""Tables: what is written comes back, and what is shown is the beginning, formatted."""

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.errors import BadInput, StorageError
from mlrisk.report import find_row, read_table, to_rows, write_table
from mlrisk.report.formats import NONE
from mlrisk.report.tables import caption_of

MIXED = pa.table(
    {
        "arm": ["real", "randX", None],
        "score": [0.93417, None, float("nan")],
        "count": [1, None, 1200],
        "found": [True, False, None],
        "day": [datetime.date(2026, 11, 20)] * 3,
        "sizes": [[256, 256], [], None],
    }
)


def test_comes_back_with_its_caption_and_its_own_metadata(tmp_path):
    table = MIXED.replace_schema_metadata({"unit": "nats"})
    path = write_table(table, tmp_path / "tables" / "mixed.parquet", "Scores (nats), é.")
    back = read_table(path)
    assert str(back.to_pylist()) == str(MIXED.to_pylist())
    assert back.schema.types[:5] == MIXED.schema.types[:5]
    assert caption_of(back) == "Scores (nats), é."
    assert back.schema.metadata[b"unit"] == b"nats"
    assert list(path.parent.iterdir()) == [path]


def test_a_table_from_elsewhere_has_no_caption():
    assert caption_of(MIXED) == ""


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not really PAR1"])
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    path = tmp_path / "mixed.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError, match=r"mixed\.parquet"):
        read_table(path)


def test_a_failed_write_leaves_the_old_table(tmp_path):
    path = write_table(MIXED, tmp_path / "mixed.parquet", "old")
    with pytest.raises(pa.ArrowNotImplementedError):
        write_table(pa.table({"a": pa.nulls(1, pa.month_day_nano_interval())}), path, "new")
    assert caption_of(read_table(path)) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_cells_are_formatted_by_type():
    assert to_rows(MIXED).rows == [
        ["real", "0.9342", "1", "yes", "2026-11-20", "256, 256"],
        ["randX", NONE, NONE, "no", "2026-11-20", ""],
        [NONE, "NaN", "1200", NONE, "2026-11-20", NONE],
    ]


def test_only_numbers_are_right_aligned():
    assert [numeric for _, numeric in to_rows(MIXED).columns] == [False, True, True, False, False, False]


def test_long_text_is_cut():
    (row,) = to_rows(pa.table({"a": ["x" * 200]})).rows
    assert row == ["x" * 79 + "…"]


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 50), st.integers(1, 25))
def test_shows_the_beginning_and_says_what_is_left_out(rows, columns, most_rows, most_columns):
    table = pa.table({f"c{i}": list(range(rows)) for i in range(columns)})
    view = to_rows(table, most_rows=most_rows, most_columns=most_columns)
    assert len(view.rows) == min(rows, most_rows)
    assert all(len(row) == len(view.columns) == min(columns, most_columns) for row in view.rows)
    assert (f"of {rows:,} rows" in view.left_out) == (rows > most_rows)
    assert (f"of {columns:,} columns" in view.left_out) == (columns > most_columns)


def test_finds_the_first_row_with_the_wanted_values():
    table = pa.table({"name": ["a", "b", "b"], "value": [1.0, None, 3.0]})
    found = find_row(table, name="b")
    assert found["name"] == "b"
    assert found["value"] != found["value"]
    with pytest.raises(BadInput, match=r"^table: no row has name 'c'$"):
        find_row(table, name="c")
