"""Encoders, decoders and posteriors of variational autoencoders: shapes, laws of their layers, gradients."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mlrisk.bijectors import Flow
from mlrisk.errors import BadInput
from mlrisk.models.amortised import amortised_vae, gaussian_head
from mlrisk.models.residual import NormConv, NormDense, ResidualConv, ResidualDense, weight_norm
from mlrisk.models.vae import double, mlp_decoder, mlp_encoder, residual_decoder, residual_encoder

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def _distrax_broadcasts():
    with jax.numpy_rank_promotion("allow"):
        yield


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def test_weight_norm_has_the_lengths_of_its_scales():
    direction, scale = drawn(3, 3, 2, 4), jnp.array([0.5, 1.0, 2.0, 0.0])
    lengths = jnp.sqrt(jnp.square(weight_norm(direction, scale)).sum((0, 1, 2)))
    np.testing.assert_allclose(lengths, scale, rtol=1e-6)
    np.testing.assert_allclose(weight_norm(7 * direction, scale), weight_norm(direction, scale), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_residual_convolution_is_its_equation(stride):
    images, block = drawn(2, 6, 5, 3), ResidualConv(4, stride)
    params = jax.jit(block.init)(KEY, images)

    def conv(values, part, step):
        weights = weight_norm(part["direction"], part["scale"])
        found = lax.conv_general_dilated(
            values, weights, (step, step), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return found + part["bias"].reshape(1, 1, 1, -1)

    parts = params["params"]
    inner = conv(jax.nn.elu(conv(images, parts["hidden"], stride)), parts["output"], 1)
    expected = inner + conv(images, parts["skip"], stride)
    np.testing.assert_allclose(block.apply(params, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("block", "shape"), [(ResidualConv(3), (2, 4, 4, 3)), (ResidualDense(3), (2, 3))])
def test_equal_shapes_have_the_identity_for_a_skip(block, shape):
    inputs = drawn(*shape)
    params = block.init(KEY, inputs)
    assert set(params["params"]) == {"hidden", "output"}
    params["params"]["output"]["scale"] = jnp.zeros(3)
    np.testing.assert_array_equal(block.apply(params, inputs), inputs)


@pytest.mark.parametrize("layer", [NormDense(4), ResidualDense(4)])
def test_dense_layers_act_on_each_row_alone(layer):
    inputs = drawn(5, 3)
    params = layer.init(KEY, inputs)
    np.testing.assert_allclose(layer.apply(params, inputs)[2:3], layer.apply(params, inputs[2:3]), rtol=1e-5)


def test_a_convolution_keeps_or_halves_the_picture():
    images = drawn(2, 7, 6, 1)
    for stride, size in ((1, (7, 6)), (2, (4, 3))):
        layer = NormConv(2, stride)
        assert layer.apply(layer.init(KEY, images), images).shape == (2, *size, 2)


def test_doubling_is_bilinear():
    ramp = jnp.arange(4.0).reshape(1, 4, 1, 1) * jnp.ones((1, 1, 3, 1))
    rows = np.asarray(double(ramp))[0, :, 0, 0]
    np.testing.assert_allclose(rows, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], rtol=1e-6)
    np.testing.assert_allclose(double(jnp.ones((2, 3, 3, 2))), 1, rtol=1e-6)


PAIRS = {
    "paper": lambda: (residual_encoder((28, 28, 1)), residual_decoder(32, (28, 28, 1)), (28, 28, 1), 450, 32),
    "small": lambda: (
        residual_encoder((7, 6, 2), 6, channels=(2,)), residual_decoder(3, (7, 6, 2), 6, channels=(2,)),
        (7, 6, 2), 6, 3,
    ),
    "mlp": lambda: (mlp_encoder((8, 8, 1), 6, hidden_sizes=(10,)), mlp_decoder(3, (8, 8, 1)), (8, 8, 1), 6, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_encoder_and_decoder_fit_each_other(name):
    encoder, decoder, shape, context, latent = PAIRS[name]()
    images = jax.ShapeDtypeStruct((5, *shape), jnp.float32)
    found = jax.eval_shape(lambda x: encoder.apply(encoder.init(KEY), x), images)
    logits = jax.eval_shape(
        lambda z: decoder.apply(decoder.init(KEY), z), jax.ShapeDtypeStruct((5, latent), jnp.float32)
    )
    assert (found.shape, logits.shape) == ((5, context), (5, *shape))


def test_the_paper_sizes_are_the_original_ones():
    """3 x 3 weights, scales and biases of the encoder's five blocks, counted by hand."""
    sizes = [(1, 16), (16, 16), (16, 32), (32, 32), (32, 32)]
    strides = (2, 1, 2, 1, 2)
    blocks = sum(
        (9 * i * o + 2 * o) * (1 if s == 1 and i == o else 2) + 9 * o * o + 2 * o
        for (i, o), s in zip(sizes, strides, strict=True)
    )
    dense = 2 * (512 * 450 + 900) + 450 * 450 + 900
    tree = jax.eval_shape(residual_encoder((28, 28, 1)).init, KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(tree)) == blocks + dense


