"""The scores of an audit from made-up answers with known scores, their ranking, and votes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.errors import BadInput
from mlrisk.measures.audit import LABEL_SCORES, SCORES, Looks, audit_scores, most_frequent, suspicion

RNG = np.random.default_rng(0)
LABELS = np.asarray([0, 1, 0])
PREDICTED = np.asarray([[[0, 0, 1], [0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 1], [0, 1, 1]]])
LOSS = RNG.uniform(size=(2, 3, 3)).astype(np.float32)
CURVATURE = RNG.uniform(size=(2, 3, 3)).astype(np.float32)
MEMBER = np.asarray([[True, True, True], [False, True, False], [True, False, True], [False, False, True]])
SUBSET = np.asarray([[0, 1, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]])
CRITICAL = np.asarray([[[True, False, False]], [[True, True, False]]])
PARTS = (MEMBER, SUBSET, CRITICAL)


def scores(**changed):
    looks = Looks(PREDICTED, changed.pop("loss", LOSS), CURVATURE)
    return audit_scores(LABELS, looks, *PARTS, **changed)


def test_every_score_is_what_it_says():
    found = scores(sensitivity=np.asarray([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    assert list(found) == list(SCORES)
    expected = {
        "held_out_difficulty": [0.5, 1.0, 0.0],  # the third, without it: model 2 alone, which is right
        "memorization": [1.0 - 0.5, 1.0 - 0.0, 2 / 3 - 1.0],
        "difficulty": [0.0, 1.0, 1.0],
        "first_learned": [1.0, 2.5, 3.0],
        "forgetting": [0.0, 0.5, 2.0],
        "critical": [1.0, 0.5, 0.0],
        "sensitivity": [2.0, 2.0, 2.0],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)
    np.testing.assert_allclose(found["cumulative_loss"], LOSS.sum(1).mean(0), rtol=1e-6)
    np.testing.assert_allclose(found["curvature"], CURVATURE.mean((0, 1)), rtol=1e-6)


def test_seeds_that_diverged_are_left_out():
    loss = LOSS.copy()
    loss[1, 2] = np.nan
    np.testing.assert_allclose(scores(loss=loss)["cumulative_loss"], LOSS[0].sum(0), rtol=1e-6)
    np.testing.assert_allclose(scores(loss=loss)["critical"], [1.0, 0.0, 0.0])
    with pytest.raises(BadInput, match=r"optimizer.learning_rate: every seed diverged"):
        scores(loss=loss * np.nan)


@pytest.mark.parametrize("sensitivity", [None, np.full((2, 3), np.nan)])
def test_a_sensitivity_that_is_not_there_is_left_out(sensitivity):
    assert "sensitivity" not in scores(sensitivity=sensitivity)


def test_examples_that_every_model_saw_get_the_mean_score():
    member = MEMBER.copy()
    member[:, 2] = True
    found = audit_scores(LABELS, Looks(PREDICTED, LOSS, CURVATURE), member, SUBSET, CRITICAL)
    np.testing.assert_allclose(found["memorization"], [0.5, 1.0, 0.75])


@given(order=st.permutations(range(3)))
def test_suspicion_is_a_mean_rank_that_no_monotone_map_changes(order):
    found = scores()
    moved = {name: np.exp(values)[list(order)] for name, values in found.items()}
    np.testing.assert_allclose(suspicion(moved), suspicion(found)[list(order)])
    ranked = suspicion({name: np.asarray([3.0, 1.0, 2.0]) for name in LABEL_SCORES} | {"critical": np.zeros(3)})
    np.testing.assert_allclose(ranked, [1.0, 0.0, 0.5])


@given(seed=st.integers(0, 50))
def test_votes_are_what_a_loop_counts(seed):
    rng = np.random.default_rng(seed)
    predicted, counted = rng.integers(0, 4, (7, 5)), rng.uniform(size=(7, 5)) < 0.4
    say, share = most_frequent(predicted, counted, 4)
    for i in range(5):
        votes = predicted[counted[:, i], i] if counted[:, i].any() else predicted[:, i]
        counts = np.bincount(votes, minlength=4)
        assert say[i] == counts.argmax()
        np.testing.assert_allclose(share[i], counts.max() / len(votes))
