"""Weight-normalised dense and convolutional layers, and the residual blocks made of them."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.models.convolution import conv2d
from mlrisk.models.initialisers import Initialiser, initialiser

Activation = Callable[[Array], Array]
zeros, ones = nn.initializers.zeros, nn.initializers.ones
_direction = initialiser("lecun_normal")


def weight_norm(
    direction: Float[Array, "*window inputs outputs"], scale: Float[Array, " outputs"]
) -> Float[Array, "*window inputs outputs"]:
    """Weights whose length per output is a parameter of its own: ``w_o = s_o v_o / |v_o|``.

    Args:
        direction: v, of any length but zero.
        scale: s, the length of each output's weights; may be negative or zero.

    Returns:
        The weights, of the shape of ``direction``.

    Source: Salimans and Kingma (2016), equation 2.
    """
    axes = tuple(range(direction.ndim - 1))
    factor = scale * jax.lax.rsqrt(jnp.sum(jnp.square(direction), axes))
    return direction * factor.reshape((1,) * len(axes) + (-1,))


class NormDense(nn.Module):
    """A dense layer with weight normalisation: ``y = x W + b``, ``W`` by `weight_norm`.

    Args:
        features: number of outputs.
        scale_init: initialiser of the scales (features,).
        bias_init: initialiser of the bias (features,).
    """

    features: int
    scale_init: Initialiser = ones
    bias_init: Initialiser = zeros

    @nn.compact
    def __call__(self, inputs: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        """The layer's outputs."""
        direction = self.param("direction", _direction, (inputs.shape[-1], self.features))
        scale = self.param("scale", self.scale_init, (self.features,))
        bias = self.param("bias", self.bias_init, (self.features,))
        return inputs @ weight_norm(direction, scale) + bias.reshape(1, -1)


class NormConv(nn.Module):
    """A 3 x 3 convolution ("SAME") with weight normalisation.

    Args:
        features: number of output channels.
        stride: pixels between neighbouring outputs.
        bias_init: initialiser of the bias (features,).
    """

    features: int
    stride: int = 1
    bias_init: Initialiser = zeros

    @nn.compact
    def __call__(self, images: Float[Array, "n height width inputs"]) -> Float[Array, "n rows columns outputs"]:
        """The layer's outputs."""
        direction = self.param("direction", _direction, (3, 3, images.shape[-1], self.features))
        scale = self.param("scale", ones, (self.features,))
        bias = self.param("bias", self.bias_init, (self.features,))
        values = conv2d(images, weight_norm(direction, scale), stride=self.stride, padding="SAME")
        return values + bias.reshape(1, 1, 1, -1)


class ResidualDense(nn.Module):
    """``y = W_2 a(W_1 x) + W_3 x`` with biases; ``W_3`` is by default the identity where sizes are equal.

    Args:
        features: outputs, and units of the hidden layer.
        activation: a.
        scale_init: initialiser of the scales of the two layers that end in the output.
        bias_init: initialiser of their biases.
        learnt_skip: whether ``W_3`` is learnt where the sizes are equal, too.
    """

    features: int
    activation: Activation = jax.nn.elu
    scale_init: Initialiser = ones
    bias_init: Initialiser = zeros
    learnt_skip: bool = False

    @nn.compact
    def __call__(self, inputs: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        """The block's outputs."""
        hidden = self.activation(NormDense(self.features, name="hidden")(inputs))
        outputs = NormDense(self.features, self.scale_init, self.bias_init, name="output")(hidden)
        if inputs.shape[-1] == self.features and not self.learnt_skip:
            return outputs + inputs
        return outputs + NormDense(self.features, self.scale_init, self.bias_init, name="skip")(inputs)


class ResidualConv(nn.Module):
    """``y = C_2 a(C_1 x) + C_3 x``; ``C_3`` only where the shapes differ, else the identity.

    Args:
        features: output channels, and channels of the hidden layer.
        stride: of ``C_1`` and ``C_3``.
        activation: a.
        skip_bias_init: initialiser of the bias of ``C_3``.
    """

    features: int
    stride: int = 1
    activation: Activation = jax.nn.elu
    skip_bias_init: Initialiser = zeros

    @nn.compact
    def __call__(self, images: Float[Array, "n height width inputs"]) -> Float[Array, "n rows columns outputs"]:
        """The block's outputs."""
        hidden = self.activation(NormConv(self.features, self.stride, name="hidden")(images))
        outputs = NormConv(self.features, name="output")(hidden)
        if self.stride == 1 and images.shape[-1] == self.features:
            return outputs + images
        return outputs + NormConv(self.features, self.stride, self.skip_bias_init, name="skip")(images)
