"""What stopping at the best validation epoch would have gained, and when that epoch was."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput


class EarlyStopping(NamedTuple):
    """Per curve: the best value, the last one, the first minus the second, and the time of the best."""

    best: Float[Array, "*axes"]
    final: Float[Array, "*axes"]
    gain: Float[Array, "*axes"]
    time: Float[Array, "*axes"]


def early_stopping(
    validation: Float[Array | np.ndarray, "*axes blocks"],
    times: Float[Array | np.ndarray, " times"] | Int[Array | np.ndarray, " times"],
) -> EarlyStopping:
    """The gain of stopping at the best validation accuracy: ``max_b a_b - a_last``, at the first such block.

    The best is chosen and judged on the same examples, so it is a little high, and the gain of a flat, noisy curve is
    above zero.

    Args:
        validation: accuracies along training (*axes, blocks), or anything else that should be high.
        times: the time of each block, such as its epoch.

    Returns:
        `EarlyStopping`, each (*axes); NaN where a curve has a value that is not a number.

    Raises:
        BadInput: there are no blocks, or not one time a block.

    Source: Arpit et al. (2017), section 4.2 (thesis 2.2): early stopping matters where examples are mislabelled.
    """
    curve, moments = jnp.asarray(validation), jnp.asarray(times)
    if not curve.ndim or not curve.shape[-1] or moments.shape != curve.shape[-1:]:
        raise BadInput(f"times: shape {moments.shape} is not one time for each block of curves {curve.shape}")
    best, final = jnp.max(curve, axis=-1), curve[..., -1]
    time = moments[jnp.argmax(curve, axis=-1)].astype(curve.dtype)
    return EarlyStopping(best, final, best - final, jnp.where(jnp.isnan(best), jnp.nan, time))


def value_at(
    curve: Float[Array | np.ndarray, "*axes blocks"],
    guide: Float[Array | np.ndarray, "*others"],
) -> Float[Array, "*axes"]:
    """A curve where another one is first at its best: test accuracy at the best validation epoch, for instance.

    Raises:
        BadInput: the two differ in shape.
    """
    if jnp.shape(curve) != jnp.shape(guide):
        raise BadInput(f"curve: shape {jnp.shape(curve)} is not that of its guide, {jnp.shape(guide)}")
    place = jnp.argmax(jnp.asarray(guide), axis=-1)[..., None]
    return jnp.take_along_axis(jnp.asarray(curve), place, axis=-1)[..., 0]
