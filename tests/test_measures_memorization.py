"""Forgetting, curvature, memorization scores and detection: definitions, oracles, closed forms, wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from mlrisk.errors import BadInput
from mlrisk.measures import (
    auroc,
    cumulative_loss,
    forgetting_events,
    forgetting_score,
    input_curvature,
    memorization_score,
    precision_at,
)
from mlrisk.objectives import cross_entropy

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
LABELS = jnp.asarray([0, 1, 2, 1])


# forgetting
@given(seen=st.lists(st.booleans(), min_size=1, max_size=10))
def test_forgetting_is_what_a_loop_counts(seen):
    padded = np.asarray(seen + [seen[-1]] * (10 - len(seen)))[:, None]  # repeats of the last look change nothing
    found = forgetting_events(padded)
    assert int(found.events[0]) == sum(a and not b for a, b in zip(seen, seen[1:], strict=False))
    assert bool(found.never_learned[0]) == (not any(seen))
    assert int(found.first_learned[0]) == (seen.index(True) + 1 if any(seen) else 11)


def test_never_learned_examples_have_the_highest_forgetting_score():
    seen = jnp.asarray(RNG.uniform(size=(3, 7, 20)) < 0.5).at[:, :, 0].set(False)
    score = forgetting_score(seen)
    assert (score[:, 0] == 7).all()
    assert (score[:, 1:] < score[:, :1]).all()
    np.testing.assert_array_equal(score, jax.jit(jax.vmap(forgetting_score))(seen))


def test_the_cumulative_loss_is_the_sum_over_looks():
    losses = RNG.uniform(size=(2, 5, 6)).astype(np.float32)
    np.testing.assert_allclose(cumulative_loss(losses), losses.sum(1), rtol=1e-6)


# curvature
def net(x):
    return jnp.tanh(x @ jnp.linspace(-1, 1, 15).reshape(3, 5)) @ jnp.linspace(1, -2, 15).reshape(5, 3)


INPUTS = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
curvature = jax.jit(input_curvature, static_argnums=0, static_argnames=("directions", "step"))


def hessians(inputs):
    """Each example's own second derivative, by autodiff of its loss alone."""
    one = jax.hessian(lambda x, y: cross_entropy(net(x[None]), y[None])[0])
    return jax.jit(jax.vmap(one))(inputs, LABELS)


def test_curvature_is_the_trace_of_the_squared_hessian():
    found = curvature(net, INPUTS, LABELS, KEY, directions=4000)
    expected = jnp.sum(hessians(INPUTS) ** 2, axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=0.06)


def test_one_direction_suffices_in_one_dimension():
    def line(x):
        return x * jnp.asarray([[1.0, -2.0, 0.5]])

    p = jax.nn.softmax(line(INPUTS[:, :1]), axis=-1)
    slope = jnp.asarray([[1.0, -2.0, 0.5]])
    second = jnp.sum(p * slope**2, -1) - jnp.sum(p * slope, -1) ** 2
    found = curvature(line, INPUTS[:, :1], LABELS, KEY, directions=1)
    np.testing.assert_allclose(found, second**2, rtol=1e-4)


def test_finite_differences_approach_the_exact_products():
    exact = curvature(net, INPUTS, LABELS, KEY, directions=5)
    near = curvature(net, INPUTS, LABELS, KEY, directions=5, step=1e-2)
    np.testing.assert_allclose(near, exact, rtol=0.05)


def test_curvature_does_not_mix_examples():
    """Another example's inputs change nothing, and a batch of one stacked with others keeps its expectation."""
    moved = INPUTS.at[3].set(5.0)
    one, other = (curvature(net, x, LABELS, KEY, directions=5) for x in (INPUTS, moved))
    np.testing.assert_allclose(one[:3], other[:3], rtol=1e-6)
    assert abs(float(one[3] - other[3])) > 1e-6


# memorization
def test_the_score_is_the_difference_of_two_shares():
    correct, member = RNG.uniform(size=(50, 30)) < 0.6, RNG.uniform(size=(50, 30)) < 0.7
    found = memorization_score(correct, member)
    for i in range(30):
        p, q = correct[member[:, i], i].mean(), correct[~member[:, i], i].mean()
        m, n = member[:, i].sum(), (~member[:, i]).sum()
        np.testing.assert_allclose(found.score[i], p - q)
        np.testing.assert_allclose(found.error[i], np.sqrt(p * (1 - p) / m + q * (1 - q) / n))
    assert (found.low <= found.score).all()
    assert (found.score <= found.high).all()


def test_the_interval_is_built_from_wilsons():
    """With nothing right outside the set, Newcombe's lower end is that of Wilson's two."""
    member = np.repeat([True, False], [7, 3])[:, None]
    correct = np.asarray([True] * 5 + [False] * 5)[:, None]
    found = memorization_score(correct, member)
    p, q = stats.binomtest(5, 7).proportion_ci(method="wilson"), stats.binomtest(0, 3).proportion_ci(method="wilson")
    np.testing.assert_allclose(found.low, 5 / 7 - np.hypot(5 / 7 - p.low, q.high))
    np.testing.assert_allclose(found.high, 5 / 7 + np.hypot(p.high - 5 / 7, 0))


