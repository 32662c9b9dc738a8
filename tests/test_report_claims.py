"""Claims: each check becomes a row with a verdict, whatever the check does."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.errors import BadInput
from mlrisk.report import Claim, Obtained, judge, write_claims

TABLES = {"scores": pa.table({"score": [1.0, 2.0, 3.0]})}


def claim(check, name="a claim"):
    return Claim(name=name, statement="Said so.", source="A paper, Table 1", published="2.0", check=check)


def only(check):
    return judge([claim(check)], TABLES, "three scores")[0]


def _raise(error):
    def check(tables):
        raise error

    return check


@given(st.floats(allow_nan=False), st.integers(0, 10**6), st.booleans())
def test_verdict_and_numbers_are_those_of_the_check(value, n, agrees):
    row = only(lambda _: Obtained(value, None, None, n, "> 0", agrees))
    assert (row["value"], row["n"], row["agrees"]) == (value, n, agrees)
    assert row["verdict"] == ("agrees" if agrees else "differs")
    assert row["problem"] is None


def test_row_carries_what_was_published_and_the_scale():
    row = only(lambda tables: Obtained(tables["scores"]["score"][1].as_py(), 1.5, 2.5, 3, "= 2", True))
    assert row["statement"] == "Said so."
    assert row["source"] == "A paper, Table 1"
    assert row["published"] == "2.0"
    assert row["scale"] == "three scores"
    assert (row["value"], row["low"], row["high"]) == (2.0, 1.5, 2.5)


FAILURES = {
    "a missing table": (lambda tables: tables["nothing"], "KeyError: 'nothing'"),
    "an error over two lines": (_raise(ValueError("first\n  second")), "ValueError: first second"),
    "an error without words": (_raise(RuntimeError()), "RuntimeError: no reason given"),
    "a bare number": (lambda _: 3.0, "returned a float"),
    "NaN": (lambda _: Obtained(math.nan, None, None, 3, "> 0", True, "All diverged."), "NaN. All diverged."),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_check_that_fails_is_not_judged_and_spares_the_others(name):
    check, reason = FAILURES[name]
    failed, fine = judge(
        [claim(check, "one"), claim(lambda _: Obtained(1.0, None, None, 1, "> 0", True), "two")], TABLES, ""
    )
    assert failed["verdict"] == "not judged"
    assert failed["agrees"] is None
    assert failed["problem"].startswith("could not be judged: ")
    assert failed["problem"].endswith(reason) or reason in failed["problem"]
    assert fine["verdict"] == "agrees"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_taken_for_a_failed_check(error):
    with pytest.raises(error):
        only(_raise(error()))


def test_repeated_names_are_refused():
    check = FAILURES["a bare number"][0]
    with pytest.raises(BadInput, match="'twice' is used 2 times"):
        judge([claim(check, "twice"), claim(check, "twice")], TABLES, "")


@given(st.lists(st.floats(), min_size=3, max_size=3))
def test_rows_survive_strict_json(tmp_path_factory, numbers):
    value, low, high = numbers
    rows = judge([claim(lambda _: Obtained(value, low, high, 3, "> 0", True))], TABLES, "é")
    path = write_claims(tmp_path_factory.mktemp("claims") / "claims.json", rows)

    def refuse(constant):
        raise AssertionError(constant)

    (back,) = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    for end in ("value", "low", "high"):
        assert (None if back[end] is None else float(back[end])) == rows[0][end]
    assert list(path.parent.iterdir()) == [path]


def test_numpy_numbers_become_plain_ones():
    row = only(lambda _: Obtained(np.float32(0.5), np.float64(0.25), np.float64("nan"), np.int64(9), "", np.bool_(1)))
    assert json.loads(json.dumps(row)) == row
    assert (row["low"], row["high"], row["n"], row["agrees"]) == (0.25, None, 9, True)
