"""Numerics of the bijectors: far tails, plateaus, extreme parameters, normalisation, memory, and ordinary pytrees."""

import functools
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bijectors_table import MAKERS, QUICK, drawn

from mlrisk.bijectors import (
    MADE,
    DeepDenseSigmoidal,
    DeepSigmoidal,
    DenseLayer,
    coupling_flow,
    inverse_autoregressive_flow,
    neural_autoregressive_flow,
)

UNITS = 4
FAR = np.array([0.0, *(sign * 10.0**power for sign in (1, -1) for power in (0, 1, 2, 3, 4))])


def dense(params):
    return DeepDenseSigmoidal([DenseLayer(*layer) for layer in params])


MAPS = {"dsf": lambda params: DeepSigmoidal(*params[0]), "ddsf": dense}


def parameters(kind, draw, batch, depth=3, low=0.05, high=3.0, offset=2.0, logit=1.0):
    """Slopes log-uniform in [low, high], normal offsets and logits, for a batch of maps."""

    def normal(spread, *shape):
        return spread * draw.standard_normal(shape)

    def slopes():
        return np.exp(draw.uniform(np.log(low), np.log(high), (batch, UNITS)))

    if kind == "dsf":
        return [[slopes(), normal(offset, batch, UNITS), normal(logit, batch, UNITS)]]
    sizes = itertools.pairwise([1, *[UNITS] * (depth - 1), 1])
    return [
        [slopes(), normal(offset, batch, UNITS), normal(logit, batch, d), normal(logit, batch, UNITS),
         normal(logit, UNITS, d), normal(logit, e, UNITS)]
        for d, e in sizes
    ]  # fmt: skip


@functools.cache
def compiled(kind):
    """``(params, x) -> value, log-slope, its gradients, the way back and its gradients``; one function a kind."""

    def sums(params, x):
        y, log_slope = MAPS[kind](params).forward_and_log_det(x)
        return y.sum() + log_slope.sum(), (y, log_slope)

    def back(params, y):
        x, log_slope = MAPS[kind](params).inverse_and_log_det(y)
        return x.sum() + log_slope.sum(), (x, log_slope)

    def both(params, x):
        (_, (y, log_slope)), slopes = jax.value_and_grad(sums, (0, 1), has_aux=True)(params, x)
        (_, (x2, log_back)), slopes_back = jax.value_and_grad(back, (0, 1), has_aux=True)(params, y)
        return {"y": y, "log_slope": log_slope, "slopes": slopes, "x": x2, "log_back": log_back, "back": slopes_back,
                "again": MAPS[kind](params).forward(x2)}  # fmt: skip

    return jax.jit(both, compiler_options=QUICK)


def evaluated(kind, params, x, dtype=np.float32):
    given = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), (params, x))
    return jax.device_get(compiled(kind)(*given))


def all_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def tail(kind, params, x):
    """The straight line that a map of slopes in layers follows far out: (value, slope), by the smallest slope."""
    ((slopes, offsets, logits),) = params
    least = slopes.argmin(-1)[:, None]
    a, b, w = (np.take_along_axis(v, least, -1)[:, 0] for v in (slopes, offsets, logits))
    log_w = w - np.log(np.exp(logits).sum(-1))
    return a * x + b - np.sign(x) * log_w, np.log(a)


@pytest.mark.parametrize("kind", MAPS)
def test_all_is_finite_far_out(kind):
    params = parameters(kind, np.random.default_rng(0), len(FAR))
    out = evaluated(kind, params, FAR)
    assert all_finite(out)
    np.testing.assert_allclose(out["log_back"], -out["log_slope"], atol=2e-3)
    scale = np.exp(-out["log_slope"]) * np.maximum(np.abs(out["y"]), 1) + np.abs(FAR)
    assert (np.abs(out["x"] - FAR) <= 16 * np.finfo(np.float32).eps * scale).all()


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("x", [1e4, -1e4, 1e3, -1e3])
def test_tails_are_straight(x, dtype, rtol):
    """``y = a_min x + b_min -+ log w_min``, beyond all that rounding can see."""
    draw = np.random.default_rng(1)
    # apart by at least 0.1, so that 100 nats lie between the units at |x| = 1000
    slopes = draw.permuted(np.tile(0.2 + 0.3 * np.arange(UNITS), (len(FAR), 1)), axis=1)
    params = [[slopes, draw.standard_normal(slopes.shape), draw.standard_normal(slopes.shape)]]
    with jax.enable_x64(dtype == np.float64):
        out = evaluated("dsf", params, np.full(len(FAR), x), dtype)
    value, log_slope = tail("dsf", params, x)
    np.testing.assert_allclose(out["y"], value, rtol=rtol)
    # a difference of logarithms of the size of y
    np.testing.assert_allclose(out["log_slope"], log_slope, rtol=rtol, atol=2 * np.finfo(dtype).eps * abs(x))


