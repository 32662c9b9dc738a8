"""Comparing groups: closed forms, coverage, and what is left when no run of a group arrives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures import Interval, geometric_mean_time, interval_difference, log_time_ratio

NEVER, ALWAYS = np.zeros(5, bool), np.ones(5, bool)
RNG = np.random.default_rng(0)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 3), st.floats(0, 3))
def test_symmetric_intervals_add_in_quadrature(a, b, s, t):
    found = interval_difference(Interval(a, a - s, a + s), Interval(b, b - t, b + t))
    np.testing.assert_allclose(found, (a - b, a - b - np.hypot(s, t), a - b + np.hypot(s, t)), atol=1e-12)


def test_the_difference_of_skewed_intervals_is_turned_by_exchange():
    one, other = Interval(1.0, 0.5, np.inf), Interval(0.2, 0.1, 0.7)
    found, turned = interval_difference(one, other), interval_difference(other, one)
    assert found.high == np.inf
    np.testing.assert_allclose(found.low, 0.8 - np.hypot(0.5, 0.5))
    np.testing.assert_allclose(turned, (-found.value, -found.high, -found.low))


def test_no_estimate_has_no_difference():
    found = interval_difference(Interval(np.nan, -np.inf, np.inf), Interval(0.0, -1.0, 1.0))
    assert np.isnan(found.value)
    assert found[1:] == (-np.inf, np.inf)


def test_without_censoring_the_ratio_is_students_two_sample_interval():
    times, reference = (np.exp(RNG.normal(mean, 0.3, 5)) for mean in (2.0, 1.0))
    found = log_time_ratio(times, NEVER, reference, NEVER)
    expected = stats.ttest_ind(np.log(times), np.log(reference))
    ends = expected.confidence_interval(0.95)
    np.testing.assert_allclose(found[1:], (ends.low, ends.high), rtol=1e-4)
    np.testing.assert_allclose(found.value, np.log(times).mean() - np.log(reference).mean(), rtol=1e-5)


def test_censored_runs_pull_the_ratio_up_and_never_down():
    times, reference = np.asarray([4.0, 5.0, 6.0, 8.0, 8.0]), np.asarray([2.0, 2.2, 2.5, 3.0, 2.1])
    naive = log_time_ratio(times, NEVER, reference, NEVER)
    bounded = log_time_ratio(times, times == 8.0, reference, NEVER)
    assert bounded.value > naive.value
    assert bounded.high > naive.high


def test_a_group_that_never_arrives_gives_a_bound():
    times, reference = np.full(5, 100.0), np.asarray([9.0, 10.0, 11.0, 10.0, 10.0])
    found = log_time_ratio(times, ALWAYS, reference, NEVER)
    np.testing.assert_allclose(found.value, np.log(100 / reference).mean())
    assert found.high == np.inf
    assert 2 < found.low < found.value
    turned = log_time_ratio(reference, NEVER, times, ALWAYS)
    np.testing.assert_allclose(turned, (-found.value, -found.high, -found.low))
    assert np.isnan(log_time_ratio(times, ALWAYS, times, ALWAYS).value)


def test_groups_of_other_sizes_and_times_of_nought_are_refused(as_a_user):
    with pytest.raises(BadInput, match="times: shape"):
        log_time_ratio(np.ones(4), NEVER[:4], np.ones(5), NEVER)
    with pytest.raises(BadInput, match="times: are not all positive and finite"):
        log_time_ratio(np.zeros(5), NEVER, np.ones(5), NEVER)


@given(scale=st.floats(0.1, 100))
def test_the_geometric_mean_is_the_interval_of_the_logs(scale):
    times = scale * np.asarray([1.0, 2.0, 4.0, 8.0])
    found = geometric_mean_time(times, np.zeros(4, bool))
    half = stats.t.ppf(0.975, 3) * np.log(times).std(ddof=1) / 2
    np.testing.assert_allclose(np.log(found), np.log(scale * 8**0.5) + np.asarray([0, -half, half]), atol=1e-9)
    bound = geometric_mean_time(times, times > 5 * scale)
    assert bound == found._replace(high=np.inf)
