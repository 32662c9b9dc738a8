"""Loss-sensitivity: how strongly the losses during training depend on each training input."""

import functools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mlrisk.errors import BadInput, one_of
from mlrisk.measures.trajectory import SGD, Apply, ExampleLoss, require_schedule
from mlrisk.measures.unrolled import InputGradients, input_gradients
from mlrisk.objectives.classification import cross_entropy
from mlrisk.types import Examples, Params, is_concrete

Norm = Literal["l1", "l2", "linf"]
Variant = Literal["indirect", "total"]


class LossSensitivity(NamedTuple):
    """How much each training example matters to the mean training loss.

    Attributes:
        norms: ``g_x^t``, one row a time (targets, n); NaN in rows that overflowed.
        mean: their mean over the times (n,); NaN if any row overflowed.
        overflowed: times at which a loss or a gradient is too large for its type (targets,).
        losses: the mean training loss at each time (targets,).
        params: the parameters after the last target's updates.
    """

    norms: Float[Array, "targets n"]
    mean: Float[Array, " n"]
    overflowed: Bool[Array, " targets"]
    losses: Float[Array, " targets"]
    params: Params


class ClassLossSensitivity(NamedTuple):
    """How much the examples of each class matter to the loss of each class.

    Attributes:
        matrix: rows are the classes of losses, columns the classes of inputs (classes, classes); NaN in rows that
            overflowed, and in columns of classes without examples.
        overflowed: times and classes whose loss or gradient is too large for its type (targets, classes).
    """

    matrix: Float[Array, "classes classes"]
    overflowed: Bool[Array, "targets classes"]


def loss_sensitivity(
    apply: Apply,
    params: Params,
    examples: Examples,
    sgd: SGD,
    targets: Sequence[int],
    *,
    norm: Norm = "l1",
    variant: Variant = "indirect",
    loss: ExampleLoss = cross_entropy,
    segment: int = 1,
) -> LossSensitivity:
    """How strongly the training loss depends on each training input, differentiated through the training.

    ``g_x^t = ||dL_t/dx||`` with ``L_t`` the mean loss over all examples after t updates, and its mean over times t.
    Training is not changed: the updates are made again as ``sgd`` says, and differentiated.

    Args:
        apply: ``(params, inputs) -> outputs``, any pure function; logits for the default loss.
        params: the parameters that training starts from.
        examples: the training set: inputs (n, *shape) of a float type, labels (n,).
        sgd: the updates; its order says which rows were the batch of each step.
        targets: the times t, each from 1 to the number of steps (static).
        norm: of the gradient of one input: ``"l1"``, ``"l2"`` or ``"linf"``.
        variant: ``"indirect"`` leaves out what the example owes to its own place in ``L_t``, and so measures its
            effect through the updates alone; ``"total"`` is the whole derivative.
        loss: ``(outputs, labels) -> losses``, one an example; twice differentiable almost everywhere.
        segment: updates between stored states: 1 stores all, about the root of their number least (static).

    Returns:
        `LossSensitivity`. Takes ``2 targets x n x size of an input`` numbers of memory: split the targets over
        several calls where that is too much.

    Raises:
        BadInput: wrong shapes, labels, rows or times, a learning rate that is not positive, inputs that are not
            finite, or an unknown norm or variant. What ``jit`` hides cannot be checked.

    Source: Arpit et al. 2017, section 3.2 (thesis section 3.4.2); Maclaurin et al. 2015 for the derivative.
    """
    times = _check(apply, params, examples, sgd, targets, loss, norm, variant, segment)
    count = examples.labels.shape[0]
    weights = jnp.full((1, count), 1 / count, examples.inputs.dtype)
    found = input_gradients(apply, params, examples, sgd, weights, loss=loss, targets=times, segment=segment)
    norms, overflowed = sensitivity_norms(found, norm, variant)
    last = jax.tree.map(lambda leaf: leaf[int(np.argmax(times))], found.params)
    return LossSensitivity(norms[:, 0], norms[:, 0].mean(0), overflowed[:, 0], found.losses[:, 0], last)


