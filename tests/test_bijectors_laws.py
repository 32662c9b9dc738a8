"""Laws that every bijector must keep, over one table of constructors: float64, one compiled function for each."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bijectors_table import MAKERS, QUICK, Maker, drawn

ROWS = 4
STEP = 1e-6
SCALAR = [name for name in MAKERS if name.startswith(("sigmoidal", "dense"))]


FAST = (
    *(name for name in SCALAR if name != "sigmoidal, 1 unit"),
    *("permutation", "mixing", "mixing, 1 variable", "coupling, affine", "coupling, 1 variable"),
    *("autoregressive, affine", "autoregressive, affine, 1 variable", "autoregressive, spline, residual"),
    *("autoregressive, dsf", "autoregressive, dsf, 1 variable", "autoregressive, ddsf, residual"),
    *("naf, flips", "iaf", "maf", "coupling flow"),
)


def every(fast=FAST):
    """All names of the table; those that are not among ``fast`` are left to the slow run."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in MAKERS]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


class Case(NamedTuple):
    """A constructor, what it is given, and everything that the laws compare, from one compiled function."""

    maker: Maker
    given: tuple
    """(params, context, event): context is () where there is none."""
    laws: Callable[..., dict]
    at: dict
    """Forward at the event, and inverse at the same values."""


def loss(pair):
    """A number that depends on all values and log-determinants, differently on each."""
    values, log_det = pair
    weights = jnp.cos(jnp.arange(values.size, dtype=values.dtype)).reshape(values.shape)
    return (weights * values + jnp.sin(values)).sum() + (
        log_det * jnp.arange(1, log_det.size + 1, dtype=values.dtype)
    ).sum()


def functions(maker):
    def forward(params, context, x):
        return maker.bijector(params, context if maker.context else None).forward_and_log_det(x)

    def inverse(params, context, y):
        return maker.bijector(params, context if maker.context else None).inverse_and_log_det(y)

    return {"forward": forward, "inverse": inverse}


def all_laws(maker, params, context, event):
    out = {}
    for name, function in functions(maker).items():

        def total(*given, function=function):
            pair = function(*given)
            return loss(pair), pair

        (value, pair), slopes = jax.value_and_grad(total, (0, 1, 2), has_aux=True)(params, context, event)
        out[name] = {"pair": pair, "loss": value, "slopes": slopes}
    return out | {"rows": rows(maker, params, context, event)}


def rows(maker, params, context, event):
    """Jacobians of single events, by columns and by rows, under vmap."""

    def one(x, c):
        pair = functions(maker)["forward"](params, c, x)
        return pair[0], pair

    over = (0, 0 if maker.context else None)
    columns, pair = jax.vmap(jax.jacfwd(one, has_aux=True), over)(event, context)
    return {"columns": columns, "pair": pair, "rows": jax.vmap(jax.jacrev(lambda *a: one(*a)[0]), over)(event, context)}


@functools.cache
def case(name):
    maker = MAKERS[name]
    shapes = jax.eval_shape(lambda key: maker.init(key, jnp.float64), jax.random.key(0))
    rows_of = [jax.ShapeDtypeStruct((ROWS, size), jnp.float64) for size in (maker.context, maker.size)]
    context, event = drawn(rows_of, seed=len(name), spread=1.5)
    given = (drawn(shapes, 1, maker.spread), context if maker.context else (), event)
    compiled = jax.jit(functools.partial(all_laws, maker), compiler_options=QUICK)
    return Case(maker, given, lambda *at: jax.device_get(compiled(*at)), jax.device_get(compiled(*given)))


def moved(given, which, direction, by):
    """What a constructor is given, with one of its parts moved along a direction."""
    part = jax.tree.map(lambda leaf, way: leaf + by * way, given[which], direction)
    return (*given[:which], part, *given[which + 1 :])


def along(slopes, way):
    return sum(float((a * b).sum()) for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(way), strict=True))


def length(tree):
    return math.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("name", every())
