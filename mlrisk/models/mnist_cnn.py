"""The small convolutional network of DomainBed for coloured and rotated digits."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.models.convolution import conv2d
from mlrisk.models.linen import require_sizes
from mlrisk.objectives.featurised import FeaturisedModel, init_linear, uniform_fan_in
from mlrisk.types import Params, RandomKey

CHANNELS = (64, 128, 128, 128)
STRIDES = (1, 2, 1, 1)
EPSILON = 1e-5


def mnist_cnn(
    input_channels: int, num_classes: int, channels: Sequence[int] = CHANNELS, groups: int = 8
) -> FeaturisedModel:
    """Four times 3 x 3 convolution, ReLU, group norm; the mean over pixels; a linear head.

    Args:
        input_channels: of the pictures, 1 or 2 for digits.
        num_classes: outputs.
        channels: of the four convolutions; the second has stride 2.
        groups: of each group norm; must divide the channels.

    Returns:
        A network for pictures of any size, with ``channels[-1]`` features. Weights and biases of all layers start
        uniform in ``+-1 / sqrt(fan_in)``, scales of the group norms at 1 and their shifts at 0.

    Raises:
        BadInput: there are not four sizes, or one that the groups do not divide.

    Source: Gulrajani and Lopez-Paz (2021), DomainBed, appendix D.1 and code: ReLU before the group norm.
    """
    sizes = require_sizes("channels", tuple(channels))
    if len(sizes) != len(STRIDES) or groups < 1 or any(size % groups for size in sizes):
        raise BadInput(f"channels: {sizes} are not {len(STRIDES)} numbers that are divisible by {groups} groups")
    names = [f"conv{number}" for number in range(len(sizes))]

    def init(key: RandomKey) -> dict[str, Params]:
        fans = zip(names, (input_channels, *sizes[:-1]), sizes, strict=True)
        layers = {name: _init_layer(prng.stream(key, name), before, after) for name, before, after in fans}
        return {"features": layers, "head": init_linear(prng.stream(key, "head"), sizes[-1], num_classes)}

    def features(params: Params, pictures: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        for name, stride in zip(names, STRIDES, strict=True):
            layer = params["features"][name]
            # PyTorch's padding: one pixel on every side, also where the stride would let "SAME" pad one side only
            padded = jnp.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)))
            values = conv2d(padded, layer["kernel"], stride=stride) + layer["bias"].reshape(1, 1, 1, -1)
            pictures = group_norm(jax.nn.relu(values), layer["scale"], layer["shift"], groups)
        return pictures.mean((1, 2))

    return FeaturisedModel(init, features, sizes[-1], num_classes)


def group_norm(
    values: Float[Array, "n h w c"], scale: Float[Array, " c"], shift: Float[Array, " c"], groups: int
) -> Float[Array, "n h w c"]:
    """``(x - mean) / sqrt(var + 1e-5) scale + shift``, with moments over the pixels and channels of each group.

    Args:
        values: pictures.
        scale: one a channel.
        shift: one a channel.
        groups: neighbouring channels are put into so many groups; must divide c.

    Raises:
        BadInput: it does not.

    Source: Wu and He (2018), Group normalization, section 3.1.
    """
    count, channels = values.shape[0], values.shape[-1]
    if groups < 1 or channels % groups:
        raise BadInput(f"groups: {groups} does not divide {channels} channels")

    def grouped(moments: Array) -> Array:
        each = moments.reshape(count, groups, -1).mean(-1, keepdims=True)
        return jnp.broadcast_to(each, (count, groups, channels // groups)).reshape(count, 1, 1, channels)

    mean = grouped(values.mean((1, 2)))
    # the second pass over the pixels keeps float32 safe where the mean is far from zero
    variance = grouped(jnp.square(values - mean).mean((1, 2)))
    factor = jax.lax.rsqrt(variance + EPSILON) * scale.reshape(1, 1, 1, -1)
    return (values - mean) * factor + shift.reshape(1, 1, 1, -1)


def _init_layer(key: RandomKey, inputs: int, outputs: int) -> dict[str, Array]:
    weight_key, bias_key = prng.streams(key, "weights", "bias")
    return {
        "kernel": uniform_fan_in(weight_key, (3, 3, inputs, outputs), 9 * inputs),
        "bias": uniform_fan_in(bias_key, (outputs,), 9 * inputs),
        "scale": jnp.ones(outputs),
        "shift": jnp.zeros(outputs),
    }
