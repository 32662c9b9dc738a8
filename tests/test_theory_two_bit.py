"""The two-bit model of coloured digits: exact optima of every objective, to the dossier's three decimals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from mlrisk import objectives
from mlrisk.errors import BadInput
from mlrisk.theory.two_bit import population_accuracy, population_optimum, population_risk, population_scale_slope

TRAIN = (0.2, 0.1)


def risks(predictor):
    return jnp.stack([population_risk(predictor, noise) for noise in TRAIN])


def irm(weight):
    slopes = lambda p: jnp.stack([population_scale_slope(p, noise) for noise in TRAIN])  # noqa: E731
    return lambda p: objectives.erm(risks(p)) + weight * jnp.mean(slopes(p) ** 2)


OBJECTIVES = {
    "ERM": lambda p: objectives.erm(risks(p)),
    "V-REx 10": lambda p: objectives.v_rex(risks(p), 4 * 10.0),
    "V-REx 100": lambda p: objectives.v_rex(risks(p), 4 * 100.0),
    "V-REx 1e3": lambda p: objectives.v_rex(risks(p), 2 * 1e3, ddof=1),
    "V-REx 1e4": lambda p: objectives.v_rex(risks(p), 4 * 1e4),
    "RI": lambda p: 2 * objectives.group_dro(risks(p)),
    "MM-REx 1e4": lambda p: 2 * objectives.mm_rex(risks(p), (1 - 1e4) / 2),
    "IRMv1 100": irm(100.0),
    "IRMv1 1e4": irm(1e4),
}
# u, v and the risks at colour noise 0.2, 0.1 and 0.9
TABLE = {
    "ERM": (2.8332, -0.6360, 0.4229, 0.2860, 1.3813),
    "RI": (2.4849, -0.2877, 0.4153, 0.3076, 1.1690),
    "V-REx 10": (2.2564, -0.0592, 0.4188, 0.3298, 1.0423),
    "V-REx 100": (1.4488, 0.7484, 0.4948, 0.4685, 0.6792),
    "V-REx 1e3": (1.1438, 1.0535, 0.5524, 0.5490, 0.5761),
    "V-REx 1e4": (1.1033, 1.0940, 0.5613, 0.5609, 0.5637),
    "MM-REx 1e4": (1.0986, 1.0986, 0.5623, 0.5623, 0.5623),
    "IRMv1 100": (2.5573, 0.3426, 0.4327, 0.3542, 0.9818),
    "IRMv1 1e4": (1.1640, 1.0941, 0.5547, 0.5521, 0.5729),
}


@pytest.mark.parametrize("name", TABLE)
def test_optima_of_the_population(name):
    with jax.enable_x64(True):
        value = jax.jit(jax.value_and_grad(OBJECTIVES[name]))
        start = np.asarray([1.2, 1.0]) if "1e" in name else np.asarray([2.0, 0.5])
        smooth = name not in ("RI", "MM-REx 1e4")
        if smooth:
            found = minimize(lambda p: tuple(map(np.asarray, value(jnp.asarray(p)))), start, jac=True, method="BFGS",
                             options={"gtol": 1e-10}).x  # fmt: skip
        else:  # a ridge where the risks are equal: searched without gradients
            found = minimize(lambda p: float(value(jnp.asarray(p))[0]), start, method="Nelder-Mead",
                             options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 20_000}).x  # fmt: skip
        predictor = jnp.asarray(found)
        got = [*found, *(float(population_risk(predictor, noise)) for noise in (0.2, 0.1, 0.9))]
    np.testing.assert_allclose(got, TABLE[name], atol=6e-4)


def test_risks_are_linear_in_the_colour_noise_and_the_mean_of_a_simulation():
    predictor = jnp.asarray([1.7, -0.4])
    ends = population_risk(predictor, 0.0), population_risk(predictor, 1.0)
    np.testing.assert_allclose(population_risk(predictor, 0.3), 0.7 * ends[0] + 0.3 * ends[1], rtol=1e-5)
    rng = np.random.default_rng(0)
    wrong, other = rng.random(400_000) < 0.25, rng.random(400_000) < 0.3
    agree = wrong == other  # the colour follows the label, so that two flips meet the shape again
    logit = np.where(agree, 1.7, -0.4)
    truth = np.where(wrong, -1, 1)
    np.testing.assert_allclose(population_risk(predictor, 0.3), np.log1p(np.exp(-truth * logit)).mean(), rtol=5e-3)
    np.testing.assert_allclose(population_accuracy(predictor, 0.3), (truth * logit > 0).mean(), atol=3e-3)


@pytest.mark.parametrize(("predictor", "noise", "expected"), [((2.0, 0.5), 0.9, 0.75), ((2.0, -1.0), 0.9, 0.1),
                                                              ((2.0, -1.0), 0.1, 0.9), ((0.0, 0.0), 0.2, 0.5)])  # fmt: skip
def test_accuracy_of_shape_and_colour(predictor, noise, expected):
    np.testing.assert_allclose(population_accuracy(jnp.asarray(predictor), noise), expected, rtol=1e-6)


def test_a_probability_outside_its_range_is_refused():
    with pytest.raises(BadInput, match=r"colour_noise: 1.5 is not a probability in \[0, 1\]"):
        population_risk(jnp.ones(2), 1.5)


@pytest.mark.parametrize(("weight", "name"), [(0.0, "ERM"), (100.0, "V-REx 100"), (1e4, "V-REx 1e4")])
def test_the_optimum_in_single_precision(weight, name):
    np.testing.assert_allclose(population_optimum(weight), TABLE[name][:2], atol=5e-3)
