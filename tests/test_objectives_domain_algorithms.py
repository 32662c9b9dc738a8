"""The algorithms of DomainBed: each loss is its formula, state is carried, switches switch, draws keep their laws."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlrisk import objectives, prng
from mlrisk.data.domain_splits import DomainSampler
from mlrisk.data.rotated import rotated_domains
from mlrisk.errors import BadInput
from mlrisk.harness import make_train
from mlrisk.objectives.discriminators import confusion, init_discriminator
from mlrisk.objectives.domain_algorithms import ALGORITHMS, find_algorithm
from mlrisk.objectives.domain_hyperparameters import (
    HYPERPARAMETERS,
    common_hyperparameters,
    draw_hyperparameters,
    stacked,
)
from mlrisk.objectives.domain_training import algorithm_model, algorithm_objective, algorithm_optimizer, at_step
from mlrisk.objectives.featurised import FeaturisedModel, apply_linear, init_linear
from mlrisk.types import Examples

M, N, D, C = 3, 8, 4, 3
KEY = jax.random.key(0)


def init(key):
    one, other = prng.streams(key, "features", "head")
    return {"features": init_linear(one, 5, D), "head": init_linear(other, D, C)}


@pytest.fixture
def promoting():
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to the power of an integer count
        yield


NETWORK = FeaturisedModel(init, lambda params, x: jnp.tanh(apply_linear(params["features"], x)), D, C)
BATCH = Examples(
    jax.random.normal(jax.random.key(1), (M, N, 5)) * jnp.asarray([1.0, 2.0, 3.0]).reshape(3, 1, 1),
    jnp.arange(M * N, dtype=jnp.int32).reshape(M, N) % C,
)


def hyper_of(name, step=10_000, **changed):
    point = {k: jnp.float32(v) for k, v in draw_hyperparameters(KEY, name, 0).items()}
    return point | {k: jnp.float32(v) for k, v in changed.items()} | {"step": jnp.int32(step)}


@functools.cache
def compiled(name):
    objective = algorithm_objective(name, NETWORK)
    return jax.jit(lambda params, batch, hyper: objective(params, batch, hyper, KEY))


@functools.cache
def start(name, num_domains=M):
    return jax.jit(algorithm_model(name, NETWORK, num_domains).init)(KEY)


def seen(batch=BATCH, params=None):
    """Features, logits and risks of the network that every algorithm starts from."""
    params = start("ERM") if params is None else params
    features = NETWORK.features(params, batch.inputs)
    logits = apply_linear(params["head"], features)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels)
    return features, logits, losses.mean(1)


def irm(logits):
    pairs = zip(logits, BATCH.labels, strict=True)
    return jnp.mean(jnp.stack([objectives.irm_v1_penalty(z, y, estimator="halves") for z, y in pairs]))


CASES = (
    ("ERM", {}), ("IRM", {"step": 500}), ("IRM", {"step": 499}), ("GroupDRO", {}), ("VREx", {"step": 500}),
    ("VREx", {"step": 499}), ("CORAL", {}), ("MMD", {}), ("SD", {}), ("Fishr", {"step": 1500}),
    ("Fishr", {"step": 1499}), ("IB_ERM", {"step": 500}), ("IB_ERM", {"step": 499}), ("IB_IRM", {"step": 500}),
    ("EQRM", {"step": 2499}), ("EQRM", {"step": 2500}),
)  # fmt: skip


@jax.jit
def formulas(params):
    """What the cases must give, in their order."""
    features, logits, risks = seen(params=params)
    mean, variance = risks.mean(), risks.var()
    q = jax.nn.softmax(0.01 * risks)
    bottleneck = features.var(1, ddof=1).mean()
    fishr = objectives.fishr_penalty(objectives.last_layer_variances(features, logits, BATCH.labels))
    coral, mmd = objectives.coral_penalty(features), objectives.mmd_penalty(features)
    return [
        mean, mean + 100 * irm(logits), mean + irm(logits), (q * risks).sum(), mean + 10 * variance,
        mean + variance, mean + coral, mean + mmd, mean + 0.1 * (logits**2).mean(), mean + 1000 * fishr,
        mean, mean + 100 * bottleneck, mean, mean + 100 * bottleneck + 100 * irm(logits),
        mean, objectives.eqrm(risks, 0.75),
    ]  # fmt: skip


def test_every_loss_is_its_formula():
    for (name, changed), expected in zip(CASES, formulas(start("ERM")), strict=True):
        loss, _ = compiled(name)(start(name), BATCH, hyper_of(name, **changed))
        np.testing.assert_allclose(loss, expected, rtol=2e-4, atol=1e-5, err_msg=f"{name} {changed}")


def test_iga_is_the_spread_of_the_domains_gradients():
    params = start("IGA")

    def risk(params, domain):
        one = Examples(BATCH.inputs[domain], BATCH.labels[domain])
        losses = optax.softmax_cross_entropy_with_integer_labels(NETWORK.apply(params, one.inputs), one.labels)
        return losses.mean()

    gradients = [jax.flatten_util.ravel_pytree(jax.grad(risk)(params, domain))[0] for domain in range(M)]
    spread = np.sum((np.stack(gradients) - np.mean(gradients, axis=0)) ** 2)
    loss, _ = compiled("IGA")(params, BATCH, hyper_of("IGA"))
    np.testing.assert_allclose(loss, seen()[2].mean() + 1000 * spread, rtol=1e-3)


def test_discriminators_learn_and_features_unlearn():
    features, labels = seen()[0], BATCH.labels
    for name, classes in (("DANN", 0), ("CDANN", C)):
        own = init_discriminator(KEY, D, M, num_classes=classes, width=6)
        given = labels if classes else None
        gradient = jax.jit(jax.grad(lambda f, d, strength, given=given: confusion(d, f, strength, given), (0, 1)))
        of_features, of_own = gradient(features, own, jnp.float32(2))
        plain, own_plain = gradient(features, own, jnp.float32(-1))
        np.testing.assert_allclose(of_features, -2 * plain, rtol=1e-4, atol=1e-7)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), of_own, own_plain)
        params = start(name)
        loss, _ = compiled(name)(params, BATCH, hyper_of(name))
        shown = features if not classes else features + params["discriminator"]["classes"][labels]
        values = shown
        for layer in params["discriminator"]["layers"][:-1]:
            values = jax.nn.relu(apply_linear(layer, values))
        scores = apply_linear(params["discriminator"]["layers"][-1], values)
        apart = objectives.domain_confusion(scores, given, C if classes else 0)
        np.testing.assert_allclose(loss, seen()[2].mean() + apart, rtol=1e-4)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_one_training_domain_has_no_penalty_across_domains(name):
    one = jax.tree.map(lambda leaf: leaf[:1], BATCH)
    loss, aux = compiled(name)(start(name, 1), one, hyper_of(name, **{k: 0.0 for k in ("irm_lambda", "ib_lambda")
                                                                      if k in HYPERPARAMETERS[name]}))  # fmt: skip
    logits = seen(one)[1]
    extra = 0.1 * (logits**2).mean() if name == "SD" else 0.0
    np.testing.assert_allclose(loss, seen(one)[2].mean() + extra, rtol=1e-4)
    assert jax.tree.structure(aux.metrics) == jax.tree.structure({"risk": 0, "spread": 0})


DIGITS = rotated_domains(
    jax.random.uniform(KEY, (60, 5, 1)), jnp.arange(60, dtype=jnp.int32) % C, (0.0, 180.0, 0.0, 180.0)
)


@pytest.mark.parametrize("name", ["GroupDRO", "Fishr", "IB_IRM", "EQRM", "CDANN"])
def test_algorithms_train_and_carry_their_state(name, promoting):
    network = NETWORK._replace(features=lambda params, x: NETWORK.features(params, x[..., 0, 0]))
    point = draw_hyperparameters(KEY, name, 0, num_steps=10)
    hyper = jax.tree.map(lambda leaf: leaf[0], stacked([point])) | {"domains": jnp.asarray([0, 1, 3], jnp.int32)}
    train = make_train(
        algorithm_model(name, network, M),
        algorithm_objective(name, network),
        algorithm_optimizer(name),
        DomainSampler(DIGITS, 4),
        num_steps=6,
        schedule=at_step,
    )
    fit = jax.jit(lambda train, hyper: train(KEY, hyper))(train, hyper)
    first = train.model.init(prng.stream(KEY, "init"))
    assert fit.diverged_at == -1
    assert float(jnp.abs(fit.state.params["head"]["kernel"] - first["head"]["kernel"]).max()) > 0
    if name == "GroupDRO":
        np.testing.assert_allclose(fit.state.params["group_weights"].sum(), 1, rtol=1e-5)
        assert float(jnp.abs(fit.state.params["group_weights"] - 1 / M).max()) > 1e-4
    if name == "Fishr":
        np.testing.assert_allclose(fit.state.params["fishr"].weight, 1 - 0.95**6, rtol=1e-4)
    if name == "CDANN":
        assert (
            float(jnp.abs(fit.state.params["discriminator"]["classes"] - first["discriminator"]["classes"]).max()) > 0
        )


def updates(name, hyper, steps, grads, params):
    optimizer = algorithm_optimizer(name)(hyper)

    def step(state, _):
        found, state = optimizer.update(grads, state, params)
        return state, found

    return jax.jit(lambda: jax.lax.scan(step, optimizer.init(params), None, length=steps)[1])()


def test_optimisers_start_afresh_and_decay_what_is_trained(promoting):
    params = {"features": jnp.float32(2.0), "head": jnp.float32(0.0), "discriminator": jnp.float32(5.0)}
    grads = {"features": jnp.float32(1.0), "head": jnp.float32(1.0), "discriminator": jnp.float32(1.0)}
    plain = updates("ERM", hyper_of("ERM"), 5, grads, params)
    np.testing.assert_allclose(plain["head"], np.full(5, -1e-3), rtol=1e-4)
    decayed = updates("ERM", hyper_of("ERM", weight_decay=-1.0), 5, grads, params)
    assert float(decayed["features"][0]) > 0  # 1 - 2 < 0: the decay is in the gradient that Adam sees
    np.testing.assert_allclose(decayed["discriminator"], plain["discriminator"], rtol=1e-6)
    eqrm = updates("EQRM", hyper_of("EQRM", eqrm_burnin_iters=3.0), 5, grads, params)["head"]
    np.testing.assert_allclose(eqrm, [-1e-3] * 3 + [-1e-6] * 2, rtol=1e-4)
    # after a large gradient Adam takes small steps for long, unless it is made anew
    first = {name: value * 0 + 1e3 for name, value in grads.items()}
    optimizer = algorithm_optimizer("IRM")(hyper_of("IRM", irm_penalty_anneal_iters=2.0))
    state = optimizer.init(params)
    sizes = []
    for step in range(4):
        found, state = optimizer.update(first if step < 2 else {**grads, "head": jnp.float32(-1.0)}, state, params)
        sizes.append(float(found["head"]))
    np.testing.assert_allclose(sizes, [-1e-3, -1e-3, 1e-3, 1e-3], rtol=1e-4)


def test_the_first_draw_has_the_defaults_and_others_keep_their_laws():
    assert set(HYPERPARAMETERS) == set(ALGORITHMS)
    point = draw_hyperparameters(KEY, "VREx", 0)
    assert (point["learning_rate"], point["batch_size"]) == (1e-3, 64)
    assert (point["vrex_lambda"], point["vrex_penalty_anneal_iters"]) == (10, 500)
    for draw in range(1, 6):
        point = draw_hyperparameters(KEY, "Fishr", draw, pictures="large")
        for name, each in {**common_hyperparameters("large"), **HYPERPARAMETERS["Fishr"]}.items():
            ends = each.ends
            if each.law in ("power10", "power2"):
                ends = tuple((10 if each.law == "power10" else 2) ** end for end in each.ends)
            if name == "batch_size":  # the nearest power of 2
                assert math.log2(point[name]).is_integer()
                assert 8 <= point[name] <= 64
            elif each.law == "choice":
                assert point[name] in ends
            else:
                assert min(ends) <= point[name] <= max(ends)


def test_draws_are_streams_by_name_and_scale_with_the_run():
    irm, both = (draw_hyperparameters(KEY, name, 3) for name in ("IRM", "IB_IRM"))
    assert irm.items() <= both.items()
    assert draw_hyperparameters(KEY, "IRM", 4)["irm_lambda"] != irm["irm_lambda"]
    shorter = draw_hyperparameters(KEY, "IRM", 0, num_steps=500)
    assert shorter["irm_penalty_anneal_iters"] == int(500 * 500 / 5001)
    assert shorter["irm_lambda"] == 100
    found = stacked([irm, shorter])
    np.testing.assert_allclose(found["irm_lambda"], [irm["irm_lambda"], 100], rtol=1e-6)


def test_features_are_dropped_at_the_lanes_rate():
    objective = jax.jit(algorithm_objective("ERM", NETWORK, drops=True))
    kept, _ = objective(start("ERM"), BATCH, hyper_of("ERM"), KEY)
    np.testing.assert_allclose(kept, seen()[2].mean(), rtol=1e-5)
    dropped, _ = objective(start("ERM"), BATCH, hyper_of("ERM", resnet_dropout=0.5), KEY)
    assert abs(float(dropped - kept)) > 1e-4


def test_bad_input():
    with pytest.raises(BadInput, match="algorithms: 'REX' is not one of ERM, IRM"):
        find_algorithm("REX")
    with pytest.raises(BadInput, match="algorithms: 'Rex' is not one of"):
        draw_hyperparameters(KEY, "Rex", 0)
    with pytest.raises(BadInput, match="draw: -1 is not zero or more"):
        draw_hyperparameters(KEY, "ERM", -1)


def test_bad_words_of_the_search(as_a_user):
    with pytest.raises(BadInput, match="pictures: 'huge' is not one of small, large"):
        draw_hyperparameters(KEY, "ERM", 0, pictures="huge")
