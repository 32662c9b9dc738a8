"""Bootstrap intervals against closed forms, and numbers written with the digits they deserve."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlrisk.errors import BadInput
from mlrisk.measures import bootstrap_interval
from mlrisk.report import format_interval, format_number
from mlrisk.report.formats import MINUS, NONE, format_column, format_duration


def read(text):
    return float(text.replace(",", "").replace(MINUS, "-"))


def test_agrees_with_the_t_interval_of_a_normal_mean():
    samples = np.random.default_rng(0).normal(5.0, 2.0, 200)
    got = bootstrap_interval(samples, seed=1)
    low, high = stats.t.interval(0.95, 199, samples.mean(), samples.std(ddof=1) / np.sqrt(200))
    assert got.value == samples.mean()
    np.testing.assert_allclose([got.low, got.high], [low, high], atol=0.05)


def test_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    ends = [bootstrap_interval(rng.exponential(size=25), seed=i, resamples=300)[1:] for i in range(120)]
    covered = np.mean([low <= 1.0 <= high for low, high in ends])
    assert 0.84 <= covered <= 0.99


@given(st.integers(0, 2**32), st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_same_seed_same_interval_and_ends_in_order_within_the_range(seed, samples):
    samples = np.asarray(samples)
    first = bootstrap_interval(samples, seed=seed, resamples=60)
    assert first == bootstrap_interval(samples, seed=seed, resamples=60)
    slack = 1e-9 * (1 + np.abs(samples).max())
    assert samples.min() - slack <= first.low <= first.high <= samples.max() + slack


def test_wider_level_wider_interval():
    samples = np.random.default_rng(3).normal(size=40)
    narrow, wide = (bootstrap_interval(samples, seed=0, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_rows_of_a_matrix_stay_together():
    column = np.random.default_rng(4).normal(size=(30, 1))
    paired = bootstrap_interval(
        np.hstack([column, column + 1.0]),
        lambda rows: np.mean(rows[:, 1] - rows[:, 0]),
        seed=0,
        resamples=100,
    )
    np.testing.assert_allclose(paired, [1.0, 1.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std])
def test_equal_samples_have_an_interval_of_no_width(statistic):
    got = bootstrap_interval(np.full(10, 0.25), statistic, seed=0, resamples=50)
    assert got == (float(statistic(np.full(10, 0.25))),) * 3


def test_one_seed_has_no_interval():
    got = bootstrap_interval(np.array([3.0]), seed=0)
    assert got.value == 3.0
    assert np.isnan([got.low, got.high]).all()


WRONG = {
    "samples: shape": {"samples": np.zeros(0)},
    "samples: 1 of 2": {"samples": np.array([1.0, np.nan])},
    "level: 95": {"samples": np.arange(3.0), "level": 95},
    "resamples: 0": {"samples": np.arange(3.0), "resamples": 0},
}


@pytest.mark.parametrize("line", WRONG)
def test_bad_input_is_named(line):
    with pytest.raises(BadInput, match=line):
        bootstrap_interval(**WRONG[line], seed=0)


INTERVALS = {
    (0.9341, 0.9213, 0.9452): "0.934 [0.921, 0.945]",
    (34.56, 33.1, 36.24): "34.6 [33.1, 36.2]",
    (12345.6, 12001.0, 12700.0): "12,346 [12,001, 12,700]",
    (-0.0004, -0.1, 0.1): f"0.00 [{MINUS}0.10, 0.10]",
    (1.234e-7, 1.1e-7, 1.35e-7): f"1.23e{MINUS}7 [1.10e{MINUS}7, 1.35e{MINUS}7]",
    (1.0, 1.0, 1.0): "1.00 [1.00, 1.00]",
    (0.5, 0.5 - 1e-12, 0.5 + 1e-12): "0.500000 [0.500000, 0.500000]",
    (3.14159, None, None): "3.14",
    (3.14159, float("nan"), 4.0): "3.14",
    (float("inf"), 1.0, float("inf")): "∞",
    (0.0, -1e308, 1e308): f"0.00e0 [{MINUS}1.00e308, 1.00e308]",
}


@pytest.mark.parametrize("numbers", INTERVALS)
def test_interval_is_written_to_its_own_precision(numbers):
    assert format_interval(*numbers) == INTERVALS[numbers]


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e6), st.floats(1e-9, 1e6))
def test_written_interval_is_near_the_numbers(value, below, above):
    low, high = value - below, value + above
    numbers = [read(part) for part in re.findall(r"[^\s\[\]]+(?=,\s|\]|\s\[)", format_interval(value, low, high))]
    # ends that float64 cannot tell apart are no interval: then three significant digits, as for a value alone
    scale = max(map(abs, (value, low, high)))
    tolerance = max(0.06 * (high - low), 1e-5 * scale) if high > low else 5e-3 * scale
    np.testing.assert_allclose(numbers, [value, low, high], rtol=0, atol=tolerance)


NUMBERS = {
    None: NONE,
    1000: "1,000",
    -3: f"{MINUS}3",
    0.0: "0",
    0.93417: "0.9342",
    123.456: "123.5",
    -2.5: f"{MINUS}2.500",
    3.14159e-7: f"3.142e{MINUS}7",
    float("-inf"): f"{MINUS}∞",
}


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers(value):
    assert format_number(value) == NUMBERS[value]


@given(st.floats(-1e300, 1e300))
def test_numbers_keep_four_digits(value):
    assert read(format_number(value)) == pytest.approx(value, rel=6e-4, abs=0)


@given(st.lists(st.one_of(st.none(), st.floats(-9999, 9999)), max_size=8))
def test_columns_are_as_long_as_their_values_and_lose_little(values):
    texts = format_column(values)
    assert len(texts) == len(values)
    for value, text in zip(values, texts, strict=True):
        assert (text == NONE) if value is None else read(text) == pytest.approx(value, rel=0.06)


def test_comparable_numbers_share_their_decimals():
    assert format_column([12.3456, 1.0, 0.5, None]) == ["12.35", "1.00", "0.50", NONE]


def test_numbers_of_different_sizes_do_not():
    assert format_column([12000.0, 0.001234]) == ["12,000", "0.001234"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (48.2, "48 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (None, NONE),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text