def class_loss_sensitivity(
    apply: Apply,
    params: Params,
    examples: Examples,
    sgd: SGD,
    targets: Sequence[int],
    *,
    norm: Norm = "l1",
    variant: Variant = "indirect",
    loss: ExampleLoss = cross_entropy,
    segment: int = 1,
) -> ClassLossSensitivity:
    """How strongly the loss of each class depends on the training inputs of each class.

    ``g_ij = E_{x of class j} (1/T) sum_t ||dL_t(y = i)/dx||``, with ``L_t(y = i)`` the sum of the losses of the
    training examples of class i after t updates, and T the number of times.

    Args:
        apply: see `loss_sensitivity`; the last axis of its outputs is the classes.
        params: see `loss_sensitivity`.
        examples: see `loss_sensitivity`; labels of two classes or more.
        sgd: see `loss_sensitivity`.
        targets: see `loss_sensitivity`.
        norm: see `loss_sensitivity`.
        variant: see `loss_sensitivity`.
        loss: see `loss_sensitivity`.
        segment: see `loss_sensitivity`.

    Returns:
        `ClassLossSensitivity`; its variants differ on the diagonal only, as a class's loss has no direct term in the
        inputs of another. Takes ``2 targets x classes x n x size of an input`` numbers of memory.

    Raises:
        BadInput: as `loss_sensitivity`, or there is only one class.

    Source: Arpit et al. 2017, section 3.2, per-class loss-sensitivity (thesis Figure 3.4).

    Differs: the caption there names the classes of losses and inputs the other way round than its formula, which is
        followed here.
    """
    times = _check(apply, params, examples, sgd, targets, loss, norm, variant, segment)
    classes, labels = _outputs(apply, params, examples)[-1], examples.labels
    if classes < 2 or (is_concrete(labels) and len(np.unique(np.asarray(labels))) < 2):
        raise BadInput("labels: only one class; the sensitivity between classes needs at least 2")
    member = jax.nn.one_hot(labels, classes, axis=0, dtype=examples.inputs.dtype)
    found = input_gradients(apply, params, examples, sgd, member, loss=loss, targets=times, segment=segment)
    norms, overflowed = sensitivity_norms(found, norm, variant)
    return ClassLossSensitivity(class_means(norms.mean(0), member), overflowed)


def class_means(values: Float[Array, "rows n"], member: Float[Array, "classes n"]) -> Float[Array, "rows classes"]:
    """Means over the examples of each class; NaN for a class without any.

    Args:
        values: one an example in each row.
        member: 1 where an example is of the class, else 0.
    """
    return values @ member.T / member.sum(1)[None, :]


@functools.partial(jax.jit, static_argnames=("norm", "variant"))
def sensitivity_norms(
    gradients: InputGradients, norm: Norm, variant: Variant
) -> tuple[Float[Array, "targets parts n"], Bool[Array, "targets parts"]]:
    """The norm of each input's gradient, and which losses overflowed: all norms of these are NaN.

    Args:
        gradients: from `input_gradients`.
        norm: ``"l1"``, ``"l2"`` or ``"linf"``.
        variant: ``"indirect"`` or ``"total"``.
    """
    values = gradients.indirect if variant == "indirect" else gradients.indirect + gradients.direct
    sizes = jnp.abs(values.reshape(*values.shape[:3], -1))
    largest = sizes.max(-1)
    if norm == "linf":
        norms = largest
    elif norm == "l1":
        norms = sizes.sum(-1)
    else:
        # squares of values near the largest float would overflow
        scale = jnp.where(largest > 0, largest, jnp.ones_like(largest))
        norms = scale * jnp.sqrt(jnp.square(sizes / scale[..., None]).sum(-1))
    overflowed = ~(jnp.isfinite(norms).all(-1) & jnp.isfinite(gradients.losses))
    return jnp.where(overflowed[..., None], jnp.nan, norms), overflowed


def _check(
    apply: Apply, params: Params, examples: Examples, sgd: SGD, targets: Sequence[int], loss: ExampleLoss,
    norm: Norm, variant: Variant, segment: int,
) -> tuple[int, ...]:  # fmt: skip
    inputs, labels = examples
    if jnp.ndim(inputs) < 2 or not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise BadInput(f"inputs: {inputs.dtype} of shape {jnp.shape(inputs)} is not floats (n, *shape)")
    if jnp.shape(labels) != inputs.shape[:1]:
        raise BadInput(f"labels: shape {jnp.shape(labels)} is not ({len(inputs)},), one for each input")
    if is_concrete(inputs) and (wrong := np.count_nonzero(~np.isfinite(np.asarray(inputs)))):
        raise BadInput(f"inputs: {wrong} of {math.prod(inputs.shape)} values are not finite")
    require_schedule(sgd, len(inputs))
    if loss is cross_entropy:
        _check_labels(labels, _outputs(apply, params, examples))
    for name, value, allowed in (("norm", norm, Norm), ("variant", variant, Variant)):
        if value not in get_args(allowed):
            raise BadInput(one_of(name, value, get_args(allowed)))
    if segment < 1:
        raise BadInput(f"segment: {segment} is not a positive number of updates")
    return _times(targets, sgd.order.shape[0])


def _check_labels(labels: Array, outputs: tuple[int, ...]) -> None:
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise BadInput(f"labels: dtype {labels.dtype} is not an integer type")
    if is_concrete(labels) and not np.isin(np.asarray(labels), np.arange(outputs[-1])).all():
        raise BadInput(f"labels: some are outside 0 to {outputs[-1] - 1} (the model has {outputs[-1]} outputs)")


def _outputs(apply: Apply, params: Params, examples: Examples) -> tuple[int, ...]:
    return jax.eval_shape(apply, params, examples.inputs).shape


def _times(targets: Sequence[int], steps: int) -> tuple[int, ...]:
    times = tuple(int(target) for target in targets)
    if not times:
        raise BadInput("targets: no times; at least 1 is needed")
    if wrong := [time for time in times if not 1 <= time <= steps]:
        raise BadInput(f"targets: {wrong[0]} is not from 1 to {steps} (the number of steps)")
    return times
