"""ResNet-18 and ResNet-50 with fixed batch statistics, to be fine-tuned from weights that a user supplies."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk import prng
from mlrisk.errors import BadInput, DataUnavailable, one_of
from mlrisk.models.convolution import conv2d
from mlrisk.models.initialisers import initialiser
from mlrisk.objectives.featurised import FeaturisedModel, init_linear
from mlrisk.types import Params, RandomKey

STAGES = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
EPSILON = 1e-5
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class _Layer(NamedTuple):
    """A convolution and the batch norm behind it, by the names that torchvision gives them."""

    conv: str
    norm: str
    size: int
    inputs: int
    outputs: int
    stride: int


class _Block(NamedTuple):
    path: tuple[_Layer, ...]
    shortcut: _Layer | None


def resnet(
    depth: int, num_classes: int, weights: str | os.PathLike[str] | None = None, *, width: int = 64
) -> FeaturisedModel:
    """A residual network whose batch norms use fixed statistics, as in DomainBed's fine-tuning.

    ``params["batch_stats"]`` holds means and variances: they take part in no gradient and are never replaced; scales
    and shifts are trained.

    Args:
        depth: 18 (basic blocks) or 50 (bottlenecks, with the stride in the 3 x 3 convolution).
        num_classes: outputs of the head, which always starts afresh.
        weights: an ``.npz`` with torchvision's names and layouts (``conv1.weight`` (outputs, inputs, rows, columns),
            ``bn1.weight``, ``bn1.bias``, ``bn1.running_mean``, ``bn1.running_var``, ``layer1.0.conv1.weight``, ...,
            ``layer2.0.downsample.0.weight``, ``layer2.0.downsample.1.weight``, ...); ``fc`` is not read. Make it with
            ``numpy.savez(path, **{k: v.numpy() for k, v in torchvision_model.state_dict().items()})``. None starts
            from random kernels.
        width: channels of the first stage; 64 in all published weights.

    Returns:
        A network for pictures (n, h, w, 3) that were standardised with `IMAGENET_MEAN` and `IMAGENET_STD`.

    Raises:
        BadInput: another depth, or an array of the file is missing or of another shape.
        DataUnavailable: the file is missing or damaged.

    Source: He et al. (2016), Deep residual learning; Gulrajani and Lopez-Paz (2021), DomainBed, section 4.
    """
    if depth not in STAGES:
        raise BadInput(one_of("depth", depth, map(str, STAGES)))
    stem, blocks = _Layer("conv1", "bn1", 7, 3, width, 2), tuple(_blocks(depth, width))
    layers = [stem, *(layer for block in blocks for layer in _layers(block))]
    loaded = None if weights is None else _load(Path(weights), layers)
    num_features = blocks[-1].path[-1].outputs

    def init(key: RandomKey) -> dict[str, Any]:
        body_key, head_key = prng.streams(key, "features", "head")
        body = loaded if loaded is not None else _random(body_key, layers)
        return {**body, "head": init_linear(head_key, num_features, num_classes)}

    def features(params: Params, pictures: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
        values = _max_pool(jax.nn.relu(_convolve(params, stem, pictures)))
        for block in blocks:
            values = _residual(params, block, values)
        return values.mean((1, 2))

    return FeaturisedModel(init, features, num_features, num_classes)


def _blocks(depth: int, width: int) -> Iterator[_Block]:
    before = width
    for stage, count in enumerate(STAGES[depth]):
        inner = width * 2**stage
        for number in range(count):
            name, stride = f"layer{stage + 1}.{number}", 2 if stage and not number else 1
            shapes = [(3, before, inner, stride), (3, inner, inner, 1)]
            if depth == 50:
                shapes = [(1, before, inner, 1), (3, inner, inner, stride), (1, inner, 4 * inner, 1)]
            path = tuple(_Layer(f"{name}.conv{i}", f"{name}.bn{i}", *shape) for i, shape in enumerate(shapes, 1))
            after = path[-1].outputs
            down = _Layer(f"{name}.downsample.0", f"{name}.downsample.1", 1, before, after, stride)
            yield _Block(path, down if stride > 1 or before != after else None)
            before = after


def _layers(block: _Block) -> tuple[_Layer, ...]:
    return block.path if block.shortcut is None else (*block.path, block.shortcut)


def _residual(params: Params, block: _Block, values: Array) -> Array:
    shortcut = values if block.shortcut is None else _convolve(params, block.shortcut, values)
    for number, layer in enumerate(block.path):
        values = _convolve(params, layer, values if number == 0 else jax.nn.relu(values))
    return jax.nn.relu(values + shortcut)


def _convolve(params: Params, layer: _Layer, pictures: Array) -> Array:
    """Convolution and batch norm; the fixed statistics make one factor and one shift a channel."""
    pad = layer.size // 2
    padded = jnp.pad(pictures, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    values = conv2d(padded, params["features"][layer.conv]["kernel"], stride=layer.stride)
    norm, fixed = params["features"][layer.norm], jax.lax.stop_gradient(params["batch_stats"][layer.norm])
    factor = norm["scale"] * jax.lax.rsqrt(fixed["var"] + EPSILON)
    shift = norm["bias"] - fixed["mean"] * factor
    return values * factor.reshape(1, 1, 1, -1) + shift.reshape(1, 1, 1, -1)


def _max_pool(pictures: Array) -> Array:
    """3 x 3 with stride 2 and one pixel of padding, which is never the largest after a ReLU."""
    window, strides, pads = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(pictures, -jnp.inf, jax.lax.max, window, strides, pads)


def _assembled(
    layers: list[_Layer], kernel: Callable[[_Layer], Array], norm: Callable[[_Layer, str], Array]
) -> dict[str, Any]:
    features: dict[str, Any] = {layer.conv: {"kernel": kernel(layer)} for layer in layers}
    features |= {layer.norm: {"scale": norm(layer, "weight"), "bias": norm(layer, "bias")} for layer in layers}
    kept = {layer.norm: {"mean": norm(layer, "running_mean"), "var": norm(layer, "running_var")} for layer in layers}
    return {"features": features, "batch_stats": kept}


def _random(key: RandomKey, layers: list[_Layer]) -> dict[str, Any]:
    draw = initialiser("he_normal")

    def norm(layer: _Layer, name: str) -> Array:
        return (jnp.ones if name in ("weight", "running_var") else jnp.zeros)(layer.outputs)

    return _assembled(
        layers,
        lambda layer: draw(prng.stream(key, layer.conv), (layer.size, layer.size, layer.inputs, layer.outputs)),
        norm,
    )


def _load(path: Path, layers: list[_Layer]) -> dict[str, Any]:
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise DataUnavailable(f"weights: {path} is missing or not an .npz ({error})") from error

    def read(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in arrays or arrays[name].shape != shape:
            found = f"shape {arrays[name].shape}" if name in arrays else "missing"
            raise BadInput(f"weights: {name} of {path} is {found}, not of shape {shape}")
        return np.asarray(arrays[name], np.float32)

    return _assembled(
        layers,
        lambda layer: jnp.asarray(
            read(f"{layer.conv}.weight", (layer.outputs, layer.inputs, layer.size, layer.size)).transpose(2, 3, 1, 0)
        ),
        lambda layer, name: jnp.asarray(read(f"{layer.norm}.{name}", (layer.outputs,))),
    )
