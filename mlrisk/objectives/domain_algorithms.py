"""The algorithms of DomainBed by name, each as a loss over what a network makes of a batch from every domain."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput, one_of
from mlrisk.objectives.discriminators import confusion, init_discriminator
from mlrisk.objectives.featurised import TRAINED, FeaturisedModel
from mlrisk.objectives.gradient_matching import (
    GradientVariances,
    Smoothed,
    fishr_penalty,
    iga_penalty,
    last_layer_variances,
    smoothed,
)
from mlrisk.objectives.irm import irm_v1_penalty
from mlrisk.objectives.matching import (
    coral_penalty,
    information_bottleneck_penalty,
    mmd_penalty,
    spectral_decoupling_penalty,
)
from mlrisk.objectives.penalty_schedules import stepped_weight
from mlrisk.objectives.risks import eqrm, online_group_dro, v_rex
from mlrisk.types import Params, RandomKey, Scalar

Hypers = dict[str, Array]


class View(NamedTuple):
    """What an algorithm looks at: the network's view of a batch (m, n, ...) and its risk in each domain."""

    params: Params
    features: Float[Array, "m n d"]
    logits: Float[Array, "m n classes"]
    labels: Int[Array, "m n"]
    risks: Float[Array, " m"]
    risks_of: Callable[[Params], Float[Array, " m"]]
    """The risks as a function of the trained entries, for penalties on gradients."""

    @property
    def several(self) -> bool:
        """Whether there is more than one domain; with one, penalties across domains are zero."""
        return self.risks.shape[0] > 1


Loss = Callable[[View, Hypers], tuple[Scalar, dict[str, Any]]]
"""The scalar to minimise, and the entries of ``params`` that the algorithm carries on."""


class Algorithm(NamedTuple):
    """A loss; what it carries from step to step; and when its optimiser starts afresh."""

    loss: Loss
    init: Callable[[RandomKey, FeaturisedModel, int], dict[str, Any]] = lambda key, network, num_domains: {}
    resets: tuple[str, ...] = ()
    """Names of the hyper-parameters that say at which steps."""


