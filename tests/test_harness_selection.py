"""Rules of selection: what each looks at, and what it must not see."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlrisk.errors import BadInput
from mlrisk.harness.selection import (
    RULES,
    best_checkpoints,
    by_rule,
    leave_one_domain_out,
    oracle,
    training_domain_validation,
)

SHARES = st.floats(0, 1, width=32)


@given(arrays(np.float64, (4, 5, 2), elements=SHARES))
@pytest.mark.parametrize("rule", [training_domain_validation, leave_one_domain_out])
def test_no_other_run_and_checkpoint_have_a_better_mean(rule, values):
    found = rule(values)
    assert values[found.run, found.checkpoint].mean() == found.value == values.mean(-1).max()


@given(arrays(np.float64, (4, 5), elements=SHARES), arrays(np.float64, (4, 4), elements=SHARES))
def test_the_oracle_looks_at_the_last_checkpoint_alone(values, others):
    found = oracle(values)
    assert found.checkpoint == 4
    assert found.value == values[:, -1].max()
    changed = np.concatenate([others, values[:, -1:]], axis=1)
    assert oracle(changed) == found


def test_runs_that_diverged_are_not_chosen():
    values = np.asarray([[[0.5, 0.5]], [[np.nan, 0.9]], [[0.6, 0.4]]])
    assert training_domain_validation(values).run == 0
    assert oracle(values[:, :, 0]).run == 2
    assert best_checkpoints(np.asarray([[0.1, np.nan, 0.3, 0.3], [np.nan] * 4])).tolist() == [2, 3]


def test_each_rule_looks_where_it_says():
    found = {"validation": np.asarray([[0.1, 0.9, 0.5], [0.2, 0.1, 0.3]]),
             "test": np.asarray([[0.7, 0.2, 0.6], [0.5, 0.8, 0.4]])}  # fmt: skip
    tests = [by_rule(found, rule)["test"].tolist() for rule in RULES]
    assert tests == [[0.6, 0.4], [0.2, 0.4], [0.7, 0.8]]
    assert by_rule(found, "training domains")["validation"].tolist() == [0.9, 0.3]


@pytest.mark.parametrize(("call", "line"), [
    (lambda: by_rule({}, "oracle"), "rule: 'oracle' is not one of last step"),
    (lambda: oracle(np.zeros((2, 3, 4))), r"values: shape \(2, 3, 4\) is not of 2 axes"),
    (lambda: training_domain_validation(np.zeros((0, 3, 4))), r"values: shape \(0, 3, 4\)"),
    (lambda: oracle(np.full((2, 2), np.nan)), "values: none is finite"),
])  # fmt: skip
def test_bad_input_is_one_line(call, line, as_a_user):
    with pytest.raises(BadInput, match=line):
        call()
