"""distrax's own patterns of testing bijectors, on those that distrax lacks; the work of an inverse; peers as oracles."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bijectors_table import MAKERS, QUICK, drawn
from tensorflow_probability.substrates import jax as tfp

from mlrisk.bijectors import (
    MADE,
    Affine,
    Autoregressive,
    Permutation,
    Spline,
    init_params,
    masked_autoregressive_flow,
)

NAMES = ["coupling, affine", "autoregressive, affine", "autoregressive, dsf", "mixing"]


def made(name, seed=0):
    """A bijector of the table in float32, one row of context, and events of two leading axes."""
    maker = MAKERS[name]
    shapes = jax.eval_shape(lambda key: maker.init(key, jnp.float32), jax.random.key(0))
    trees = drawn((shapes, np.zeros(maker.context), np.zeros((2, 3, maker.size))), seed, 0.3)
    params, context, x = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), trees)
    return maker, params, context if maker.context else None, x


@pytest.mark.parametrize("name", MAKERS)
def test_properties(name):
    maker, params, context, _ = made(name)
    bijector = maker.bijector(params, context)
    assert isinstance(bijector, distrax.Bijector)
    assert (bijector.event_ndims_in, bijector.event_ndims_out) == (1, 1)
    constant = name.startswith(("permutation", "mixing"))
    assert (bijector.is_constant_jacobian, bijector.is_constant_log_det) == (constant, constant)
    assert isinstance(bijector.name, str)


@pytest.mark.parametrize("given", [(), (1,), (3,), (2, 3), (2, 1)], ids=str)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("name", ["coupling, affine", "autoregressive, dsf", "naf, flips", "mixing"])
def test_shapes_over_batch_shapes(name, batch, given):
    maker, params, _, _ = made(name)
    context = jnp.ones((*given, maker.context)) if maker.context else None
    wanted = np.broadcast_shapes(batch, given) if maker.context and 0 not in batch else batch
    if 0 in batch and maker.context and given not in ((), (1,)):
        return
    bijector = maker.bijector(params, context)
    for method in (bijector.forward_and_log_det, bijector.inverse_and_log_det):
        value, log_det = jax.eval_shape(method, jnp.ones((*batch, maker.size)))
        assert (value.shape, log_det.shape) == ((*wanted, maker.size), wanted)
        assert value.dtype == log_det.dtype == jnp.float32


@pytest.mark.parametrize("name", NAMES)
def test_composite_methods_agree(name):
    maker, params, context, x = made(name)

    def everything(params, context, x):
        b = maker.bijector(params, context)
        return ([b.forward_and_log_det(x), (b.forward(x), b.forward_log_det_jacobian(x))],
                [b.inverse_and_log_det(x), (b.inverse(x), b.inverse_log_det_jacobian(x))])  # fmt: skip

    for both, apart in jax.jit(everything, compiler_options=QUICK)(params, context, x):
        for one, other in zip(both, apart, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_compositions(name):
    """Chain, Inverse and Block are what their definitions say."""
    maker, params, context, x = made(name)
    flip = Permutation(tuple(reversed(range(maker.size))))

    def everything(params, context, x):
        own = maker.bijector(params, context)
        y, log_det = own.forward_and_log_det(x)
        return (
            ((y[..., ::-1], log_det), distrax.Chain([flip, own]).forward_and_log_det(x)),
            ((y, log_det.sum(-1)), distrax.Block(own, 1).forward_and_log_det(x)),
            ((x, -log_det), distrax.Inverse(own).forward_and_log_det(y)),
            ((x, -log_det), distrax.Chain([flip, own]).inverse_and_log_det(y[..., ::-1])),
        )

    for wanted, found in jax.jit(everything, compiler_options=QUICK)(params, context, x):
        for one, other in zip(wanted, found, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)


def lenient(function):
    """distrax's and TFP's own distributions broadcast ranks and mix dtypes."""

    def called(*arguments):
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return jax.jit(function, compiler_options=QUICK)(*arguments)

    return called


@pytest.mark.parametrize("name", ["autoregressive, affine", "coupling flow", "naf, flips"])
def test_transformed_distributions(name):
    maker, params, context, _ = made(name)
    base = distrax.Independent(distrax.Normal(jnp.zeros(maker.size), jnp.ones(maker.size)), 1)

    def everything(key, params, context):
        own = maker.bijector(params, context)
        density = distrax.Transformed(base, own)
        samples, log_probs = density.sample_and_log_prob(seed=key, sample_shape=5)
        noise, log_det = own.inverse_and_log_det(samples)
        return {"samples": (samples, density.sample(seed=key, sample_shape=5)),
                "log_probs": (log_probs, density.log_prob(samples)),
                "change of variables": (log_probs, base.log_prob(noise) + log_det)}  # fmt: skip

    found = lenient(everything)(jax.random.key(1), params, context)
    assert found["samples"][0].shape == (5, maker.size)
    for one, other in found.values():
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=5e-5)


def test_to_and_from_tfp():
    """Inside TFP's own bijectors and distributions, and TFP's inside distrax's chains."""
    maker, params, context, x = made("autoregressive, affine")
    tfb, tfd, size = tfp.bijectors, tfp.distributions, maker.size

    def everything(params, x):
        own = maker.bijector(params, context)
        foreign = distrax.to_tfp(own)
        y, log_det = own.forward_and_log_det(x)
        chained = distrax.Chain([distrax.Block(distrax.as_bijector(tfb.Scale(jnp.full(size, 2.0))), 1), own])
        density = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(jnp.zeros(size), jnp.ones(size)), foreign)
        same = distrax.Transformed(distrax.MultivariateNormalDiag(jnp.zeros(size), jnp.ones(size)), own)
        return {
            "forward": (y, foreign.forward(x)),
            "inverse": (x, foreign.inverse(y)),
            "log_det": (log_det, foreign.forward_log_det_jacobian(x, 1)),
            "inverse log_det": (-log_det, foreign.inverse_log_det_jacobian(y, 1)),
            "back": (y, distrax.as_bijector(foreign).forward(x)),
            "chained": (2 * y, chained.forward(x)),
            "density": (same.log_prob(y), density.log_prob(y)),
        }

    for name, (one, other) in lenient(everything)(params, x).items():
        np.testing.assert_allclose(one, other, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_same_as(name):
    maker, params, context, _ = made(name)
    own = maker.bijector(params, context)
    assert own.same_as(own)
    assert own.same_as(maker.bijector(params, context))
    assert not own.same_as(maker.bijector(jax.tree.map(jnp.copy, params), context))
    assert not own.same_as(distrax.Lambda(jnp.tanh))
    assert Permutation((1, 0)).same_as(Permutation([1, 0]))
    assert not Permutation((1, 0)).same_as(Permutation((0, 1)))


@pytest.mark.parametrize("name", [*NAMES, "naf, flips", "sigmoidal"])
def test_through_jit_with_one_compilation(name):
    traced = []

    @jax.jit
    def forward(bijector, x):
        traced.append(1)
        return bijector.forward(x)

    for seed in range(2):
        maker, params, context, x = made(name, seed)
        forward(maker.bijector(params, context), x)
    assert len(traced) == 1


def products(jaxpr, times=1):
    """Multiplications in matrix products, those in loops as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _), left = equation.params["dimension_numbers"], equation.invars[0].aval
            inner = np.prod([left.shape[axis] for axis in contracted], dtype=int)
            total += times * int(inner) * equation.outvars[0].aval.size
        inside = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        for value in equation.params.values():
            for part in value if isinstance(value, tuple) else (value,):
                part = getattr(part, "jaxpr", part)
                total += products(part, inside) if hasattr(part, "eqns") else 0
    return total


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("size", [8, 64])
def test_an_inverse_is_about_one_pass_and_not_one_for_each_variable(size, residual):
    flow = masked_autoregressive_flow(
        size, num_layers=1, hidden_sizes=(128, 128), parallel="forward", residual=residual
    )
    params, x = jax.eval_shape(flow.init, jax.random.key(0)), jax.ShapeDtypeStruct((10, size), jnp.float32)
    passes = [
        products(jax.make_jaxpr(lambda p, v, way=way: getattr(flow.bijector(p), way)(v))(params, x).jaxpr)
        for way in ("forward", "inverse")
    ]
    assert passes[0] >= 10 * (2 * size * 128 + 128 * 128)
    assert passes[1] <= 1.6 * passes[0]


def test_splines_are_those_of_flowjax():
    """The same knots by the closed form: softmax bins of at least 1e-4, softplus slopes, ones at the ends."""
    flowjax = pytest.importorskip("flowjax.bijections")
    equinox, bins, bound = pytest.importorskip("equinox"), 5, 4.0
    raw = np.float32(np.random.default_rng(0).standard_normal(3 * bins + 1))
    widths, heights = (np.exp(part) / np.exp(part).sum() for part in np.split(raw[: 2 * bins], 2))
    x_pos, y_pos = (
        np.concatenate([[0], np.cumsum((2 * bound - bins * 1e-4) * part + 1e-4)]) - bound for part in (widths, heights)
    )
    slopes = np.log1p(np.exp(raw[2 * bins :] + np.log(np.expm1(1 - 1e-4)))) + 1e-4
    slopes[[0, -1]] = 1
    x = np.linspace(-6, 6, 97, dtype=np.float32)

    def peer(x, knots):
        spline = flowjax.RationalQuadraticSpline(knots=bins - 1, interval=bound)
        spline = equinox.tree_at(lambda s: (s.x_pos, s.y_pos, s.derivatives), spline, knots)
        return jax.vmap(spline.transform_and_log_det)(x)

    wanted = lenient(peer)(x, tuple(np.float32(part) for part in (x_pos, y_pos, slopes)))
    ours = jax.jit(lambda raw, x: Spline(bins, bound).bijector((), raw).forward_and_log_det(x))
    for one, other in zip(ours(np.tile(raw, (97, 1)), x), wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_affine_autoregressive_maps_are_those_of_flowjax():
    """The same weights in its network, whose hidden units go round the degrees where ours ascend."""
    flowjax = pytest.importorskip("flowjax.bijections")
    equinox, paramax = pytest.importorskip("equinox"), pytest.importorskip("paramax")
    size, width = 4, 9
    affine = equinox.tree_at(lambda a: a.scale, flowjax.Affine(), paramax.Parameterize(
        lambda raw: jax.nn.softplus(raw) + 1e-3, jnp.asarray(np.log(np.expm1(1 - 1e-3)), jnp.float32)))  # fmt: skip
    conditioner = MADE(size, 2, (width, width))
    params = init_params(conditioner, Affine(), jax.random.key(0))
    first, second, last = jax.tree.map(
        lambda leaf: jnp.asarray(drawn(leaf, leaf.size), jnp.float32), params["conditioner"]
    )
    # where the numbers of each variable lie in the last layer, and ours in the order of flowjax's units
    columns = [own | {"kernel": 0 * own["kernel"], "bias": jnp.arange(len(own["bias"]), dtype=jnp.float32)}
               for own in (first, second, last)]  # fmt: skip
    places = np.asarray(conditioner.apply(columns, jnp.zeros(size)), int).reshape(-1)
    units = np.argsort(np.argsort(np.arange(width) % (size - 1), kind="stable"))

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        peer = flowjax.MaskedAutoregressive(jax.random.key(1), transformer=affine, dim=size, nn_width=width, nn_depth=2,
                                            nn_activation=jax.nn.elu)  # fmt: skip
        layers = [(first["kernel"][:, units].T, first["bias"][units]),
                  (second["kernel"][units][:, units].T, second["bias"][units]),
                  (last["kernel"][units][:, places].T, last["bias"][places])]  # fmt: skip
        network = peer.masked_autoregressive_mlp
        for number, (kernel, bias) in enumerate(layers):
            where = lambda m, number=number: (m.layers[number].weight.args[1], m.layers[number].bias)  # noqa: E731
            network = equinox.tree_at(where, network, (kernel, bias))
        peer = paramax.unwrap(equinox.tree_at(lambda p: p.masked_autoregressive_mlp, peer, network))
    x = np.float32(np.random.default_rng(2).standard_normal((6, size)))
    ours = Autoregressive(conditioner, Affine(), {"conditioner": (first, second, last), "shared": ()})
    for way in ("transform_and_log_det", "inverse_and_log_det"):
        own = getattr(ours, way.replace("transform", "forward"))
        wanted = lenient(jax.vmap(getattr(peer, way)))(x)
        for one, other in zip(jax.jit(own)(x), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)
