"""Closed-form intervals: textbook values, invariances, and how often they cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures import clustered_mean, gain_rows, score_rows, student_mean


@given(values=st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_student_is_scipys_interval(values):
    values = np.asarray(values)
    found = student_mean(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95) if values.std() > 1e-6 else (values[0],) * 2
    np.testing.assert_allclose(found[1:], expected, rtol=1e-6, atol=1e-6)


def test_every_example_its_own_cluster_is_student():
    values = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(clustered_mean(values), student_mean(values))


def test_copies_of_an_example_add_no_knowledge():
    values = np.random.default_rng(1).normal(size=20)
    copies = clustered_mean(np.repeat(values, 7), np.repeat(np.arange(20) * 3 + 5, 7))
    np.testing.assert_allclose(copies, student_mean(values))


def test_the_interval_over_clusters_covers_and_the_one_that_ignores_them_does_not():
    draw, hits = np.random.default_rng(2), np.zeros(2)
    groups = np.repeat(np.arange(25), 10)
    for _ in range(400):
        values = draw.normal(size=25)[groups] + draw.normal(size=250)
        intervals = clustered_mean(values, groups), clustered_mean(values)
        hits += [found.low <= 0 <= found.high for found in intervals]
    assert 0.91 < hits[0] / 400 < 0.985
    assert hits[1] / 400 < 0.7


def test_one_seed_has_no_interval_and_bad_values_are_refused(as_a_user):
    found = student_mean(np.asarray([3.0]))
    assert found.value == 3
    assert np.isnan(found.low)
    with pytest.raises(BadInput, match="values: 1 of 2 are not finite"):
        student_mean(np.asarray([3.0, np.nan]))
    with pytest.raises(BadInput, match="groups: 3 of them do not fit 2 values"):
        clustered_mean(np.asarray([3.0, 4.0]), np.arange(3))


def test_gains_pair_rows_and_seeds():
    draw = np.random.default_rng(3)
    rows, seeds = 5 * draw.normal(size=40), 5 * draw.normal(size=3)
    first = rows + seeds[:, None]
    scores = {"one": first, "two": first + 1 + 0.01 * draw.normal(size=(3, 40)), "three": first - 1}
    (one, *_), gains = score_rows(scores), gain_rows(scores)
    assert [(g["model"], g["above"]) for g in gains] == [("two", "one"), ("three", "one"), ("three", "two")]
    np.testing.assert_allclose([g["value"] for g in gains], [1, -1, -2], atol=0.01)
    assert gains[0]["high"] - gains[0]["low"] < 0.02 < 1 < one["high"] - one["low"]
    assert gains[0]["seeds high"] - gains[0]["seeds low"] < 0.1 < 1 < one["seeds high"] - one["seeds low"]
    assert (one["value"], one["seeds"], one["rows"]) == (pytest.approx(first.mean()), 3, 40)
