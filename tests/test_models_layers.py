"""Convolution and pooling against the reference operations, and initialisers against their laws."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax import lax

from mlrisk.errors import BadInput
from mlrisk.models import INITIALISERS, Conv, conv2d, initialiser, max_pool


def reference_conv(images, kernel, *, stride=1, padding="VALID"):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, (stride, stride), padding, dimension_numbers=layout)


def drawn(*shape):
    """Normal float32 numbers; from NumPy, since a draw in JAX compiles once per shape."""
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def conv_problem(shape=(2, 7, 6, 3), kernel=(3, 2, 3, 4)):
    return drawn(*shape), drawn(*kernel)


def close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), left, right)


CONVOLUTIONS = [
    # images, kernel, stride, padding
    ((2, 7, 6, 3), (3, 2, 3, 4), 1, "VALID"),
    ((2, 7, 6, 3), (3, 2, 3, 4), 1, "SAME"),
    ((1, 8, 5, 1), (3, 3, 1, 2), 2, "VALID"),
    ((1, 8, 5, 2), (4, 2, 2, 1), 2, "SAME"),
    ((3, 7, 7, 2), (2, 2, 2, 3), 3, "SAME"),
    ((2, 4, 4, 3), (4, 4, 3, 2), 1, "VALID"),
    ((2, 2, 2, 1), (5, 5, 1, 2), 1, "SAME"),
    ((2, 5, 5, 2), (1, 1, 2, 3), 1, "VALID"),
]


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CONVOLUTIONS, ids=str)
def test_convolution_equals_the_native_one_in_value_and_gradients(shape, kernel, stride, padding):
    images, weights = conv_problem(shape, kernel)

    def value_and_gradients(conv):
        def loss(images, weights):
            outputs = conv(images, weights, stride=stride, padding=padding)
            return jnp.sin(outputs).sum(), outputs

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(images, weights)

    close(value_and_gradients(conv2d), value_and_gradients(reference_conv))


@functools.cache
def compiled_pair():
    return jax.jit(conv2d), jax.jit(reference_conv)


@given(
    images=hnp.arrays(np.float32, (1, 4, 4, 2), elements=st.floats(-9, 9, width=32)),
    kernel=hnp.arrays(np.float32, (2, 3, 2, 2), elements=st.floats(-9, 9, width=32)),
)
def test_convolution_equals_the_native_one_on_drawn_values(images, kernel):
    ours, native = compiled_pair()
    np.testing.assert_allclose(ours(images, kernel), native(images, kernel), rtol=1e-4, atol=1e-3)


TRANSFORMS = {
    "jvp": lambda f, x, k: jax.jvp(f, (x, k), (k.sum() * x, k)),
    "vmap over images": lambda f, x, k: jax.vmap(lambda x: f(x, k))(jnp.stack([x, 2 * x])),
    "vmap over kernels": lambda f, x, k: jax.vmap(lambda k: f(x, k))(jnp.stack([k, 2 * k])),
    "gradient of a gradient": lambda f, x, k: jax.grad(
        lambda x: jnp.square(jax.grad(lambda k: jnp.sin(f(x, k)).sum())(k)).sum()
    )(x),
    "vmap of gradients": lambda f, x, k: jax.vmap(jax.grad(lambda x, k: jnp.sin(f(x, k)).sum(), (0, 1)))(
        jnp.stack([x, -x]), jnp.stack([k, 3 * k])
    ),
    "scan": lambda f, x, k: lax.scan(lambda carry, _: (carry, f(x, carry)), k, None, length=2),
    "map": lambda f, x, k: lax.map(lambda x: f(x[None], k), x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_convolution_keeps_its_value_under_transformations(name):
    images, kernel = conv_problem()
    ours = jax.jit(functools.partial(TRANSFORMS[name], conv2d))
    native = jax.jit(functools.partial(TRANSFORMS[name], reference_conv))
    close(ours(images, kernel), native(images, kernel))


@pytest.mark.parametrize(("platform", "native"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_only_the_branch_of_the_platform_is_compiled(platform, native):
    gradient = jax.jit(jax.grad(lambda x, k: jnp.square(conv2d(x, k)).sum(), (0, 1)))
    program = gradient.trace(*conv_problem()).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in program) == native
    assert ("stablehlo.dot_general" in program) != native


def test_a_gradient_keeps_the_input_and_not_its_copies():
    images, kernel = conv_problem()
    _, pullback = jax.vjp(jax.jit(conv2d), images, kernel)
    kept = {leaf.shape for leaf in jax.tree.leaves(pullback)}
    assert kept == {images.shape, kernel.shape}


def test_convolution_is_the_same_outside_jit():
    images, kernel = conv_problem()
    close(conv2d(images, kernel), reference_conv(images, kernel))


def test_the_layer_is_the_function_with_a_bias():
    images, _ = conv_problem()
    layer = Conv(5, 3, initialiser("lecun_normal"), stride=2, padding="SAME")
    variables = layer.init(jax.random.key(0), images)
    weights = variables["params"]
    assert weights["kernel"].shape == (3, 3, 3, 5)
    np.testing.assert_array_equal(weights["bias"], jnp.zeros(5))
    shifted = {"params": {**weights, "bias": jnp.arange(5.0)}}
    expected = reference_conv(images, weights["kernel"], stride=2, padding="SAME")
    close(layer.apply(shifted, images), expected + jnp.arange(5.0).reshape(1, 1, 1, 5))


POOLS = [((6, 6), 2, None), ((7, 8), 3, None), ((5, 9), 3, 2), ((8, 7), 2, 3), ((9, 4), 4, 1), ((5, 5), 1, 2)]


@pytest.mark.parametrize(("size", "window", "stride"), POOLS, ids=str)
def test_pooling_equals_flax_in_value_and_gradient(size, window, stride):
    images = drawn(2, *size, 3)
    strides = (stride or window,) * 2

    def value_and_gradient(pool):
        def loss(images):
            outputs = pool(images)
            return jnp.sin(outputs).sum(), outputs

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(images)

    close(
        value_and_gradient(functools.partial(max_pool, window=window, stride=stride)),
        value_and_gradient(lambda x: nn.max_pool(x, (window, window), strides)),
    )


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (2, 3)])
def test_pooling_shares_a_gradient_among_equals(window, stride):
    count = math.prod(max_pool(jnp.zeros((1, 7, 7, 1)), window, stride).shape)
    gradient = jax.grad(lambda x: max_pool(x, window, stride).sum())(jnp.zeros((1, 7, 7, 1)))
    np.testing.assert_allclose(gradient.sum(), count, rtol=1e-6)
    assert gradient.max() < 1 or window < stride


LAWS = {
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
}


@pytest.mark.parametrize("shape", [(300, 200), (5, 5, 12, 200)], ids=str)
@pytest.mark.parametrize("name", INITIALISERS)
def test_initial_weights_have_the_stated_law(name, shape):
    weights = np.asarray(initialiser(name)(jax.random.key(0), shape)).ravel()
    receptive = math.prod(shape[:-2])
    variance = LAWS[name](receptive * shape[-2], receptive * shape[-1])
    cut = math.sqrt(3) if name == "glorot_uniform" else 2 / 0.87962566
    assert abs(weights.mean()) < 5 * math.sqrt(variance / weights.size)
    assert weights.var() == pytest.approx(variance, rel=0.03)
    assert 0.99 * cut < np.abs(weights).max() / math.sqrt(variance) <= cut * (1 + 1e-6)
    # no two blocks of draws are alike
    assert np.unique(weights).size > 0.99 * weights.size


def test_library_draws_have_the_same_variance_as_jax():
    shape, key = (400, 300), jax.random.key(1)
    for name in INITIALISERS:
        ours, theirs = initialiser(name)(key, shape), getattr(jax.nn.initializers, name)()(key, shape)
        assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.02)


MISTAKES = {
    "padding": lambda x, k: conv2d(x, k, padding="valid"),
    "stride": lambda x, k: conv2d(x, k, stride=0),
    "images": lambda x, k: conv2d(x[..., :2], k),
    "kernel": lambda x, k: conv2d(x[:, :2], k),
    "pool": lambda x, k: max_pool(x, 7),
    "pool: window 0": lambda x, k: max_pool(x, 0),
    "pool: window 2, stride 0": lambda x, k: max_pool(x, 2, 0),
    "shape": lambda x, k: initialiser("he_normal")(jax.random.key(0), (3,)),
    "init": lambda x, k: initialiser("he_norm"),
}


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("start", MISTAKES)
def test_a_mistake_gets_one_line(start):
    with pytest.raises(BadInput) as caught:
        MISTAKES[start](*conv_problem())
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)
