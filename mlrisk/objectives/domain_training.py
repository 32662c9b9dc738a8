"""An algorithm of DomainBed as what the harness takes: a model with its state, an objective and an optimiser."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.objectives.classification import cross_entropy
from mlrisk.objectives.disturbances import dropout
from mlrisk.objectives.domain_algorithms import Hypers, View, find_algorithm
from mlrisk.objectives.featurised import TRAINED, FeaturisedModel, apply_linear
from mlrisk.objectives.penalty_schedules import reset_at
from mlrisk.types import Aux, Examples, Model, Objective, Params, RandomKey, Scalar


def algorithm_model(name: str, network: FeaturisedModel, num_domains: int) -> Model:
    """The network with what its algorithm carries, as further entries of ``params``.

    Args:
        name: of the algorithm.
        network: what is trained.
        num_domains: training domains in a batch, m.

    Raises:
        BadInput: there is no such algorithm.
    """
    algorithm = find_algorithm(name)

    def init(key: RandomKey) -> Params:
        network_key, own_key = prng.streams(key, "network", "algorithm")
        return network.init(network_key) | algorithm.init(own_key, network, num_domains)

    return Model(init, network.apply)


def algorithm_objective(name: str, network: FeaturisedModel, *, drops: bool = False) -> Objective:
    """The loss of an algorithm on a batch of all training domains: inputs (m, n, *shape), labels (m, n).

    The hyper is a dict with the algorithm's hyper-parameters and ``"step"``, see `at_step`.

    Args:
        name: of the algorithm.
        network: see `algorithm_model`.
        drops: whether features are dropped at the rate ``resnet_dropout`` in training.

    Returns:
        An objective that gives `Aux`: ``risk`` is the mean cross-entropy, ``spread`` the domains' deviation.

    Raises:
        BadInput: there is no such algorithm.

    Source:
        Gulrajani and Lopez-Paz (2021), DomainBed, algorithms.py; each part's own source is given there.

    Differs:
        DANN and C-DANN: one optimiser and a reversed gradient, in place of alternate steps of two and a gradient
        penalty. A single training domain (in leave-one-domain-out) has no penalties across domains.
    """
    algorithm = find_algorithm(name)

    def objective(params: Params, batch: Examples, hyper: Hypers, key: RandomKey) -> tuple[Scalar, Aux]:
        def look(trained: Params) -> tuple[Array, Array, Array]:
            features = _features(network, {**params, **trained}, batch.inputs)
            if drops:
                features = dropout(hyper["resnet_dropout"])(features, key)
            logits = apply_linear(trained["head"], features)
            return features, logits, cross_entropy(logits, batch.labels).mean(1)

        features, logits, risks = look({entry: params[entry] for entry in TRAINED})
        view = View(params, features, logits, batch.labels, risks, lambda trained: look(trained)[2])
        loss, carried = algorithm.loss(view, hyper)
        return loss, Aux({"risk": risks.mean(), "spread": risks.std()}, carried)

    return objective


def _features(network: FeaturisedModel, params: Params, inputs: Array) -> Float[Array, "m n d"]:
    flat = inputs.reshape(-1, *inputs.shape[2:])
    return network.features(params, flat).reshape(*inputs.shape[:2], network.num_features)


def algorithm_optimizer(name: str) -> Callable[[Hypers], optax.GradientTransformation]:
    """Adam with weight decay in the gradient, made anew where the algorithm's penalty switches.

    Args:
        name: of the algorithm.

    Returns:
        ``hyper -> transformation``. The moments decay by ``beta1`` where the hyper has it, else by 0.9, and 0.999.
        EQRM goes on with ``eqrm_lr`` after its burn-in.

    Raises:
        BadInput: there is no such algorithm.
    """
    resets = find_algorithm(name).resets

    def make(hyper: Hypers) -> optax.GradientTransformation:
        adam = optax.scale_by_adam(b1=hyper.get("beta1", 0.9))
        for switch in resets:
            adam = reset_at(adam, hyper[switch].astype(jnp.int32))
        return optax.chain(_decayed(hyper["weight_decay"]), adam, optax.scale_by_schedule(_rate(hyper)))  # pyright: ignore[reportArgumentType]

    return make


def _rate(hyper: Hypers) -> Callable[[Array], Array]:
    if "eqrm_lr" not in hyper:
        return lambda count: -hyper["learning_rate"]
    burnt = hyper["eqrm_burnin_iters"].astype(jnp.int32)
    return lambda count: -jnp.where(count < burnt, hyper["learning_rate"], hyper["eqrm_lr"])


def _decayed(rate: Array) -> optax.GradientTransformation:
    def update(grads: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        assert params is not None
        decayed = {name: jax.tree.map(lambda g, p: g + rate * p, grads[name], params[name]) for name in TRAINED}
        return {**grads, **decayed}, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def at_step(hyper: Hypers, step: Int[Array, ""]) -> Hypers:
    """The hyper with the step, which switches look at: the ``schedule`` of `mlrisk.harness.make_train`."""
    return {**hyper, "step": step}