def check_bounds(params, x, out):
    """Envelope, slope bound, and a residual of a few ulp after the way back (of DSF: what it is exact for)."""
    ((slopes, offsets, _),) = params
    eps, lines = np.finfo(np.float32).eps, slopes * x[:, None] + offsets
    size = np.maximum(np.abs(slopes * x[:, None]).max(-1) + np.abs(offsets).max(-1), 1)
    assert (lines.min(-1) - 8 * eps * size <= out["y"]).all()
    assert (out["y"] <= lines.max(-1) + 8 * eps * size).all()
    assert (out["log_slope"] <= np.log(slopes.max(-1)) + 8 * eps * size).all()


def check_way_back(kind, params, x, out):
    eps = np.finfo(np.float32).eps
    steepest = np.prod([layer[0].max(-1) for layer in params], axis=0)
    size = [np.abs(layer[0]).max(-1) + np.abs(layer[1]).max(-1) for layer in params]
    # rounding of a x + b in the first layer, and of what follows
    noise = eps * (1 + np.abs(out["y"]) + sum(size) + steepest * np.abs(out["x"]))
    assert (np.abs(out["again"] - out["y"]) <= 8 * noise).all()
    if kind == "dsf":
        check_bounds(params, x, out)


@pytest.mark.parametrize("kind", MAPS)
def test_plateaus(kind):
    """Slopes U(1, 50): flat stretches of e^-30 between steep ones."""
    draw = np.random.default_rng(2)
    params = parameters(kind, draw, 400, depth=2, offset=20.0)
    for layer in params:
        layer[0] = draw.uniform(1, 50, layer[0].shape)
    x = 3 * draw.standard_normal(400)
    out = evaluated(kind, params, x)
    assert np.isfinite(out["y"]).all()
    assert np.isfinite(out["x"]).all()
    assert np.isfinite(out["log_slope"]).all()
    assert out["log_slope"].min() < -8  # there are plateaus
    check_way_back(kind, params, x, out)


@pytest.mark.parametrize("kind", MAPS)
# a root on a plateau, found, from which one more Newton step would lead far away
@hypothesis.example(seed=448592, steep=3.2578125, offset=161.0, logit=32.4375, reach=0.125)
@hypothesis.given(
    seed=st.integers(0, 10**6),
    steep=st.floats(0, 8),
    offset=st.floats(0, 300),
    logit=st.floats(0, 60),
    reach=st.floats(-3, 4),
)
def test_extreme_parameters(kind, seed, steep, offset, logit, reach):
    draw = np.random.default_rng(seed)
    params = parameters(kind, draw, 16, 2, np.exp(-steep), np.exp(steep), offset, logit)
    x = 10**reach * draw.standard_normal(16)
    out = evaluated(kind, params, x)
    assert all_finite((out["y"], out["log_slope"], out["slopes"], out["x"], out["log_back"]))
    check_way_back(kind, params, x, out)


# factory, D, how far the grid must reach, structure
FLOWS = {
    "1 variable, dsf": (neural_autoregressive_flow, 1, 16, {"num_layers": 2}),
    "1 variable, ddsf": (neural_autoregressive_flow, 1, 16, {"num_layers": 1, "transformer": "ddsf"}),
    "2 variables, dsf": (neural_autoregressive_flow, 2, 16, {"num_layers": 2}),
    "2 variables, forward": (neural_autoregressive_flow, 2, 16, {"num_layers": 1, "parallel": "forward"}),
    "2 variables, coupling": (coupling_flow, 2, 28, {"num_layers": 2, "transformer": "dsf", "mixing": "lu", "parallel": "inverse"}),
}  # fmt: skip


def log_density(flow, params, x):
    noise, log_det = flow.bijector(params).inverse_and_log_det(x)
    return log_det - 0.5 * (noise**2 + jnp.log(2 * jnp.pi)).sum(-1)


@pytest.mark.parametrize("name", FLOWS)
def test_densities_integrate_to_one(name):
    """By the trapezoid rule, which is exact to rounding for what is smooth and vanishes at the ends."""
    factory, size, reach, options = FLOWS[name]
    with jax.enable_x64(True):
        flow = factory(size, hidden_sizes=(8,), units=4, dtype=jnp.float64, **options)
        params = drawn(jax.eval_shape(flow.init, jax.random.key(0)), seed=3, spread=0.2)
        axis = np.linspace(-reach, reach, 2401 if size == 1 else 14 * reach + 1)
        grid = np.stack(np.meshgrid(*[axis] * size), -1)
        values = jax.jit(functools.partial(log_density, flow), compiler_options=QUICK)(params, grid)
        density = np.exp(values)
    assert density.max() < 10  # nothing between the points of the grid
    assert max(density[0].max(), density[-1].max()) < 1e-7
    assert density.sum() * (axis[1] - axis[0]) ** size == pytest.approx(1, abs=1e-6)


