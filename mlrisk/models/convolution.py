"""One convolution for every platform: a matrix product on CPU, the native operation on accelerators."""

import functools

import flax.linen as nn
import jax
from jax import lax
from jaxtyping import Array, Float

from mlrisk.errors import BadInput, one_of
from mlrisk.models.initialisers import Initialiser

PADDINGS = ("VALID", "SAME")
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(
    images: Float[Array, "n height width inputs"],
    kernel: Float[Array, "rows columns inputs outputs"],
    *,
    stride: int = 1,
    padding: str = "VALID",
) -> Float[Array, "n out_height out_width outputs"]:
    """The cross-correlation of deep learning, without bias.

    ``y[n, i, j, o] = sum_{a, b, c} x[n, i stride + a, j stride + b, c] k[a, b, c, o]``

    Args:
        images: batch in NHWC order.
        kernel: weights in HWIO order.
        stride: pixels between neighbouring outputs, along both axes.
        padding: ``"VALID"`` (whole windows only) or ``"SAME"`` (zeros around, ceil(input / stride) outputs).

    Returns:
        The convolved batch.

    Raises:
        BadInput: the shapes do not fit, the images are smaller than the kernel, or an option is not allowed.

    Differs:
        On CPU it is shifted slices and one matrix product: inside `jax.lax.scan` the gradient of XLA's native
        convolution was 13 to 30 times slower. It holds rows x columns copies of the input while it runs, so
        predict on large sets in batches.
    """
    _require_fit(images, kernel, stride, padding)
    return _dispatch(images, kernel, stride=stride, padding=padding)


def _require_fit(images: Array, kernel: Array, stride: int, padding: str) -> None:
    if padding not in PADDINGS:
        raise BadInput(one_of("padding", padding, PADDINGS))
    if stride < 1:
        raise BadInput(f"stride: {stride} is not a positive integer")
    if images.ndim != 4 or kernel.ndim != 4 or images.shape[-1] != kernel.shape[2]:
        raise BadInput(f"images: shape {images.shape} (NHWC) does not fit a kernel {kernel.shape} (HWIO)")
    if padding == "VALID" and (images.shape[1] < kernel.shape[0] or images.shape[2] < kernel.shape[1]):
        raise BadInput(
            f"kernel: {kernel.shape[0]} x {kernel.shape[1]} pixels exceed the {images.shape[1]} x "
            f'{images.shape[2]} they should convolve; padding "SAME" allows it'
        )


@functools.partial(jax.jit, static_argnames=("stride", "padding"))
def _dispatch(images: Array, kernel: Array, *, stride: int, padding: str) -> Array:
    # jitted, so that a call outside any other jit compiles once per shape; checkpointed, so that gradients
    # keep the input until the way back, not its copies (nor, on accelerators, zeros in place of the copies)
    branches = functools.partial(
        lax.platform_dependent,
        cpu=functools.partial(_by_matmul, stride=stride, padding=padding),
        default=functools.partial(_native, stride=stride, padding=padding),
    )
    return jax.checkpoint(branches, prevent_cse=False)(images, kernel)


def _native(images: Array, kernel: Array, stride: int, padding: str) -> Array:
    return lax.conv_general_dilated(images, kernel, (stride, stride), padding, dimension_numbers=_LAYOUT)


def _by_matmul(images: Array, kernel: Array, stride: int, padding: str) -> Array:
    rows, columns, inputs, outputs = kernel.shape
    patches = _patches(images, rows, columns, stride, padding)
    product = patches.reshape(-1, rows * columns * inputs) @ kernel.reshape(-1, outputs)
    return product.reshape(*patches.shape[:3], outputs)


def _patches(images: Array, rows: int, columns: int, stride: int, padding: str) -> Array:
    """For each output pixel the input pixels under the kernel, in the kernel's order (n, i, j, a b c)."""
    pads = lax.padtype_to_pads(images.shape[1:3], (rows, columns), (stride, stride), padding)
    if any(before or after for before, after in pads):
        images = jax.numpy.pad(images, ((0, 0), *pads, (0, 0)))
    height = images.shape[1] - rows + 1
    width = images.shape[2] - columns + 1
    # columns first, then rows of whole strips: fewer and longer copies than rows x columns small ones
    strips = lax.concatenate([images[:, :, b : b + width : stride] for b in range(columns)], 3)
    return lax.concatenate([strips[:, a : a + height : stride] for a in range(rows)], 3)


class Conv(nn.Module):
    """`conv2d` as a Linen layer with a square kernel and, unless told otherwise, a bias that starts at 0.

    Args:
        features: number of output channels.
        size: side of the kernel in pixels.
        kernel_init: initialiser of the kernel (size, size, inputs, features).
        stride: as in `conv2d`.
        padding: as in `conv2d`.
        use_bias: whether to add a bias (features,).
    """

    features: int
    size: int
    kernel_init: Initialiser
    stride: int = 1
    padding: str = "VALID"
    use_bias: bool = True

    @nn.compact
    def __call__(self, images: Float[Array, "n height width inputs"]) -> Float[Array, "n rows columns outputs"]:
        """The convolved batch."""
        shape = (self.size, self.size, images.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        outputs = conv2d(images, kernel, stride=self.stride, padding=self.padding)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            outputs = outputs + bias.reshape(1, 1, 1, -1)
        return outputs
