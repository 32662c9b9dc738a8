"""Cross-entropy and accuracy, and the objective that trains a classifier by them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mlrisk.errors import BadInput
from mlrisk.types import Aux, Examples, Hyper, Metrics, Model, Objective, Params, RandomKey, Scalar


def cross_entropy(logits: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The negative log-likelihood of each label, in nats: ``log(sum_c exp(z_c)) - z_label``.

    Args:
        logits: unnormalised log-probabilities z.
        labels: integers in [0, classes).

    Returns:
        One loss per example; NaN where the label is outside the range.

    Raises:
        BadInput: the shapes do not belong together, or the labels are not integers.

    Differs:
        The label's logit is picked by comparison, not by index: the gradient, ``softmax(z) - onehot``, then
        needs no scatter, which is slow in loops on a CPU.
    """
    hit = _one_hot(logits, labels)
    picked = jnp.where(hit, logits, 0).sum(-1)
    loss = jax.nn.logsumexp(logits, axis=-1) - picked
    return jnp.where(hit.any(-1), loss, jnp.nan)


def accuracy(logits: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]) -> Scalar:
    """The share of examples whose largest logit (the first, among equals) is the label's.

    Args:
        logits: scores of the classes.
        labels: integers in [0, classes).

    Returns:
        A scalar in [0, 1].

    Raises:
        BadInput: the shapes do not belong together, or the labels are not integers.
    """
    _require_pair(logits, labels)
    return (jnp.argmax(logits, axis=-1) == labels).mean(dtype=jnp.float32)


def classification(model: Model) -> Objective:
    """The mean cross-entropy of a model on a batch: ``(1 / n) sum_i -log softmax(f(x_i))_{y_i}``.

    Args:
        model: ``apply(params, inputs)`` gives logits (n, classes); ``apply_train`` is used where it has one.

    Returns:
        ``(params, batch, hyper, key) -> (loss, metrics)`` on `Examples`, with metrics ``loss`` (nats) and
        ``accuracy``; ``(loss, Aux(metrics, state))`` for a model with ``apply_train``. ``hyper`` is not used.
    """

    def objective(params: Params, batch: Examples, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics | Aux]:
        del hyper
        inputs, labels = batch
        if model.apply_train is None:
            return _mean_loss(model.apply(params, inputs), labels)
        logits, state = model.apply_train(params, inputs, key)
        loss, metrics = _mean_loss(logits, labels)
        return loss, Aux(metrics, state)

    return objective


def _mean_loss(logits: Array, labels: Array) -> tuple[Scalar, Metrics]:
    loss = cross_entropy(logits, labels).mean()
    return loss, {"loss": loss, "accuracy": accuracy(logits, labels)}


def _one_hot(logits: Array, labels: Array) -> Bool[Array, "*batch classes"]:
    _require_pair(logits, labels)
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)


def _require_pair(logits: Any, labels: Any) -> None:
    if logits.shape[:-1] != labels.shape:
        raise BadInput(f"labels: shape {labels.shape} does not fit logits {logits.shape}; one per row is needed")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise BadInput(f"labels: dtype {labels.dtype} is not an integer type")
