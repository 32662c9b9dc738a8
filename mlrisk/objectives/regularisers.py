"""Cross-entropy with any of six regularisers, whose strengths are traced so that they can be lanes of one sweep."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.objectives.classification import accuracy, cross_entropy
from mlrisk.objectives.disturbances import both, dropout, gaussian_noise
from mlrisk.types import (
    Aux,
    Disturb,
    Examples,
    Hyper,
    Metrics,
    Model,
    Objective,
    Params,
    RandomKey,
    Scalar,
    is_concrete,
)

Strength = Float[Array, ""] | float | None
"""A number, which may be traced, or None for a regulariser that is not there and costs nothing."""


Attack = Callable[[Callable[[Array], Array], Array, RandomKey], tuple[Any, Array]]
"""``(predict, inputs, key) -> (found, adversaries)``: `mlrisk.measures.lass`, `fgsm` or `pgd` with its options set."""


class Adversarial(NamedTuple):
    """Adversarial training: ``(1 - w) L(x) + w L(x')``, x' from an attack on the parameters of the step.

    Attributes:
        weight: w in [0, 1].
        attack: such as ``functools.partial(lass, radius=0.1, num_steps=5)``.
    """

    weight: Float[Array, ""] | float
    attack: Attack


class Regularisers(NamedTuple):
    """Which regularisers are on, and how strongly; any of them together.

    Attributes:
        dropout: rate on every hidden layer, in [0, 1).
        input_dropout: rate on the inputs, in [0, 1).
        input_noise: standard deviation of Gaussian noise on the inputs, in their unit.
        hidden_noise: standard deviation of Gaussian noise on every hidden layer.
        weight_decay: c of the penalty ``c / 2 sum ||W||^2`` over kernels; biases and normalisation go free.
        adversarial: see `Adversarial`.
    """

    dropout: Strength = None
    input_dropout: Strength = None
    input_noise: Strength = None
    hidden_noise: Strength = None
    weight_decay: Strength = None
    adversarial: Adversarial | None = None


def regularised(model: Model, regularisers: Regularisers | Callable[[Hyper], Regularisers]) -> Objective:
    """The mean cross-entropy of a model on a batch, with regularisers.

    Metrics are the cross-entropy and accuracy of the disturbed training batch; evaluate with ``model.apply``, where
    nothing is disturbed.

    Args:
        model: any; hidden regularisers need one with ``apply_disturbed``.
        regularisers: fixed, or made from the lane's hyper, such as
            ``lambda hyper: Regularisers(dropout=hyper.strength)``.

    Returns:
        ``(params, batch, hyper, key) -> (loss, Aux(metrics, state))`` on `Examples`.

    Raises:
        BadInput: a hidden regulariser for a model that cannot be disturbed, or a strength out of range.

    Source:
        Arpit et al. (2017), section 4.3 and Figure 10: the six techniques.

    Differs:
        The paper does not say where dropout is placed, how weight decay is scaled, or how clean and adversarial
        losses are mixed.
    """

    def objective(params: Params, batch: Examples, hyper: Hyper, key: RandomKey) -> tuple[Scalar, Metrics | Aux]:
        parts = regularisers(hyper) if callable(regularisers) else regularisers
        clean_key, attack_key, adversarial_key = prng.streams(key, "clean", "attack", "adversarial")
        logits, state = _disturbed_apply(model, params, batch.inputs, parts, clean_key)
        cross = cross_entropy(logits, batch.labels).mean()
        loss, metrics = cross, {"loss": cross, "accuracy": accuracy(logits, batch.labels)}
        if parts.adversarial is not None:
            attacked = batch._replace(inputs=_adversaries(model, params, batch.inputs, parts.adversarial, attack_key))
            now = {**params, **state} if state else params
            harmed, state = _disturbed_apply(model, now, attacked.inputs, parts, adversarial_key)
            weight = jnp.asarray(parts.adversarial.weight, loss.dtype)
            loss = (1 - weight) * loss + weight * cross_entropy(harmed, batch.labels).mean()
        if parts.weight_decay is not None:
            loss = loss + weight_penalty(params, parts.weight_decay)
        return loss, Aux(metrics, state)

    return objective


def weight_penalty(params: Params, strength: Float[Array, ""] | float) -> Scalar:
    """``c / 2 sum ||W||^2`` over the kernels of the parameters: leaves of two axes or more.

    Args:
        params: a tree; in one with an entry ``"params"`` (Linen's), the other collections are left out.
        strength: c, not negative.

    Raises:
        BadInput: a concrete strength that is negative.
    """
    if is_concrete(strength) and not float(strength) >= 0:
        raise BadInput(f"weight_decay: {strength} is not zero or more")
    trained = params["params"] if isinstance(params, dict) and "params" in params else params
    squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(trained) if leaf.ndim > 1]
    return jnp.asarray(strength, jnp.float32) / 2 * sum(squares, start=jnp.float32(0))


def _disturbed_apply(
    model: Model, params: Params, inputs: Array, parts: Regularisers, key: RandomKey
) -> tuple[Array, dict[str, Any]]:
    input_key, hidden_key = prng.streams(key, "inputs", "hidden")
    on_inputs = _chain(parts.input_dropout, parts.input_noise)
    on_hidden = _chain(parts.dropout, parts.hidden_noise)
    inputs = inputs if on_inputs is None else on_inputs(inputs, input_key)
    if on_hidden is not None:
        if model.apply_disturbed is None:
            raise BadInput("model: has no apply_disturbed, which dropout and noise on hidden layers need")
        return model.apply_disturbed(params, inputs, hidden_key, on_hidden)
    if model.apply_train is None:
        return model.apply(params, inputs), {}
    return model.apply_train(params, inputs, hidden_key)


def _chain(rate: Strength, std: Strength) -> Disturb | None:
    if rate is None or std is None:
        return dropout(rate) if rate is not None else gaussian_noise(std) if std is not None else None
    return both(dropout(rate), gaussian_noise(std))


def _adversaries(model: Model, params: Params, inputs: Array, how: Adversarial, key: RandomKey) -> Array:
    fixed = jax.lax.stop_gradient(params)
    _, attacked = how.attack(lambda x: model.apply(fixed, x), inputs, key)
    return jax.lax.stop_gradient(attacked)