def test_round_trips_within_the_slope(name):
    """Errors in x are those in y divided by the slope: the inverse Jacobian's size bounds them."""
    case_ = case(name)
    params, context, event = case_.given
    (y, log_det), (x, inverse_log_det) = (case_.at[way]["pair"] for way in ("forward", "inverse"))
    # what went forward comes back, and what came back goes forward again: the same compiled function
    there = case_.laws(params, context, x)
    back = case_.laws(params, context, y)
    eps = np.finfo(np.float64).eps
    stretch = np.linalg.norm(np.linalg.inv(case_.at["rows"]["columns"]), axis=(1, 2))[:, None]
    size = np.maximum(np.abs(y).max(-1, keepdims=True), 1) * case_.maker.size
    assert (np.abs(back["inverse"]["pair"][0] - event) <= 50 * eps * size * np.maximum(stretch, 1)).all()
    stretch = np.linalg.norm(np.asarray(there["rows"]["columns"]), axis=(1, 2))[:, None]
    size = np.maximum(np.abs(event), np.abs(x)).max(-1, keepdims=True).clip(1) * case_.maker.size
    assert (np.abs(there["forward"]["pair"][0] - event) <= 50 * eps * size * np.maximum(stretch, 1)).all()
    np.testing.assert_allclose(back["inverse"]["pair"][1], -log_det, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(there["forward"]["pair"][1], -inverse_log_det, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", every())
def test_log_det_is_that_of_the_jacobian(name):
    jacobian = case(name).at["rows"]["columns"]
    sign, wanted = np.linalg.slogdet(jacobian)
    assert (np.abs(sign) == 1).all()
    np.testing.assert_allclose(case(name).at["forward"]["pair"][1], wanted, rtol=1e-12, atol=1e-12)
    if name in SCALAR:
        slopes = np.log(np.diagonal(jacobian, axis1=1, axis2=2)).sum(-1)
        np.testing.assert_allclose(case(name).at["forward"]["pair"][1], slopes, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", every())
def test_the_jacobian_is_triangular_in_the_stated_order(name):
    jacobian, order = np.asarray(case(name).at["rows"]["columns"]), case(name).maker.order
    np.testing.assert_allclose(jacobian, case(name).at["rows"]["rows"], rtol=1e-12, atol=1e-13)  # jacfwd = jacrev
    if order is None:
        return
    sorted_ = jacobian[:, order, :][:, :, order]
    assert (np.triu(sorted_, 1) == 0).all()
    assert (np.diagonal(sorted_, axis1=1, axis2=2) > 0).all()
    if name.startswith(("auto", "naf", "maf")) and len(order) > 1:
        # and no triangle smaller than that: each variable sees all before it
        assert (np.abs(sorted_[:, *np.tril_indices(len(order), -1)]) > 0).all()


@pytest.mark.parametrize("name", every())
def test_single_events_are_rows_of_the_batch(name):
    for one, batch in zip(case(name).at["rows"]["pair"], case(name).at["forward"]["pair"], strict=True):
        np.testing.assert_allclose(one, batch, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("which", range(3), ids=["params", "context", "event"])
@pytest.mark.parametrize("name", every())
def test_gradients_against_finite_differences(name, which):
    case_ = case(name)
    if not jax.tree.leaves(case_.given[which]):
        return
    way = drawn(case_.given[which], which)
    above, below = (case_.laws(*moved(case_.given, which, way, by)) for by in (STEP, -STEP))
    for side in ("forward", "inverse"):
        slopes = case_.at[side]["slopes"][which]
        found = (above[side]["loss"] - below[side]["loss"]) / (2 * STEP)
        assert abs(found - along(slopes, way)) <= 1e-7 * (1 + length(slopes) * length(way)), side


@pytest.mark.parametrize("name", every(["sigmoidal, 1 variable", "dense sigmoidal of depth 2", "autoregressive, dsf"]))
def test_second_derivatives_of_the_inverse(name):
    """Differences of the gradients that the compiled laws give, against the derivative of the gradient."""
    case_ = case(name)
    params, context, event = case_.given
    ways = drawn(params, 3), drawn(event, 4)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def along_ways(at, context, ways):
        def gradients(params, event):
            inverse = functions(case_.maker)["inverse"]
            return jax.grad(lambda p, y: loss(inverse(p, context, y)), (0, 1))(params, event)

        return jax.jvp(gradients, at, ways)[1]

    found = jax.device_get(along_ways((params, event), context, ways))
    sides = [moved(moved(case_.given, 0, ways[0], by), 2, ways[1], by) for by in (STEP, -STEP)]
    above, below = (case_.laws(*side)["inverse"]["slopes"] for side in sides)
    for one, high, low in zip(found, above[::2], below[::2], strict=True):
        wanted = jax.tree.map(lambda a, b: (a - b) / (2 * STEP), high, low)
        off = length(jax.tree.map(np.subtract, one, wanted))
        assert off <= 1e-6 * (1 + length(wanted))


@pytest.mark.parametrize("name", every(["sigmoidal", "coupling, affine", "mixing"]))
def test_compiled_is_eager(name):
    case_ = case(name)
    for way, function in functions(case_.maker).items():
        for eager, compiled in zip(function(*jax.device_put(case_.given)), case_.at[way]["pair"], strict=True):
            np.testing.assert_allclose(eager, compiled, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", every(["sigmoidal", "autoregressive, dsf"]))
def test_vmap_over_parameters_is_a_loop(name):
    """Under an ordinary compilation, too."""
    case_ = case(name)
    given = [case_.given, moved(case_.given, 0, drawn(case_.given[0], 5), 0.05)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *given)
    for way, function in functions(case_.maker).items():
        # a bijector without parameters has nothing but its events to map over
        batched = jax.jit(jax.vmap(function))(*stacked)
        for number, one in enumerate(given):
            for together, alone in zip(batched, case_.laws(*one)[way]["pair"], strict=True):
                np.testing.assert_allclose(together[number], alone, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "name", every(["sigmoidal", "dense sigmoidal of depth 3", "autoregressive, ddsf, residual", "maf"])
)
def test_single_precision(name):
    case_, eps = case(name), np.finfo(np.float32).eps
    params, context, event = jax.tree.map(lambda leaf: leaf.astype(np.float32), case_.given)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both_ways(params, context, event):
        forward, inverse = functions(case_.maker).values()
        y, log_det = forward(params, context, event)
        return y, log_det, *inverse(params, context, y)

    y, log_det, x, inverse_log_det = jax.device_get(both_ways(params, context, event))
    assert {leaf.dtype for leaf in (y, log_det, x, inverse_log_det)} == {np.dtype(np.float32)}
    stretch = np.linalg.norm(np.linalg.inv(case_.at["rows"]["columns"]), axis=(1, 2))[:, None].clip(1)
    assert (np.abs(x - event) <= 50 * eps * np.abs(y).max(-1, keepdims=True).clip(1) * case_.maker.size * stretch).all()
    np.testing.assert_allclose(y, case_.at["forward"]["pair"][0], rtol=2e-5, atol=2e-5)
    for found, wanted in ((log_det, case_.at["forward"]["pair"][1]), (inverse_log_det, -log_det)):
        np.testing.assert_allclose(found, wanted, rtol=5e-5, atol=5e-5 * float(stretch.max()))
