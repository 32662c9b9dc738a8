"""Times to a threshold and how they grow with size: definitions, oracles, and what censoring would do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from mlrisk.errors import BadInput
from mlrisk.measures import elasticity, time_to_convergence

RNG = np.random.default_rng(0)
SIZES = np.asarray([100.0, 200.0, 400.0, 800.0])


def curves(values):
    return jnp.asarray(values, jnp.float32)


@given(values=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, float("nan")]), min_size=1, max_size=12))
def test_the_first_time_is_the_one_that_a_loop_finds(values):
    found = time_to_convergence(np.asarray(values, np.float32), 10, (0.5, 1.0))
    for i, threshold in enumerate((0.5, 1.0)):
        reached = [b for b, v in enumerate(values) if v >= threshold]
        assert bool(found.censored[i]) == (not reached)
        assert float(found.time[i]) == 10.0 * ((reached or [len(values) - 1])[0] + 1)


@given(values=st.lists(st.sampled_from([0.0, 0.5, 1.0, float("nan")]), min_size=1, max_size=12))
def test_a_time_from_which_the_curve_stays(values):
    found = time_to_convergence(np.asarray(values, np.float32), 1, 0.5, stays=True)
    staying = [b for b in range(len(values)) if all(v >= 0.5 for v in values[b:])]
    assert bool(found.censored[0]) == (not staying)
    assert float(found.time[0]) == (staying or [len(values) - 1])[0] + 1


def test_any_axes_before_the_blocks_and_jit_and_vmap_agree():
    stacked = curves(RNG.uniform(size=(3, 4, 7)))
    moments = curves([1, 2, 4, 8, 16, 32, 64])
    whole = time_to_convergence(stacked, moments, (0.5, 0.9))
    assert whole.time.shape == (3, 4, 2)
    compiled = jax.jit(jax.vmap(lambda c, t: time_to_convergence(c, t, (0.5, 0.9)), in_axes=(0, None)))(
        stacked, moments
    )
    for one, other in zip(whole, compiled, strict=True):
        np.testing.assert_array_equal(one, other)


BAD_TIMES = {
    "no blocks": ((np.zeros((2, 0), np.float32), 1, 0.5), "accuracy: shape (2, 0) has no blocks"),
    "other blocks": ((np.zeros(3, np.float32), np.asarray([1.0, 2.0], np.float32), 0.5), "times: shape (2,) is not"),
    "falling": ((np.zeros(2, np.float32), np.asarray([2.0, 1.0], np.float32), 0.5), "times: are not positive"),
    "zero length": ((np.zeros(2, np.float32), 0, 0.5), "times: are not positive"),
    "nan": ((np.zeros(2, np.float32), 1, float("nan")), "thresholds: nan is not"),
    "none": ((np.zeros(2, np.float32), 1, ()), "thresholds: () is not"),
}


@pytest.mark.parametrize("case", BAD_TIMES)
def test_bad_curves_get_their_line(case, as_a_user):
    arguments, line = BAD_TIMES[case]
    with pytest.raises(BadInput) as caught:
        time_to_convergence(*arguments)
    assert str(caught.value).startswith(line)


def runs(slope, seeds, noise=0.3, bound=np.inf, rng=RNG):
    """Times ``n^slope`` with log-normal noise, seen only up to a bound."""
    true = SIZES[:, None] ** slope * np.exp(noise * rng.normal(size=(len(SIZES), seeds)))
    return np.minimum(true, bound), true > bound


def test_without_censoring_it_is_least_squares_with_students_interval():
    times, censored = runs(0.7, 5)
    found = elasticity(SIZES, times, censored)
    line = stats.linregress(np.repeat(np.log(SIZES), 5), np.log(times).ravel())
    half = stats.t.ppf(0.975, 18) * line.stderr
    np.testing.assert_allclose(found, [line.slope, line.slope - half, line.slope + half], rtol=1e-4)


def test_with_censoring_it_is_the_maximum_of_the_textbook_likelihood():
    times, censored = runs(0.7, 8, bound=70.0)
    x, y, late = np.repeat(np.log(SIZES), 8), np.log(times).ravel(), censored.ravel()

    def loss(p):
        z = (y - p[0] - p[1] * x) / np.exp(p[2])
        return -np.where(late, stats.norm.logsf(z), stats.norm.logpdf(z) - p[2]).sum()

    best = optimize.minimize(loss, [0.0, 0.5, 0.0], method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-7})
    found = elasticity(SIZES, times, censored)
    assert 0.2 < censored.mean() < 0.6
    np.testing.assert_allclose(found.value, best.x[1], atol=2e-4)


def test_censoring_biases_the_naive_slope_and_not_this_one():
    times, censored = runs(0.7, 400, bound=60.0)
    naive = stats.linregress(np.repeat(np.log(SIZES), 400), np.log(times).ravel()).slope
    found = elasticity(SIZES, times, censored)
    assert naive < 0.6
    assert found.low < 0.7 < found.high
    assert found.high - found.low < 0.15


@given(factor=st.floats(0.01, 100), power=st.sampled_from([-2.0, 0.5, 3.0]))
def test_units_do_not_matter_and_powers_of_the_size_divide(factor, power):
    times, censored = runs(0.7, 4, bound=120.0, rng=np.random.default_rng(1))
    one, moved = elasticity(SIZES, times, censored), elasticity(7 * SIZES**power, factor * times, censored)
    expected = sorted((one.low / power, one.high / power))
    np.testing.assert_allclose(moved, [one.value / power, *expected], rtol=2e-3, atol=1e-4)


def test_what_the_data_do_not_bound_is_said_to_be_unbounded():
    times, censored = np.full((4, 3), 50.0), np.ones((4, 3), bool)
    assert np.isnan(elasticity(SIZES, times, censored).value)
    censored[1] = False
    found = elasticity(SIZES, times, censored)
    assert np.isnan(found.value)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_the_interval_over_seeds_keeps_each_seed_together():
    """If seeds differ by a common factor only, every seed has the same slope: the interval is a point."""
    times = SIZES[:, None] ** 0.5 * np.exp(RNG.normal(size=(1, 6)))
    found = elasticity(SIZES, times, np.zeros_like(times, bool), interval="seeds")
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5], atol=1e-4)


@pytest.mark.slow
def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(300):
        found = elasticity(SIZES, *runs(0.7, 5, bound=100.0, rng=rng))
        hits.append(found.low < 0.7 < found.high)
    assert 0.91 < np.mean(hits) < 0.985


GOOD = np.ones((4, 2)), np.zeros((4, 2), bool)
BAD_RUNS = {
    "rows": ((SIZES[:3], *GOOD), "times: shape (4, 2), with censored (4, 2), is not (sizes, seeds)"),
    "flags": ((SIZES, GOOD[0], GOOD[1][:, :1]), "times: shape (4, 2), with censored (4, 1), is not (sizes, seeds)"),
    "zero time": ((SIZES, 0 * GOOD[0], GOOD[1]), "times: are not all positive"),
    "nan time": ((SIZES, np.nan * GOOD[0], GOOD[1]), "times: are not all positive"),
    "zero size": ((0 * SIZES, *GOOD), "sizes: are not all positive"),
    "one size": ((np.full(4, 3.0), *GOOD), "sizes: [3.0, 3.0, 3.0, 3.0] has fewer than two"),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_bad_runs_get_their_line(case, as_a_user):
    arguments, line = BAD_RUNS[case]
    with pytest.raises(BadInput) as caught:
        elasticity(*arguments)
    assert str(caught.value).startswith(line)
    with pytest.raises(BadInput, match="level: 1 is not"):
        elasticity(SIZES, *GOOD, level=1)


def test_times_may_be_whole_numbers_of_epochs():
    curve = np.asarray([0.2, 0.5, 0.95])
    found = time_to_convergence(curve, np.asarray([2, 4, 6]), 0.9)
    assert float(found.time[0]) == 6
    assert not bool(found.censored[0])
