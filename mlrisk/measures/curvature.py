"""How curved the loss is around each input: high where a network has bent itself around one example."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.objectives.classification import cross_entropy
from mlrisk.types import RandomKey, is_concrete


def input_curvature(
    predict: Callable[[Array], Array],
    inputs: Float[Array, "n ..."],
    labels: Int[Array, " n"],
    key: RandomKey,
    *,
    directions: int = 10,
    step: float | None = None,
    loss: Callable[[Array, Array], Array] = cross_entropy,
) -> Float[Array, " n"]:
    """The squared size of the loss's Hessian in each input: ``tr(H_i^2) = E_v ||H_i v||^2``, v of random signs.

    ``H_i`` is the second derivative of the loss of example i in its own input.

    Args:
        predict: ``inputs -> logits`` (n, classes), each row a function of its own input alone: batch normalisation
            in inference mode. Of any library that JAX can differentiate.
        inputs: (n, *shape), of a float type.
        labels: (n,), in the range of the logits.
        key: typed key of the directions; each example has its own.
        directions: how many are averaged over (static).
        step: None for exact products ``H v``; else the distance h of ``(grad l(x + h v) - grad l(x)) / h`` (static).
        loss: ``(logits, labels) -> losses``, one an example.

    Returns:
        Values of 0 and up (n,), in the unit of the loss squared over that of the inputs to the fourth.

    Raises:
        BadInput: shapes that do not fit, no directions, a step that is not positive, or (where they are not traced)
            inputs that are not finite or labels out of range.

    Source:
        Garg and Roy, Samples with low loss curvature improve data efficiency, CVPR 2023, equation (5); Garg,
        Ravikumar and Roy, Memorization through the lens of curvature of loss function around samples, ICML 2024,
        who average it over the epochs of training.
    Differs:
        They leave out the division by h, which changes no ranking; products are exact by default.
    """
    _check(predict, inputs, labels, directions, step)

    def gradient(x: Array) -> Array:
        return jax.grad(lambda x: loss(predict(x), labels).sum())(x)

    def squared(index: Int[Array, ""]) -> Float[Array, " n"]:
        v = jax.random.rademacher(prng.step_key(key, index), inputs.shape, inputs.dtype)
        if step is None:
            product = jax.jvp(gradient, (inputs,), (v,))[1]
        else:
            product = (gradient(inputs + step * v) - gradient(inputs)) / step
        return jnp.sum(jnp.square(product).reshape(inputs.shape[0], -1), axis=-1)

    return jax.lax.map(squared, jnp.arange(directions)).mean(axis=0)


def _check(
    predict: Callable[[Array], Array], inputs: Array, labels: Array, directions: int, step: float | None
) -> None:
    if jnp.ndim(inputs) < 2 or not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise BadInput(f"inputs: {inputs.dtype} of shape {jnp.shape(inputs)} is not floats (n, *shape)")
    if jnp.shape(labels) != inputs.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise BadInput(f"labels: {labels.dtype} of shape {jnp.shape(labels)} is not integers ({len(inputs)},)")
    logits = jax.eval_shape(predict, inputs).shape
    if len(logits) != 2 or logits[0] != len(inputs):
        raise BadInput(f"predict: gives shape {logits} for {len(inputs)} inputs, not (n, classes)")
    if directions < 1:
        raise BadInput(f"directions: {directions} is not a positive number of directions")
    if step is not None and not 0 < step < np.inf:
        raise BadInput(f"step: {step} is not a positive distance")
    if is_concrete(inputs) and (wrong := np.count_nonzero(~np.isfinite(np.asarray(inputs)))):
        raise BadInput(f"inputs: {wrong} of {np.size(inputs)} values are not finite")
    if is_concrete(labels) and not np.isin(np.asarray(labels), np.arange(logits[1])).all():
        raise BadInput(f"labels: some are outside 0 to {logits[1] - 1} (the model has {logits[1]} outputs)")
