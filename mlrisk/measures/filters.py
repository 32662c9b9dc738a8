"""How much structure the filters of a convolution have: roughness, and the share of low frequencies."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.types import is_concrete


def roughness(filters: Float[Array | np.ndarray, "rows columns inputs outputs"]) -> Float[Array, " outputs"]:
    """The squared differences of neighbouring weights over the squared weights.

    ``R = (sum (k[a+1, b, c] - k[a, b, c])^2 + sum (k[a, b+1, c] - k[a, b, c])^2) / sum k[a, b, c]^2``

    A constant filter has 0; independent weights of mean 0 have ``2 (2 - 1/rows - 1/columns)`` on average (3.2 for
    5 x 5). It does not change with the filter's scale.

    Args:
        filters: kernel in HWIO order, its input channels (c) taken together.

    Returns:
        One number a filter (outputs,), from 0 to below 8.

    Raises:
        BadInput: no weights, or a filter whose weights are not finite or all 0.
    """
    kernel = _checked(filters)
    steps = sum(jnp.square(jnp.diff(kernel, axis=axis)).sum(axis=(0, 1, 2)) for axis in (0, 1))
    return jnp.asarray(steps) / jnp.square(kernel).sum(axis=(0, 1, 2))


def low_frequency_share(
    filters: Float[Array | np.ndarray, "rows columns inputs outputs"], cutoff: int = 1
) -> Float[Array, " outputs"]:
    """The share of a filter's energy at its lowest frequencies, by the discrete Fourier transform over its pixels.

    ``S = sum_{|u| + |v| <= cutoff} |K[u, v, c]|^2 / sum_{u, v} |K[u, v, c]|^2`` with u, v in periods a filter.

    A constant filter has 1; independent weights of mean 0 have the share of frequencies counted on average (5 of 25
    for 5 x 5). It does not change with the filter's scale.

    Args:
        filters: kernel in HWIO order, its input channels (c) taken together.
        cutoff: the largest ``|u| + |v|`` counted; at 0, the mean alone.

    Returns:
        One number a filter (outputs,), in [0, 1].

    Raises:
        BadInput: ``cutoff`` is negative, no weights, or a filter whose weights are not finite or all 0.
    """
    if cutoff < 0:
        raise BadInput(f"cutoff: {cutoff} is not a number of periods, it must be at least 0")
    kernel = _checked(filters)
    power = jnp.square(jnp.abs(jnp.fft.fft2(kernel, axes=(0, 1)))).sum(axis=2)
    u, v = (np.abs(np.fft.fftfreq(size, 1 / size)) for size in kernel.shape[:2])
    low = jnp.asarray((u[:, None] + v[None, :]) <= cutoff)[..., None]
    return jnp.sum(power * low.astype(power.dtype), axis=(0, 1)) / power.sum(axis=(0, 1))


def _checked(filters: Float[Array | np.ndarray, "rows columns inputs outputs"]) -> Array:
    kernel = jnp.asarray(filters)
    if not kernel.size:
        raise BadInput(f"filters: shape {kernel.shape} has no weights")
    if is_concrete(kernel):
        values = np.asarray(kernel)
        wrong = ~np.isfinite(values).all(axis=(0, 1, 2)) | ~values.any(axis=(0, 1, 2))
        if wrong.any():
            raise BadInput(f"filters: {wrong.sum()} of {wrong.size} have weights that are not finite, or all 0")
    return kernel