def small_vae(flow=None, pair="mlp"):
    encoder, decoder, shape, context, latent = PAIRS[pair]()
    return amortised_vae(encoder, decoder, context_size=context, latent_size=latent, flow=flow), drawn(5, *shape)


def move(params, context):
    return distrax.Block(distrax.ScalarAffine(params * context[:, :3], jnp.ones_like(context[:, :3])), 1)


SHIFT = Flow(lambda key: jnp.float32(2.0), move)
"""A flow that moves by the first entries of the context: enough to see that both reach it."""


def sampled(vae, params, images):
    return jax.jit(lambda p: vae.posterior(p, images).sample_and_log_prob(seed=KEY))(params)


@pytest.mark.parametrize("flow", [None, SHIFT])
def test_the_posterior_is_a_density_for_each_picture(flow):
    vae, images = small_vae(flow)
    params = jax.jit(vae.init)(KEY)
    latents, log_q = sampled(vae, params, images)
    assert latents.shape == (5, 3)
    again = jax.jit(lambda p, z: vae.posterior(p, images).log_prob(z))(params, latents)
    np.testing.assert_allclose(log_q, again, rtol=1e-4)
    assert jax.eval_shape(vae.decode, params, latents).shape == images.shape
    likelihood = jax.jit(lambda p, z: vae.at(p)[1](z, jnp.round(images)))(params, latents)
    assert likelihood.shape == (5,)
    assert set(params) == {"encoder", "head", "decoder"} | ({"flow"} if flow else set())


def test_a_flow_is_given_the_context_of_the_picture():
    (vae, images), (plain, _) = small_vae(SHIFT), small_vae()
    params = jax.jit(vae.init)(KEY)
    moved = sampled(vae, params, images)[0] - sampled(plain, params, images)[0]
    context = jax.jit(PAIRS["mlp"]()[0].apply)(params["encoder"], images)
    np.testing.assert_allclose(moved, 2 * context[:, :3], rtol=1e-4, atol=1e-4)


def test_the_gaussian_starts_near_the_standard_normal():
    head = gaussian_head(6, 3)
    mean, std = jax.jit(lambda c: head.apply(head.init(KEY), c))(drawn(5, 6))
    np.testing.assert_allclose(mean, 0, atol=0.02)
    np.testing.assert_allclose(std, 1, atol=0.02)


def test_every_parameter_has_a_gradient():
    vae, images = small_vae(SHIFT, "small")

    def loss(params):
        latents, log_q = vae.posterior(params, images).sample_and_log_prob(seed=KEY)
        return jnp.square(vae.decode(params, latents)).mean() + log_q.mean()

    gradients = jax.jit(jax.grad(loss))(jax.jit(vae.init)(KEY))
    for path, gradient in jax.tree.leaves_with_path(gradients):
        assert np.isfinite(gradient).all(), path
        assert np.any(gradient), path


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    "mistake",
    [
        lambda: residual_encoder((28, 28), 6),
        lambda: residual_encoder((28, 28, 1), 0),
        lambda: residual_decoder(3, (28, 28, 1), channels=(2, 2)),
        lambda: residual_decoder(0, (28, 28, 1)),
        lambda: mlp_decoder(3, ()),
        lambda: gaussian_head(0, 3),
    ],
)
def test_mistakes_get_one_line(mistake):
    with pytest.raises(BadInput, match=r"^\w+: [^\n]*$"):
        mistake()
