"""All choices of training domains, the block that each rule names, and statistics over tasks; the means of penalties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlrisk.errors import BadInput
from mlrisk.harness.held_out_tasks import (
    RULES,
    chosen_block,
    held_out_tasks,
    joined,
    mean_curves,
    task_rows,
    task_statistics,
)
from mlrisk.objectives.domains import METHODS, DomainRisks, Penalty
from mlrisk.objectives.fair_dropout import fair_coins, fair_dropout
from mlrisk.objectives.mean_penalties import penalised_mean, penalised_mean_loss

NAMES = ("a", "b", "c", "d")


def test_five_domains_make_twenty_tasks_in_ten_groups():
    tasks = held_out_tasks(5)
    assert len(set(tasks)) == 20
    assert {task.group for task in tasks} == set(range(10))
    for task in tasks:
        assert sorted((*task.training, task.test, task.other)) == list(range(5))


@pytest.fixture(scope="module")
def curves():
    draw = np.random.default_rng(0)
    keys = [("m", joined(NAMES, task.training)) for task in held_out_tasks(4)]
    return {metric: {key: draw.uniform(size=(3, 6)) for key in keys} for metric in ("validation", *NAMES)}


def test_rules_look_where_they_say_and_never_at_the_test_domain(curves):
    rows = {rule: list(task_rows(curves, NAMES, "m", rule, 10)) for rule in RULES}
    changed = {name: dict(found) for name, found in curves.items()}
    for task, *found in zip(held_out_tasks(4), *(rows[rule] for rule in RULES), strict=True):
        key = ("m", joined(NAMES, task.training))
        seen = {"other": curves[NAMES[task.other]][key], "validation": curves["validation"][key]}
        steps = {row["rule"]: row["step"] for row in found}
        assert steps == {rule: 10 * (1 + seen[rule].mean(0).argmax()) for rule in seen} | {"last": 60}
        for row in found:
            value = curves[row["test"]][key][:, row["step"] // 10 - 1].mean()
            np.testing.assert_allclose(row["value"], value, rtol=1e-12)
        changed[NAMES[task.test]] = {k: 1 - v for k, v in curves[NAMES[task.test]].items()}
        again = chosen_block("other", changed["validation"][key], curves[NAMES[task.other]][key])
        assert 10 * (1 + again) == steps["other"]
        changed[NAMES[task.test]] = curves[NAMES[task.test]]


def test_mean_curves_are_means_over_tasks_and_restarts(curves):
    found = list(mean_curves(curves, NAMES, "m", 10))
    assert [row["step"] for row in found] == [10, 20, 30, 40, 50, 60]
    held = np.mean([curve.mean(0) for curve in curves["validation"].values()], axis=0)
    np.testing.assert_allclose([row["validation"] for row in found], held, rtol=1e-12)


def test_statistics_have_the_groups_as_units():
    values = np.asarray([0.5, 0.5, 0.6, 0.6])
    found = task_statistics(values, [0, 0, 1, 1], {"x": values - 0.1})
    lone = task_statistics(values[::2], [0, 1], {})
    assert found["mean"] == pytest.approx(lone["mean"], rel=1e-9)  # a copy of each task says nothing new
    assert found["less x"] == pytest.approx((0.1, 0.1, 0.1))
    assert [found[name].value for name in ("deviation", "least", "most")] == pytest.approx([0.05, 0.5, 0.6])


RISKS, SLOPES, WEIGHT = np.asarray([0.2, 0.5, 0.9]), np.asarray([0.01, 0.04, 0.09]), 7.0
MEANS = {
    "erm": RISKS.mean(),
    "group_dro": RISKS.max(),
    "mm_rex": RISKS.mean() + WEIGHT * (RISKS.max() - RISKS.mean()),
    "v_rex": RISKS.mean() + WEIGHT * RISKS.var(ddof=1),
    "irm_v1": RISKS.mean() + WEIGHT * SLOPES.mean(),
}


@pytest.mark.parametrize("name", METHODS)
def test_penalised_means(name):
    found = DomainRisks(jnp.asarray(RISKS, jnp.float32), jnp.asarray(SLOPES, jnp.float32))
    penalty = Penalty(jnp.int32(METHODS.index(name)), jnp.float32(WEIGHT), jnp.int32(0), jnp.float32(0.5))
    np.testing.assert_allclose(penalised_mean(found, penalty), MEANS[name], rtol=1e-5)
    loss = jax.jit(penalised_mean_loss)(found, {"a": jnp.asarray([1.0, 2.0])}, penalty)
    np.testing.assert_allclose(loss, (MEANS[name] + 0.5 * 5) / WEIGHT, rtol=1e-5)


def test_fair_dropout_is_zero_or_double_by_independent_coins():
    coins = np.asarray(jax.jit(fair_coins, static_argnums=1)(jax.random.key(0), (301, 33)), np.float64)
    assert coins.shape == (301, 33)
    bound = 4.5 / np.sqrt(301)
    assert (np.abs(2 * coins.mean(0) - 1) < bound).all()
    signs = 2 * coins - 1
    together = signs.T @ signs / 301
    assert (np.abs(together - np.diag(np.diag(together))) < 5 / np.sqrt(301)).all()
    values = jnp.arange(1.0, 101.0).reshape(4, 25)
    found = fair_dropout(values, jax.random.key(1))
    kept = np.asarray(found) != 0
    np.testing.assert_array_equal(found, np.where(kept, 2 * np.asarray(values), 0))
    assert 0 < kept.sum() < 100


WRONG = {
    "three domains": (lambda: held_out_tasks(3), "num_domains: 3 is below 4, and two are held out"),
    "rule": (lambda: chosen_block("best", np.zeros((1, 2)), np.zeros((1, 2))), "rule: 'best' is not one of other"),
    "lengths": (lambda: chosen_block("last", np.zeros((1, 2)), np.zeros((1, 3))), r"other: shape \(1, 3\) is not"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gets_one_line(case, as_a_user):
    call, line = WRONG[case]
    with pytest.raises(BadInput, match=line):
        call()
