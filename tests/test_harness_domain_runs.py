"""What each selection rule reports of a benchmark's runs, on accuracies made by hand; and the probe behind them."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pytest

from mlrisk.data.domain_splits import lane_trial
from mlrisk.data.rotated import rotated_domains
from mlrisk.errors import BadInput
from mlrisk.harness import Records
from mlrisk.harness.domain_probe import DomainProbe
from mlrisk.harness.domain_runs import RULES, Accuracies, accuracy_rows, run_rows

NAMES = ("a", "b", "c")
HELD = ("a", "b", "c", "a|b", "a|c", "b|c")
BLOCKS = (5, 10)


def records(value, held=HELD, draws=2, trials=2):
    """Rows of ``value(algorithm, held, draw, trial, step, part, domain)``."""
    rows, lanes = [], itertools.product(("ERM", "VREx"), held, range(draws), range(trials))
    for lane, (algorithm, out, draw, trial) in enumerate(lanes):
        for step, part, name in itertools.product(BLOCKS, ("inside", "outside"), NAMES):
            facts = {"lane": lane, "seed": trial, "algorithm": algorithm, "held_out": out, "draw": draw, "step": step}
            share = value(algorithm, out, draw, trial, step, part, name)
            rows.append({**facts, "split": part, "metric": name, "value": share})
    return Records(pa.Table.from_pylist(rows), {"names": np.asarray(NAMES)})


def by_rule(algorithm, out, draw, trial, step, part, name):
    """Each rule has a run of its own that is best; the reported accuracy says which run it was."""
    if part == "inside" and name == out:
        return 0.1 * draw + 0.01 * step + 0.2 * trial
    if part == "outside" and name == out:  # the oracle: draw 1, and step 5 if it might look there
        return 0.5 * draw + (0.3 if step == 5 else 0.0)
    if part == "outside":  # training domains: draw 0 at step 5
        return 0.9 if (draw, step) == (0, 5) else 0.2
    return 0.8 if (draw, step) == (1, 5) else 0.3  # left out one by one: draw 1 at step 5


def test_every_rule_chooses_by_what_it_may_see():
    found = Accuracies(records(by_rule))
    assert found.tested == list(NAMES)
    for trial in (0, 1):
        chosen = {rule: found.selected(rule, "ERM", "b", trial)[:2] for rule in RULES}
        assert chosen == {"training domains": (0, 0), "leave one out": (1, 0), "oracle": (1, 1)}
    np.testing.assert_allclose(found.reported("oracle", "ERM", "a"), [0.2, 0.4])
    np.testing.assert_allclose(found.reported("training domains", "VREx", "c"), [0.05, 0.25])


def test_pairs_are_read_whatever_their_order():
    def own(algorithm, out, draw, trial, step, part, name):
        return HELD.index(out) / 10 + 0.01 * draw

    found = Accuracies(records(own))
    np.testing.assert_allclose(found.of("inside", "a", "ERM", "c", "a")[:, 0, 0], [0.4, 0.41])


def test_rows_hold_means_errors_and_gains():
    def gaining(algorithm, out, draw, trial, step, part, name):
        return 0.4 + 0.1 * trial + (0.05 if algorithm == "VREx" else 0.0)

    found = Accuracies(records(gaining))
    rows = {(r["algorithm"], r["rule"], r["test domain"]): r for r in accuracy_rows(found)}
    assert len(rows) == 2 * 3 * 4
    row = rows["VREx", "oracle", "average"]
    np.testing.assert_allclose([row["value"], row["standard error"], row["gain"]], [0.5, 0.05, 0.05], atol=1e-9)
    np.testing.assert_allclose([row["gain low"], row["gain high"]], [0.05, 0.05], atol=1e-9)
    assert rows["ERM", "oracle", "a"]["gain"] == 0
    draws = list(run_rows(found))
    assert len(draws) == 2 * 3 * 2
    np.testing.assert_allclose(draws[0]["validation"], 0.45)


def test_without_pairs_there_is_no_leave_one_out():
    found = Accuracies(records(by_rule, held=("b",)))
    assert {row["rule"] for row in accuracy_rows(found)} == {"training domains", "oracle"}
    assert {row["test domain"] for row in accuracy_rows(found)} == {"b", "average"}
    with pytest.raises(BadInput, match="rule: 'best' is not one of training domains"):
        found.selected("best", "ERM", "b", 0)


@pytest.mark.parametrize(("part", "most"), [("inside", 100), ("outside", 100), ("inside", 7)])
def test_the_probe_counts_hits_in_each_domain_of_the_lane(part, most):
    labels = jnp.arange(61, dtype=jnp.int32) % 3
    source = rotated_domains(jax.random.uniform(jax.random.key(0), (61, 2, 2)), labels, (0.0, 180.0))

    def apply(params, inputs):
        return jnp.concatenate([inputs.reshape(-1, 4)[:, :2], params * inputs.reshape(-1, 4)[:, 2:3]], 1)

    probe = DomainProbe(source, ("x", "y"), part, apply, most, batch_size=10)
    key = jax.random.key(3)
    found = jax.jit(lambda probe, key: probe(SimpleNamespace(params=jnp.float32(1), key=key), key))(probe, key)
    trial = jax.jit(lambda key: lane_trial(source, key))(key)
    for domain, name in enumerate(("x", "y")):
        rows = getattr(trial.rows, part)
        index = rows.index[domain, : min(most, int(rows.sizes[domain]))]
        inputs = source.pictures[index] if domain == 0 else source.pictures[index][:, ::-1, ::-1]
        hits = jnp.argmax(apply(1.0, inputs[..., None]), -1) == labels[index]
        np.testing.assert_allclose(found[name], np.mean(np.asarray(hits)), rtol=1e-6)
