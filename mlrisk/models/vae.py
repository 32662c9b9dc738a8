"""Encoders and decoders of variational autoencoders, of any size, as pure ``Model(init, apply)`` pairs."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.models.linen import from_linen, require_sizes
from mlrisk.models.mlp import mlp
from mlrisk.models.residual import ResidualConv, ResidualDense
from mlrisk.types import Model, Params, RandomKey

_DARK = -3.0
"""Mean of the last bias at the start: 0.05 of the pixels on, near enough to digits."""


class _Encoder(nn.Module):
    channels: tuple[int, ...]
    context_size: int

    @nn.compact
    def __call__(self, images: Float[Array, "n height width c"]) -> Float[Array, "n context"]:
        values = images
        for number, features in enumerate(self.channels):
            values = jax.nn.elu(ResidualConv(features, 2 - number % 2)(values))
        return jax.nn.elu(ResidualDense(self.context_size)(values.reshape(values.shape[0], -1)))


class _Decoder(nn.Module):
    sides: tuple[tuple[int, int], ...]
    channels: tuple[int, ...]
    context_size: int
    outputs: int

    @nn.compact
    def __call__(self, latents: Float[Array, "n latent"]) -> Float[Array, "n height width c"]:
        height, width = self.sides[0]
        values = jax.nn.elu(ResidualDense(self.context_size)(latents))
        values = jax.nn.elu(ResidualDense(height * width * self.channels[0])(values))
        values = values.reshape(-1, height, width, self.channels[0])
        for stage, (height, width) in enumerate(self.sides[1:]):
            values = double(values)
            for features in self.channels[1 + 2 * stage : 3 + 2 * stage]:
                values = jax.nn.elu(ResidualConv(features)(values))
            values = values[:, :height, :width]
        return ResidualConv(self.outputs, skip_bias_init=_dark)(values)


def residual_encoder(
    input_shape: tuple[int, ...], context_size: int = 450, *, channels: tuple[int, ...] = (16, 16, 32, 32, 32)
) -> Model:
    """Residual convolutions, of which the first, third, fifth ... halve the picture, and a residual dense layer.

    Args:
        input_shape: (height, width, channels) of one picture.
        context_size: number of outputs: what the posterior is told of a picture.
        channels: output channels of each residual convolution.

    Returns:
        A `Model` from pictures (n, *input_shape) to contexts (n, context_size).

    Raises:
        BadInput: a size is not a positive integer, or the shape is not (height, width, channels).

    Source:
        Huang et al. (2018), binarised MNIST, with the sizes of the authors' code.
    """
    shape = _require_picture("input_shape", input_shape)
    (outputs,) = require_sizes("context_size", (context_size,))
    return from_linen(_Encoder(require_sizes("channels", channels), outputs), shape)


def residual_decoder(
    latent_size: int,
    output_shape: tuple[int, ...],
    context_size: int = 450,
    *,
    channels: tuple[int, ...] = (32, 32, 32, 16, 16),
) -> Model:
    """Two residual dense layers, then bilinear doubling and residual convolutions up to the picture's size.

    The first picture is the output's halved (rounding up) once per doubling: 4, 7, 14, 28.

    Args:
        latent_size: number of inputs.
        output_shape: (height, width, channels) of one picture.
        context_size: units of the first dense layer.
        channels: of the first picture, then of the two convolutions after each doubling but the last, which
            leads to the output's own: 2 k - 1 entries make k doublings.

    Returns:
        A `Model` from latents (n, latent_size) to the logits of each pixel (n, *output_shape).

    Raises:
        BadInput: a size is not a positive integer, the shape is not (height, width, channels), or the number of
            channels is even.

    Source:
        Huang et al. (2018), binarised MNIST, with the sizes of the authors' code.

    Differs:
        Bilinear doubling samples between pixel centres, and logits are not squeezed by 1e-6.
    """
    shape = _require_picture("output_shape", output_shape)
    widths = require_sizes("channels", channels)
    if len(widths) % 2 == 0:
        raise BadInput(f"channels: {widths} has {len(widths)} entries; 2 k - 1 are needed for k doublings")
    (inputs,), (context,) = require_sizes("latent_size", (latent_size,)), require_sizes("context_size", (context_size,))
    sides = [shape[:2]]
    for _ in range((len(widths) + 1) // 2):
        sides.insert(0, (-(-sides[0][0] // 2), -(-sides[0][1] // 2)))
    return from_linen(_Decoder(tuple(sides), widths, context, shape[2]), (inputs,))


def mlp_encoder(input_shape: tuple[int, ...], context_size: int, *, hidden_sizes: tuple[int, ...] = (128,)) -> Model:
    """A fully connected encoder for tiny pictures: `mlp` with ELU units and an ELU at the end.

    Args:
        input_shape: shape of one picture.
        context_size: number of outputs.
        hidden_sizes: units of each hidden layer.

    Returns:
        A `Model` from pictures (n, *input_shape) to contexts (n, context_size).

    Raises:
        BadInput: a size is not a positive integer.
    """
    network = mlp(input_shape, hidden_sizes, context_size, activation="elu", init="glorot_uniform")
    return Model(network.init, lambda params, images: jax.nn.elu(network.apply(params, images)))


def mlp_decoder(latent_size: int, output_shape: tuple[int, ...], *, hidden_sizes: tuple[int, ...] = (128,)) -> Model:
    """A fully connected decoder for tiny pictures: `mlp` with ELU units, its logits shaped as a picture.

    Args:
        latent_size: number of inputs.
        output_shape: shape of one picture.
        hidden_sizes: units of each hidden layer.

    Returns:
        A `Model` from latents (n, latent_size) to the logits of each pixel (n, *output_shape).

    Raises:
        BadInput: a size is not a positive integer.
    """
    shape = require_sizes("output_shape", output_shape)
    network = mlp((latent_size,), hidden_sizes, math.prod(shape), activation="elu", init="glorot_uniform")

    def apply(params: Params, latents: Float[Array, "n latent"]) -> Float[Array, "n ..."]:
        return network.apply(params, latents).reshape(-1, *shape)

    return Model(network.init, apply)


def double(images: Float[Array, "n height width c"]) -> Float[Array, "n rows columns c"]:
    """The picture at twice its height and width, bilinear between pixel centres.

    Args:
        images: batch (n, height, width, c).

    Returns:
        A batch (n, 2 height, 2 width, c).
    """
    count, height, width, channels = images.shape
    return jax.image.resize(images, (count, 2 * height, 2 * width, channels), "bilinear")


def _dark(key: RandomKey, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
    return _DARK + 1e-4 * jax.random.normal(key, tuple(shape), dtype)


def _require_picture(field: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(require_sizes(field, shape)) != 3:
        raise BadInput(f"{field}: {shape!r} is not (height, width, channels)")
    height, width, channels = shape
    return height, width, channels