def test_examples_that_are_always_or_never_in_have_no_score():
    correct = np.ones((4, 2), bool)
    found = memorization_score(correct, np.asarray([[True, False]] * 4))
    assert np.isnan(found.score).all()


@given(share=st.floats(0.05, 0.95))
def test_the_interval_covers(share):
    rng = np.random.default_rng(1)
    member = rng.uniform(size=(60, 2000)) < 0.7
    correct = rng.uniform(size=(60, 2000)) < np.where(member, 0.9, share)
    found = memorization_score(correct, member)
    hits = (found.low < 0.9 - share) & (0.9 - share < found.high)
    assert 0.93 < hits.mean() < 0.98


# detection
@given(
    scores=st.lists(st.integers(0, 5), min_size=4, max_size=30),
    positives=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_auroc_is_scikit_learns(scores, positives):
    found = np.asarray([True, False, *positives])[: len(scores)]
    values = np.asarray(scores, float)
    area = auroc(values, found)
    np.testing.assert_allclose(area.value, roc_auc_score(found, values), atol=1e-12)
    assert area.low <= area.value <= area.high
    flipped = auroc(-values, found)
    np.testing.assert_allclose(flipped, [1 - area.value, 1 - area.high, 1 - area.low], atol=1e-9)
    np.testing.assert_allclose(auroc(np.exp(values), found), area, atol=1e-12)


def test_auroc_covers_as_often_as_it_says():
    rng, truth = np.random.default_rng(2), stats.norm.cdf(1.5 / np.sqrt(2))
    positives = np.arange(300) < 40
    areas = [auroc(rng.normal(size=300) + 1.5 * positives, positives) for _ in range(400)]
    assert 0.92 < np.mean([area.low < truth < area.high for area in areas]) < 0.98


@pytest.mark.parametrize("found", [5, 50])
def test_a_perfect_ranking_has_an_end_that_more_examples_move_up(found):
    positives = np.arange(200) < found
    area = auroc(-np.arange(200.0), positives)
    np.testing.assert_allclose(area, [1.0, 0.025 ** (1 / found), 1.0])


@given(scores=st.lists(st.integers(0, 3), min_size=6, max_size=6), count=st.integers(1, 6))
def test_precision_is_the_mean_over_orders_of_ties(scores, count):
    positives, values = np.asarray([True, False, True, False, False, True]), np.asarray(scores, float)
    rng = np.random.default_rng(3)
    orders = [np.lexsort((rng.uniform(size=6), -values))[:count] for _ in range(2000)]
    mean = np.mean([positives[order].mean() for order in orders])
    np.testing.assert_allclose(precision_at(values, positives, count), mean, atol=0.05)


# wrong arguments
ONES = np.ones((3, 4), bool)
SCORES = np.arange(4.0)
HALF = np.asarray([True, False, True, False])
BAD = {
    "no looks": (lambda: forgetting_events(np.ones((0, 4), bool)), "correct: shape (0, 4) is not"),
    "not bool": (lambda: forgetting_events(np.ones((2, 4))), "correct: dtype float32 is not bool"),
    "no losses": (lambda: cumulative_loss(np.ones((0, 4), np.float32)), "losses: shape (0, 4) is not"),
    "integer inputs": (lambda: input_curvature(net, jnp.ones((4, 3), int), LABELS, KEY), "inputs: int32 of shape (4, 3) is not"),
    "labels of others": (lambda: input_curvature(net, INPUTS, LABELS[:2], KEY), "labels: int32 of shape (2,) is not"),
    "label too large": (lambda: input_curvature(net, INPUTS, LABELS + 1, KEY), "labels: some are outside 0 to 2"),
    "nan": (lambda: input_curvature(net, INPUTS.at[0, 0].set(jnp.nan), LABELS, KEY), "inputs: 1 of 12 values are not finite"),
    "rank": (lambda: input_curvature(lambda x: x.sum(-1), INPUTS, LABELS, KEY), "predict: gives shape (4,) for 4 inputs"),
    "directions": (lambda: input_curvature(net, INPUTS, LABELS, KEY, directions=0), "directions: 0 is not"),
    "step": (lambda: input_curvature(net, INPUTS, LABELS, KEY, step=0.0), "step: 0.0 is not"),
    "other members": (lambda: memorization_score(ONES, ONES[:2]), "member: shape (2, 4) with correct (3, 4)"),
    "no models": (lambda: memorization_score(ONES[:0], ONES[:0]), "member: shape (0, 4)"),
    "numbers": (lambda: memorization_score(ONES.astype(int), ONES), "correct: dtypes int64 and bool"),
    "level": (lambda: memorization_score(ONES, ONES, level=2.0), "level: 2.0 is not"),
    "one kind": (lambda: auroc(SCORES, np.ones(4, bool)), "positives: 4 of 4; both"),
    "nan score": (lambda: auroc(SCORES * np.nan, HALF), "scores: 4 of 4 are NaN"),
    "scores of others": (lambda: auroc(SCORES[:3], HALF), "positives: bool (4,) do not fit scores (3,)"),
    "auroc level": (lambda: auroc(SCORES, HALF, level=0.0), "level: 0.0 is not"),
    "count": (lambda: precision_at(SCORES, HALF, 5), "count: 5 is not from 1 to 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_its_line(case, as_a_user):
    call, line = BAD[case]
    with pytest.raises(BadInput) as caught:
        call()
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
