"""Full-batch training on coloured digits: the objective and probes against plain formulas, and no copies of pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlrisk import prng
from mlrisk.data import load
from mlrisk.data.coloured import ColouredSampler, GreyDigits, grey_digits, paint
from mlrisk.errors import BadInput
from mlrisk.harness import make_train
from mlrisk.harness.colour_blocks import coloured_mlp
from mlrisk.harness.coloured import HeldOutDomainsProbe, TrainingDomainsProbe, domain_objective
from mlrisk.harness.coloured_runs import ColouredSetting, coloured_train, grey_parts, penalties
from mlrisk.harness.coloured_search import WIDTHS, draw_settings
from mlrisk.objectives.domains import METHODS, at_step
from mlrisk.types import Examples

SOURCE = load("digits").train
DIGITS = grey_digits(Examples(SOURCE.inputs[:203], SOURCE.labels[:203]))
NOISE = jnp.asarray([0.2, 0.1])
MODEL = coloured_mlp(6, 16)
SAMPLER = ColouredSampler(DIGITS, NOISE)
KEY = jax.random.key(0)


def plain(params, batch, weight):
    """V-REx on whole painted pictures, written out."""
    drawn = batch.colouring
    logits = MODEL.painted.apply(params, paint(batch.pictures, drawn.colours))[:, 0]
    losses = optax.sigmoid_binary_cross_entropy(logits, drawn.labels.astype(jnp.float32))
    first, second = (losses[drawn.domains == d].mean() for d in range(2))
    squares = sum((leaf**2).sum() for leaf in jax.tree.leaves(params))
    return (first + second + 0.001 * squares + weight * (first - second) ** 2) / max(weight, 1)


@pytest.mark.parametrize("weight", [0.5, 300.0])
@pytest.mark.parametrize("block_size", [50, 1000])
def test_the_objective_is_the_published_one(weight, block_size):
    params, batch = MODEL.painted.init(KEY), SAMPLER(KEY, jnp.int32(0))
    one = jax.tree.map(lambda leaf: leaf[0], penalties(["v_rex"], ColouredSetting(weight=weight, switch=0)))
    objective = domain_objective(MODEL, 2, block_size=block_size)
    (loss, metrics), grads = jax.value_and_grad(objective, has_aux=True)(params, batch, at_step(one, 0), KEY)
    expected, gradient = jax.value_and_grad(plain)(params, batch, weight)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6), grads, gradient)
    assert metrics.keys() == {"risk", "variance", "slope"}


@jax.numpy_dtype_promotion("standard")  # optax counts in int32
def test_lanes_of_all_methods_train_and_probes_judge_their_own_domains():
    setting = ColouredSetting(6, steps=40, switch=20, learning_rate=0.01, weight=100.0)
    probes = {
        "train": TrainingDomainsProbe(SAMPLER, MODEL, 2),
        "test": HeldOutDomainsProbe(DIGITS, jnp.asarray([0.9]), 0.25, MODEL),
    }
    train = coloured_train(MODEL, domain_objective(MODEL, 2), setting, SAMPLER, probes, 40)
    train = make_train(MODEL.painted, train.objective, train.optimizer, SAMPLER, probes, 40, schedule=at_step)
    lanes = penalties(METHODS, setting)
    fit = jax.jit(jax.vmap(train, (None, 0)))(KEY, lanes)
    batch = SAMPLER(prng.stream(KEY, "data"), jnp.int32(0))
    for lane in range(len(METHODS)):
        params = jax.tree.map(lambda leaf, i=lane: leaf[i], fit.state.params)
        logits = MODEL.painted.apply(params, paint(batch.pictures, batch.colouring.colours))[:, 0]
        right = (logits > 0) == (batch.colouring.labels == 1)
        each = [right[batch.colouring.domains == d].mean() for d in range(2)]
        np.testing.assert_allclose(fit.history["train/accuracies"][lane, 0], each, rtol=1e-5)
        np.testing.assert_allclose(fit.history["train/accuracy"][lane, 0], np.mean(each), rtol=1e-5)
    risks = np.asarray(fit.history["train/risks"][:, 0])
    erm, v_rex = METHODS.index("erm"), METHODS.index("v_rex")
    assert np.ptp(risks[v_rex]) < np.ptp(risks[erm])
    assert 0 <= fit.history["test/accuracy"].min() <= fit.history["test/accuracy"].max() <= 1


def test_ten_lanes_hold_no_copies_of_the_pictures(as_a_user):
    count = 20_000
    digits = GreyDigits(jnp.ones((count, 196)), (jnp.arange(count) % 2).astype(jnp.int32))
    model, one = coloured_mlp(4, 196), ColouredSetting(4, steps=2)
    sampler = ColouredSampler(digits, NOISE)
    train = coloured_train(model, domain_objective(model, 2, block_size=250), one, sampler, {}, 2)
    hyper = jax.tree.map(lambda leaf: leaf[0], penalties(["v_rex"], one))
    lanes = jax.jit(lambda train, keys: jax.vmap(lambda key: train(key, hyper))(keys))
    with jax.numpy_dtype_promotion("standard"):
        need = lanes.lower(train, jax.random.split(KEY, 10)).compile().memory_analysis()
    assert need.temp_size_in_bytes < 3 * digits.pictures.nbytes


def test_random_settings_are_in_the_published_ranges():
    found = draw_settings(KEY, 400)
    assert set(found.hidden.tolist()) <= set(WIDTHS)
    for values, low, high in ((found.weight_decay, 1e-5, 1e-2), (found.learning_rate, 10**-3.5, 10**-2.5),
                              (found.switch, 50, 249), (found.weight, 1e2, 1e6)):  # fmt: skip
        assert low <= values.min() < values.max() <= high
    np.testing.assert_allclose(np.log10(found.weight).mean(), 4, atol=0.2)
    assert np.corrcoef(np.log(found.weight), np.log(found.learning_rate))[0, 1] < 0.15
    assert draw_settings(KEY, 400).switch.tolist() == found.switch.tolist()


def test_bad_input_is_one_line():
    with pytest.raises(BadInput, match="pool: 5000 is not below 1442, the training pictures"):
        grey_parts("digits", None, 5000)
    with pytest.raises(BadInput, match="method: 'rex' is not one of erm, group_dro, mm_rex, v_rex, irm_v1"):
        penalties(["rex"], ColouredSetting())
    with pytest.raises(BadInput, match="count: 0 is not a positive number"):
        draw_settings(KEY, 0)