def test_memory_of_dense_maps_is_linear_in_units():
    sizes = []
    for units in (8, 16, 32, 64):
        flow = neural_autoregressive_flow(4, transformer="ddsf", num_layers=1, hidden_sizes=(8,), units=units)
        gradient = jax.jit(jax.grad(lambda p, x, flow=flow: log_density(flow, p, x).sum()), compiler_options=QUICK)
        shapes = jax.eval_shape(flow.init, jax.random.key(0)), jax.ShapeDtypeStruct((512, 4), jnp.float32)
        sizes.append(gradient.lower(*shapes).compile().memory_analysis().temp_size_in_bytes)
    growth = np.diff(sizes) / np.array([8, 16, 32])
    assert (growth > 0).all()
    assert growth.max() <= 1.3 * growth.min(), sizes


@pytest.mark.parametrize("name", MAKERS)
def test_leaves_are_parameters_and_context_alone(name):
    """No mask and no permutation is traced or differentiated: whatever is a leaf is a floating-point number."""
    maker = MAKERS[name]
    shapes = jax.eval_shape(lambda key: maker.init(key, jnp.float32), jax.random.key(0))
    params, context = jax.tree.map(jnp.asarray, drawn((shapes, np.zeros((2, maker.context))), seed=4))
    params, context = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (params, context))
    leaves = jax.tree.leaves(maker.bijector(params, context if maker.context else None))
    assert all(isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32 for leaf in leaves)
    if not name.startswith(("sigmoidal", "dense")):  # those are given functions of the parameters
        own = {id(leaf) for leaf in jax.tree.leaves((params, context if maker.context else None))}
        assert {id(leaf) for leaf in leaves} == own


def test_bijectors_themselves_can_be_differentiated():
    flow = neural_autoregressive_flow(3, num_layers=2, hidden_sizes=(6,), units=3, order="random", context_size=1)
    shapes = jax.eval_shape(flow.init, jax.random.key(0)), np.ones((2, 1)), np.ones((2, 3))
    params, context, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), drawn(shapes, 7, 0.3))
    whole = jax.jit(jax.grad(lambda bijector: bijector.inverse(x).sum()), compiler_options=QUICK)(
        flow.bijector(params, context)
    )
    wanted = jax.jit(jax.grad(lambda p: flow.bijector(p, context).inverse(x).sum()), compiler_options=QUICK)(params)
    found = [leaf for layer in whole._bijector._bijectors[::-1] for leaf in jax.tree.leaves(layer._params)]
    for one, other in zip(found, jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_seeds_train_side_by_side_with_optax():
    flow = inverse_autoregressive_flow(2, num_layers=2, hidden_sizes=(8,), parallel="inverse")
    optimizer, keys = optax.adam(1e-2), jax.random.split(jax.random.key(0), 3)
    x = np.float32(1 + 0.3 * np.random.default_rng(5).standard_normal((64, 2)))

    def loss(params, x):
        return -log_density(flow, params, x).mean()

    @functools.partial(jax.vmap, in_axes=(0, None))
    def train(key, x):
        def step(state, _):
            params, memory = state
            value, slopes = jax.value_and_grad(loss)(params, x)
            updates, memory = optimizer.update(slopes, memory, params)
            return (optax.apply_updates(params, updates), memory), value

        params = flow.init(key)
        return jax.lax.scan(step, (params, optimizer.init(params)), None, 100)

    with jax.numpy_dtype_promotion("standard"):  # optax counts in int32
        ahead = jax.jit(train, compiler_options=QUICK).lower(keys, x).compile()
    (params, _), losses = ahead(keys, x)
    assert len({float(value) for value in losses[:, 0]}) == 3
    # the entropy of the data is 2 (1.42 + log 0.3) = 0.43
    assert (losses[:, 0] > 2).all()
    assert (losses[:, -1] < 0.7).all()
    assert all(len(leaf) == 3 for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("repeats", [1, 3])
def test_wide_masked_kernels_are_products_with_masked_kernels(repeats):
    """The masked network is the dense one with its kernels masked: the same numbers."""
    made = MADE(5, repeats, (300, 270))
    shapes = jax.eval_shape(made.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), drawn(shapes, 0, 0.1))
    x = np.float32(np.random.default_rng(6).standard_normal((7, 5)))
    hidden = x
    for number, (masked, own) in enumerate(zip(made.maps(), params, strict=True)):
        hidden = np.where(number > 0, np.where(hidden > 0, hidden, np.expm1(np.minimum(hidden, 0))), hidden)
        hidden = hidden @ np.where(masked.mask(), own["kernel"], 0) + np.asarray(own["bias"])
    places = jax.jit(made.apply, compiler_options=QUICK)([own | {"kernel": 0 * own["kernel"], "bias": jnp.arange(len(own["bias"]), dtype=jnp.float32)}
                         for own in params], jnp.zeros(5))  # fmt: skip
    wanted = hidden[:, np.asarray(places, int)]
    np.testing.assert_allclose(jax.jit(made.apply, compiler_options=QUICK)(params, x), wanted, rtol=1e-5, atol=1e-6)
