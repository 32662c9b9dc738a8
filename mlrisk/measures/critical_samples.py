"""The share of examples near which the predicted class changes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlrisk.errors import BadInput
from mlrisk.measures.adversaries import lass_search
from mlrisk.measures.ascent import Count, Number, Predict, require_search
from mlrisk.types import RandomKey, Scalar


def critical_sample_ratio(
    predict: Predict,
    x: Float[Array | np.ndarray, "n ..."],
    key: RandomKey,
    *,
    radius: Number,
    alpha: Number = 0.25,
    beta: Number = 0.2,
    num_steps: Count = 100,
    box: tuple[Number, Number] | None = None,
    scale: Number | None = None,
    min_new_share: Number = 0.0,
    batch_size: int | None = None,
) -> Scalar:
    """The share of critical examples: ``CSR = #{x : some x' with |x' - x|_inf <= r has another class} / n``.

    `mlrisk.measures.lass` searches for x', so the share is a lower bound. Labels play no part.

    Args:
        predict: ``x -> logits`` (n, classes), each row a function of its own example alone: batch normalisation in
            inference mode.
        x: examples (n, *shape), in any units; published numbers are for held-out ones.
        key: typed key of the noise.
        radius: r, in the units of x; the published 0.3 is for pixels from 0 to 255. And all further options: see
            `mlrisk.measures.lass`, with ``min_new_share`` a share of each batch.
        alpha: length of a step.
        beta: standard deviation of the noise.
        num_steps: iterations at most.
        box: lowest and highest value of an entry of an input.
        scale: the units of alpha and beta.
        min_new_share: of a batch, below which an iteration is its last.
        batch_size: examples searched at a time, each batch until all of its own are found; all at once when None.
            No example is left out, and none is judged otherwise for it.

    Returns:
        A scalar in [0, 1]; NaN if, under ``jit``, the logits at some example are NaN.

    Raises:
        BadInput: see `mlrisk.measures.lass`; or ``batch_size`` is not positive.

    Source: Arpit et al. (2017), section 3.4, definition 1 and the ratio after it (thesis section 3.4).
    """
    if batch_size is not None and batch_size < 1:
        raise BadInput(f"batch_size: {batch_size} is not a positive number of examples")
    require_search(x, radius, num_steps, box)
    options = {"radius": radius, "alpha": alpha, "beta": beta, "num_steps": num_steps, "box": box, "scale": scale}

    def judged(rows: Array, index: Int[Array, " m"]) -> tuple[Bool[Array, " m"], Bool[Array, " m"]]:
        real = index < count
        search = lass_search(predict, rows, key, **options, min_new_share=min_new_share, index=index, counted=real)
        return search.found, search.defined | ~real

    count = x.shape[0]
    if batch_size is None or batch_size >= count:
        found, defined = judged(jnp.asarray(x), jnp.arange(count))
    else:
        found, defined = jax.lax.map(lambda batch: judged(*batch), _batches(jnp.asarray(x), batch_size))
    share = jnp.sum(found, dtype=jnp.float32) / count
    return jnp.where(jnp.all(defined), share, jnp.nan)


def _batches(x: Float[Array, "n ..."], batch_size: int) -> tuple[Array, Array]:
    """Batches of equal size, the last filled up with its last example, and the number of each row."""
    number = -(-len(x) // batch_size)
    index = np.arange(number * batch_size)
    rows = x[np.minimum(index, len(x) - 1)]
    return rows.reshape(number, batch_size, *x.shape[1:]), jnp.asarray(index).reshape(number, batch_size)
