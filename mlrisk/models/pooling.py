"""Max-pooling without reduce-window, whose gradient is a slow scatter on a CPU."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput


def max_pool(
    images: Float[Array, "n height width channels"], window: int, stride: int | None = None
) -> Float[Array, "n rows columns channels"]:
    """The largest value of each square window.

    ``y[n, i, j, c] = max_{a, b < window} x[n, i stride + a, j stride + b, c]``

    Only whole windows count ("VALID"): with stride s an axis of h pixels gives ``(h - window) // s + 1``.

    Args:
        images: batch in NHWC order.
        window: side of the window in pixels.
        stride: pixels between windows; the window itself when None.

    Returns:
        The pooled batch.

    Raises:
        BadInput: ``window`` or ``stride`` is not positive, or the images are smaller than the window.

    Differs:
        Equal in value to `flax.linen.max_pool`. Where several pixels of a window share the maximum they share
        its gradient, while there the first takes it all; after a ReLU the only common tie, at zero, has no
        gradient to share. Here the gradient can be differentiated again.
    """
    step = window if stride is None else stride
    if window < 1 or step < 1:
        raise BadInput(f"pool: window {window}, stride {step}; both must be at least 1")
    if min(images.shape[1:3]) < window:
        raise BadInput(f"pool: {window} pixels exceed the {images.shape[1]} x {images.shape[2]} they should pool")
    return _tiled(images, window) if step == window else _sliding(images, window, step)


def _tiled(images: Array, window: int) -> Array:
    count, height, width, channels = images.shape
    rows, columns = height // window, width // window
    whole = images[:, : rows * window, : columns * window]
    return whole.reshape(count, rows, window, columns, window, channels).max((2, 4))


def _sliding(images: Array, window: int, stride: int) -> Array:
    """Maxima of shifted slices, along rows and then along columns."""

    def along(values: Array, axis: int) -> Array:
        last = values.shape[axis] - window
        slices = (jax.lax.slice_in_dim(values, a, a + last + 1, stride, axis) for a in range(window))
        return functools.reduce(jnp.maximum, slices)

    return along(along(images, 1), 2)
