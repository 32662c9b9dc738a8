"""The training loop: laws that hold for any model, and problems with known answers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrisk.harness import BestRule, make_train
from mlrisk.types import Aux, Model

KEY = jax.random.key(0)
TARGET = jnp.asarray([1.0, -2.0, 3.0])


def quadratic(model_init=lambda key: jax.random.normal(key, (3,))):
    """Minimise |p - TARGET|^2: gradient descent multiplies the distance by (1 - 2 lr) at each step."""
    model = Model(model_init, lambda p, x: p)

    def objective(params, batch, hyper, key):
        loss = jnp.sum((params - TARGET) ** 2)
        return loss, {"loss": loss}

    return model, objective


def sampler(key, step):
    return ()


def trained(optimizer=None, num_steps=6, **options):
    model, objective = quadratic()
    return make_train(model, objective, optimizer or optax.sgd(0.1), sampler, num_steps=num_steps, **options)


def test_gradient_descent_on_a_quadratic_follows_the_closed_form():
    train = trained(num_steps=20, probe_every=5)
    fit = jax.jit(train)(KEY)
    start = train.start(KEY).state.params
    np.testing.assert_allclose(fit.state.params, TARGET + 0.8**20 * (start - TARGET), rtol=1e-5, atol=1e-6)
    distance = jnp.sum((start - TARGET) ** 2)
    expected = [np.mean([distance * 0.64 ** (5 * b + s) for s in range(5)]) for b in range(4)]
    np.testing.assert_allclose(fit.history["train/loss"], expected, rtol=1e-5)


@given(num_blocks=st.integers(1, 5), every=st.integers(1, 4), cut=st.integers(0, 5))
def test_any_cut_between_blocks_gives_the_same_bits(num_blocks, every, cut):
    train = trained(num_steps=num_blocks * every, probe_every=every)
    cut = min(cut, num_blocks)
    advance = jax.jit(lambda p, first, last: train.advance(p, None, first, last))
    start = jax.jit(train.start)(KEY)
    whole = train.finish(advance(start, 0, num_blocks))
    parts = train.finish(advance(advance(start, 0, cut), cut, num_blocks))
    jax.tree.map(np.testing.assert_array_equal, whole.history, parts.history)
    np.testing.assert_array_equal(whole.state.params, parts.state.params)


def test_jit_equals_eager_and_vmap_equals_loop():
    train = trained(num_steps=4, probe_every=2, average_decay=0.5)
    keys = jax.random.split(KEY, 3)
    eager, jitted = train(KEY), jax.jit(train)(KEY)
    np.testing.assert_allclose(eager.state.params, jitted.state.params, rtol=1e-6)
    together = jax.vmap(train)(keys)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(together.state.params[i], train(key).state.params, rtol=1e-5)


def test_hypers_reach_optimizer_objective_sampler_probe_and_schedule():
    model = Model(lambda key: jnp.zeros(()), lambda p, x: p)

    def objective(params, batch, hyper, key):
        return batch * params, {"penalty": hyper["penalty"], "batch": batch}

    train = make_train(
        model,
        objective,
        lambda hyper: optax.sgd(hyper["lr"]),
        lambda key, step, hyper: hyper["slope"] + 0.0 * step.astype(jnp.float32),
        {"eval": lambda state, key, hyper: {"slope": hyper["slope"]}},
        num_steps=4,
        probe_every=1,
        schedule=lambda hyper, step: hyper | {"penalty": step.astype(jnp.float32)},
    )
    hyper = {"lr": jnp.float32(0.5), "slope": jnp.float32(2.0), "penalty": jnp.float32(-1.0)}
    fit = jax.jit(train)(KEY, hyper)
    assert float(fit.state.params) == -4.0
    np.testing.assert_array_equal(fit.history["train/penalty"], np.arange(4.0))
    np.testing.assert_array_equal(fit.history["eval/slope"], np.full(4, 2.0))


def test_what_a_sampler_draws_for_a_lane_is_drawn_once():
    class Drawn(NamedTuple):
        shift: jax.Array

        def __call__(self, key, step):
            return self.shift

    calls = []

    class Draws:
        def for_lane(self, key, hyper):
            calls.append(hyper)
            return Drawn(hyper * jax.random.normal(key, (3,)))

        def __call__(self, key, step, hyper):
            return hyper * jax.random.normal(key, (3,))

    class Redraws:
        def __call__(self, key, step, hyper):
            return Draws()(key, step, hyper)

    model = Model(lambda key: jnp.zeros(3), lambda p, x: p)

    def objective(params, batch, hyper, key):
        loss = jnp.sum((params - batch) ** 2)
        return loss, {"loss": loss}

    once, always = (
        make_train(model, objective, optax.sgd(0.1), s, num_steps=6, probe_every=2) for s in (Draws(), Redraws())
    )
    hypers = jnp.asarray([1.0, 2.0])
    keys = jax.random.split(KEY, 2)
    found, expected = (jax.jit(jax.vmap(train))(keys, hypers) for train in (once, always))
    np.testing.assert_allclose(found.state.params, expected.state.params, rtol=1e-6)
    assert len(calls) == 1  # traced once, outside the loops over blocks and steps


def test_best_snapshot_is_the_state_at_the_best_probe_and_patience_freezes_the_lane():
    probe = {"val": lambda state, key: {"score": jnp.where(state.step == 4, 10.0, -state.step.astype(jnp.float32))}}
    train = trained(num_steps=20, probe_every=2, probes=probe, best=BestRule("val/score", "max", patience=2))
    fit = jax.jit(train)(KEY)
    four = jax.jit(trained(num_steps=4))(KEY)
    np.testing.assert_array_equal(fit.state.best.params, four.state.params)
    assert int(fit.state.best.step) == 4
    assert int(fit.stopped_at) == 10
    assert int(fit.state.step) == 10
    np.testing.assert_array_equal(fit.history["val/score"][5:], fit.history["val/score"][4])


def test_a_lane_stops_at_its_target_and_keeps_its_last_row():
    probe = {"val": lambda state, key: {"score": state.step.astype(jnp.float32)}}
    train = trained(num_steps=20, probe_every=2, probes=probe, best=BestRule("val/score", target=6.0))
    fit = jax.jit(train)(KEY)
    assert int(fit.stopped_at) == int(fit.state.step) == int(fit.state.best.step) == 6
    np.testing.assert_array_equal(fit.history["val/score"], [2, 4, 6, 6, 6, 6, 6, 6, 6, 6])
    never = jax.jit(trained(num_steps=4, probe_every=2, probes=probe, best=BestRule("val/score", target=7.0)))(KEY)
    assert int(never.stopped_at) == -1
    falling = {"val": lambda state, key: {"score": -state.step.astype(jnp.float32)}}
    low = BestRule("val/score", "min", target=-3.5)
    assert int(jax.jit(trained(num_steps=8, probe_every=2, probes=falling, best=low))(KEY).stopped_at) == 4


def test_min_mode_ignores_values_that_are_not_finite():
    probe = {"val": lambda state, key: {"loss": jnp.where(state.step < 3, jnp.nan, state.step.astype(jnp.float32))}}
    fit = trained(num_steps=5, probe_every=1, probes=probe, best=BestRule("val/loss", "min"))(KEY)
    assert int(fit.state.best.step) == 3
    assert int(fit.stopped_at) == -1


def test_the_best_snapshot_can_be_of_the_averaged_parameters_that_were_judged():
    seen = {"val": lambda state, key: {"score": -jnp.abs(state.step - 4).astype(jnp.float32), "mean": state.average}}
    options = {"num_steps": 8, "probe_every": 2, "probes": seen, "average_decay": 0.9}
    fit = jax.jit(trained(**options, best=BestRule("val/score", of="average")))(KEY)
    assert int(fit.state.best.step) == 4
    np.testing.assert_array_equal(fit.state.best.params, fit.history["val/mean"][1])
    assert not np.array_equal(fit.state.best.params, jax.jit(trained(num_steps=4))(KEY).state.params)
    with pytest.raises(ValueError, match=r"best.of: 'average' needs an average_decay"):
        trained(best=BestRule("val/score", of="average"))


@given(decay=st.floats(0.0, 0.99))
def test_parameter_average_is_the_debiased_exponential_mean(decay):
    train = trained(num_steps=5, average_decay=decay, probes={"p": lambda s, k: {"p": s.params}}, probe_every=1)
    fit = train(KEY)
    weights = decay ** np.arange(4, -1, -1.0)
    expected = np.average(np.asarray(fit.history["p/p"]), axis=0, weights=weights)
    np.testing.assert_allclose(fit.state.average, expected, rtol=2e-4, atol=1e-5)


def test_first_step_that_is_not_finite_is_kept():
    fit = trained(optax.sgd(1e30), num_steps=10)(KEY)
    assert 0 < int(fit.diverged_at) < 10
    assert int(trained(num_steps=10)(KEY).diverged_at) == -1


def test_state_carried_by_the_objective_replaces_entries_of_the_parameters():
    model = Model(lambda key: {"params": jnp.ones(()), "count": jnp.zeros(())}, lambda p, x: p["params"])

    def objective(params, batch, hyper, key):
        return params["params"] ** 2, Aux({"seen": params["count"]}, {"count": params["count"] + 1})

    with jax.numpy_dtype_promotion("standard"):  # optax's own bias correction mixes integers and floats
        fit = make_train(model, objective, optax.adamw(0.1), sampler, num_steps=3)(KEY)
    assert float(fit.state.params["count"]) == 3.0


def test_single_lane_passes_the_key_reuse_checker():
    model, _ = quadratic()

    def noisy(params, batch, hyper, key):
        loss = jnp.sum((params - batch + jax.random.normal(key, (3,))) ** 2)
        return loss, {"loss": loss}

    def draw(key, step):
        return jax.random.normal(jax.random.fold_in(key, step), (3,))

    probe = {"eval": lambda state, key: {"noise": jax.random.normal(key)}}
    train = make_train(model, noisy, optax.sgd(0.1), draw, probe, num_steps=4, probe_every=2)
    with jax.debug_key_reuse(True):
        fit = jax.jit(train)(jax.random.key(3))
    noise = np.asarray(fit.history["eval/noise"])
    assert noise[0] != noise[1]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"num_steps": 5, "probe_every": 2}, "probe_every: 2"),
        ({"num_steps": 5, "probe_every": 0}, "probe_every: 0"),
        ({"average_decay": 1.0}, "average_decay: 1.0"),
    ],
)
def test_impossible_counts_are_refused(options, line):
    with pytest.raises(ValueError, match=line):
        trained(**options)


def test_unknown_best_metric_is_named():
    with pytest.raises(KeyError, match="val/acc"):
        trained(best=BestRule("val/acc"))(KEY)