def _erm(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    return view.risks.mean(), {}


def _irm_penalty(view: View) -> Scalar:
    halves = jax.vmap(lambda z, y: irm_v1_penalty(z, y, estimator="halves"))
    return halves(view.logits, view.labels).mean()


def _switched(hyper: Hypers, strength: str, switch: str, before: float = 1.0) -> Scalar:
    return stepped_weight(hyper["step"], hyper[switch].astype(jnp.int32), hyper[strength], before)


def _irm(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    weight = _switched(hyper, "irm_lambda", "irm_penalty_anneal_iters")
    return view.risks.mean() + weight * _irm_penalty(view), {}


def _vrex(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    weight = _switched(hyper, "vrex_lambda", "vrex_penalty_anneal_iters")
    return v_rex(view.risks, weight, reduction="mean") if view.several else view.risks.mean(), {}


def _group_dro(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    if not view.several:
        return _erm(view, hyper)
    found = online_group_dro(view.params["group_weights"], view.risks, hyper["groupdro_eta"])
    return found.loss, {"group_weights": found.weights}


def _matching(penalty: Callable[[Array], Scalar]) -> Loss:
    def loss(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
        apart = penalty(view.features) if view.several else jnp.zeros(())
        return view.risks.mean() + hyper["mmd_gamma"] * apart, {}

    return loss


def _sd(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    return view.risks.mean() + hyper["sd_reg"] * spectral_decoupling_penalty(view.logits), {}


def _iga(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    if not view.several:
        return _erm(view, hyper)
    trained = {name: view.params[name] for name in TRAINED}
    return view.risks.mean() + hyper["penalty"] * iga_penalty(jax.jacrev(view.risks_of)(trained)), {}


def _fishr(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    if not view.several:
        return _erm(view, hyper)
    now = last_layer_variances(view.features, view.logits, view.labels)
    carried = smoothed(view.params["fishr"], now, hyper["ema"])
    weight = _switched(hyper, "lambda", "penalty_anneal_iters", before=0.0)
    kept = jax.lax.stop_gradient(carried)
    return view.risks.mean() + weight * fishr_penalty(carried), {"fishr": kept}


def _ib_erm(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    weight = _switched(hyper, "ib_lambda", "ib_penalty_anneal_iters", before=0.0)
    return view.risks.mean() + weight * information_bottleneck_penalty(view.features), {}


def _ib_irm(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    loss, _ = _ib_erm(view, hyper)
    return loss + _switched(hyper, "irm_lambda", "irm_penalty_anneal_iters") * _irm_penalty(view), {}


def _eqrm(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    mean = view.risks.mean()
    if not view.several:
        return mean, {}
    burning = hyper["step"] < hyper["eqrm_burnin_iters"].astype(jnp.int32)
    return jnp.where(burning, mean, eqrm(view.risks, hyper["eqrm_quantile"])), {}


def _dann(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    return view.risks.mean() + confusion(view.params["discriminator"], view.features, hyper["lambda"]), {}


def _cdann(view: View, hyper: Hypers) -> tuple[Scalar, dict[str, Any]]:
    apart = confusion(view.params["discriminator"], view.features, hyper["lambda"], view.labels)
    return view.risks.mean() + apart, {}


def _equal_weights(key: RandomKey, network: FeaturisedModel, num_domains: int) -> dict[str, Any]:
    return {"group_weights": jnp.full(num_domains, 1 / num_domains)}


def _no_variances(key: RandomKey, network: FeaturisedModel, num_domains: int) -> dict[str, Any]:
    kernel = jnp.zeros((num_domains, network.num_features, network.num_classes))
    return {"fishr": Smoothed(GradientVariances(kernel, kernel[:, 0]), jnp.zeros(()))}


def _discriminator(classes: bool) -> Callable[[RandomKey, FeaturisedModel, int], dict[str, Any]]:  # noqa: FBT001
    def init(key: RandomKey, network: FeaturisedModel, num_domains: int) -> dict[str, Any]:
        count = network.num_classes if classes else 0
        return {"discriminator": init_discriminator(key, network.num_features, num_domains, num_classes=count)}

    return init


ALGORITHMS: Mapping[str, Algorithm] = {
    "ERM": Algorithm(_erm),
    "IRM": Algorithm(_irm, resets=("irm_penalty_anneal_iters",)),
    "GroupDRO": Algorithm(_group_dro, _equal_weights),
    "VREx": Algorithm(_vrex, resets=("vrex_penalty_anneal_iters",)),
    "CORAL": Algorithm(_matching(coral_penalty)),
    "MMD": Algorithm(_matching(mmd_penalty)),
    "SD": Algorithm(_sd),
    "IGA": Algorithm(_iga),
    "Fishr": Algorithm(_fishr, _no_variances, ("penalty_anneal_iters",)),
    "IB_ERM": Algorithm(_ib_erm, resets=("ib_penalty_anneal_iters",)),
    "IB_IRM": Algorithm(_ib_irm, resets=("irm_penalty_anneal_iters", "ib_penalty_anneal_iters")),
    "EQRM": Algorithm(_eqrm, resets=("eqrm_burnin_iters",)),
    "DANN": Algorithm(_dann, _discriminator(classes=False)),
    "CDANN": Algorithm(_cdann, _discriminator(classes=True)),
}
"""By DomainBed's names; hyper-parameters are those of `mlrisk.objectives.domain_hyperparameters`."""


def find_algorithm(name: str) -> Algorithm:
    """The entry of `ALGORITHMS`.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in ALGORITHMS:
        raise BadInput(one_of("algorithms", name, ALGORITHMS))
    return ALGORITHMS[name]
