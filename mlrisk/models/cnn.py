"""The small Alexnet-style convolutional network of the memorization study."""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from mlrisk.errors import BadInput, one_of
from mlrisk.models.convolution import PADDINGS, Conv
from mlrisk.models.initialisers import Initialiser, initialiser
from mlrisk.models.linen import disturbed, from_linen, require_sizes
from mlrisk.models.pooling import max_pool
from mlrisk.types import Disturb, Model


class _AlexnetSmall(nn.Module):
    num_classes: int
    channels: tuple[int, ...]
    kernel: int
    dense: tuple[int, ...]
    crop: int
    padding: str
    pool: int
    pool_stride: int
    momentum: float
    kernel_init: Initialiser

    @nn.compact
    def __call__(
        self, images: Float[Array, "n height width c"], *, train: bool = False, disturb: Disturb | None = None
    ) -> Float[Array, "n classes"]:
        def normalise(values: Array) -> Array:
            return nn.BatchNorm(use_running_average=not train, momentum=self.momentum, use_fast_variance=False)(values)

        height, width = images.shape[1:3]
        values = images[:, self.crop : height - self.crop, self.crop : width - self.crop]
        for features in self.channels:
            conv = Conv(features, self.kernel, self.kernel_init, padding=self.padding, use_bias=False)
            values = max_pool(jax.nn.relu(normalise(conv(values))), self.pool, self.pool_stride)
            values = disturbed(self, values, disturb)
        values = values.reshape(values.shape[0], -1)
        for features in self.dense:
            layer = nn.Dense(features, use_bias=False, kernel_init=self.kernel_init)
            values = disturbed(self, jax.nn.relu(normalise(layer(values))), disturb)
        return nn.Dense(self.num_classes, kernel_init=self.kernel_init)(values)


def alexnet_small(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    channels: tuple[int, ...] = (200, 200),
    kernel: int = 5,
    dense: tuple[int, ...] = (384, 192),
    crop: int = 2,
    padding: str = "VALID",
    pool: int = 3,
    pool_stride: int | None = None,
    momentum: float = 0.9,
    init: str = "he_normal",
) -> Model:
    """A small Alexnet-style CNN with batch normalisation.

    Crop, then for each of ``channels``: convolution, batch norm, ReLU, max-pool; then for each of ``dense``:
    dense, batch norm, ReLU; then a dense layer to the logits.

    Args:
        input_shape: (height, width, channels) of one image.
        num_classes: number of outputs.
        channels: filters of each convolution.
        kernel: side of every kernel in pixels.
        dense: units of each hidden dense layer; may be empty.
        crop: pixels cut from each side; 2 takes 32 x 32 images to 28 x 28, small images want 0.
        padding: of the convolutions, ``"VALID"`` or ``"SAME"``.
        pool: side of the pooling windows in pixels.
        pool_stride: pixels between pooling windows; ``pool`` when None.
        momentum: share of the running averages that a training step keeps, in [0, 1).
        init: a name in `INITIALISERS`, for every kernel.

    Returns:
        A `Model` with ``params = {"params": ..., "batch_stats": ...}``. ``apply`` normalises by the running
        averages; ``apply_train`` by the batch, and returns the new ``batch_stats``. No gradient reaches
        ``batch_stats`` in training. Hidden layers are disturbed after the pool or the ReLU.

    Raises:
        BadInput: an option is not allowed, or the images are too small for the crop, kernels and pools.

    Source:
        Arpit et al. (2017), section 2: the networks trained on CIFAR-10.

    Differs:
        Pool stride, padding, initialiser and the averages' momentum are not stated there: all are arguments.
        Layers followed by batch norm have no bias, which the normalisation would remove.
    """
    if padding not in PADDINGS:
        raise BadInput(one_of("padding", padding, PADDINGS))
    if len(require_sizes("input_shape", input_shape)) != 3:
        raise BadInput(f"input_shape: {input_shape!r} is not (height, width, channels)")
    if type(crop) is not int or not 0 <= 2 * crop < min(input_shape[:2]):
        raise BadInput(f"crop: {crop!r} is not from 0 to less than half of {min(input_shape[:2])} pixels")
    if not 0 <= momentum < 1:
        raise BadInput(f"momentum: {momentum!r} is not in [0, 1)")
    stride = pool if pool_stride is None else pool_stride
    for field, size in (("kernel", kernel), ("pool", pool), ("pool_stride", stride)):
        require_sizes(field, (size,))
    (outputs,) = require_sizes("num_classes", (num_classes,))
    module = _AlexnetSmall(
        outputs,
        require_sizes("channels", channels),
        kernel,
        require_sizes("dense", dense, empty=True),
        crop,
        padding,
        pool,
        stride,
        momentum,
        initialiser(init),
    )
    return from_linen(module, tuple(input_shape), trains=True, disturbs=True)
