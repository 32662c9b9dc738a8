"""Training across domains at once: risks by domain, and the penalty of a method that a lane chooses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mlrisk.errors import BadInput
from mlrisk.objectives.irm import irm_v1_penalty
from mlrisk.objectives.penalty_schedules import rescaled, stepped_weight
from mlrisk.objectives.risks import erm, group_dro, mm_rex, v_rex
from mlrisk.types import Params, Scalar, is_concrete

METHODS = ("erm", "group_dro", "mm_rex", "v_rex", "irm_v1")
"""What `Penalty.method` counts."""


class Penalty(NamedTuple):
    """The hyper of a lane: which method, how strongly, and when; all may be traced, so that lanes differ in any.

    Attributes:
        method: an index into `METHODS`.
        weight: w from step ``switch`` on, and 1 before; not used by ERM and group DRO.
        switch: the first step with the full weight.
        weight_decay: l of ``l sum ||theta||^2`` over all parameters, biases included.
    """

    method: Int[Array, "..."]
    weight: Float[Array, "..."]
    switch: Int[Array, "..."]
    weight_decay: Float[Array, "..."]


class DomainRisks(NamedTuple):
    """What the methods look at: the risk of each domain, and its squared slope in the scale of the logits."""

    risks: Float[Array, " m"]
    slopes: Float[Array, " m"]


def by_domain(values: Float[Array, " n"], domains: Int[Array, " n"], num_domains: int) -> Float[Array, " m"]:
    """The mean of the values of each domain: ``R_e = sum_i [d_i = e] v_i / n_e``.

    Args:
        values: one an example.
        domains: in [0, num_domains); examples of other numbers are in no domain and left out.
        num_domains: m.

    Returns:
        (m,), in the unit of the values; NaN for a domain without examples where that cannot be seen beforehand.

    Raises:
        BadInput: the shapes differ, or a concrete domain is empty.
    """
    if values.shape != domains.shape:
        raise BadInput(f"domains: shape {domains.shape} is not {values.shape}, one for each value")
    member = _members(domains, num_domains, values)
    sizes = member.sum(1)
    if is_concrete(sizes) and bool((sizes == 0).any()):
        raise BadInput(f"domains: domain {int(jnp.argmin(sizes))} of {num_domains} is empty; each needs an example")
    return member @ values / sizes


def binary_domain_risks(
    logits: Float[Array, " n"], labels: Int[Array, " n"], domains: Int[Array, " n"], num_domains: int
) -> DomainRisks:
    """Binary cross-entropy by domain, in nats, and the squared slope of IRMv1.

    Args:
        logits: of label 1.
        labels: 0 or 1.
        domains: in [0, num_domains), others are left out.
        num_domains: m.

    Raises:
        BadInput: see `by_domain`.
    """
    losses = jax.nn.softplus(jnp.where(labels == 1, -logits, logits))
    member = _members(domains, num_domains, logits)
    slopes = jax.vmap(lambda weights: irm_v1_penalty(logits, labels, weights=weights))(member)
    return DomainRisks(by_domain(losses, domains, num_domains), slopes)


def _members(domains: Int[Array, " n"], num_domains: int, like: Array) -> Float[Array, "m n"]:
    """Which examples are in which domain, as ones and zeros."""
    return (domains[None, :] == jnp.arange(num_domains)[:, None]).astype(like.dtype)


def at_step(penalty: Penalty, step: Int[Array, ""] | int) -> Penalty:
    """The penalty with the weight of a step: 1 before the switch, and always for the methods that have none.

    It is the ``schedule`` of `mlrisk.harness.make_train`, or a part of it.
    """
    free = penalty.method < METHODS.index("mm_rex")
    weight = jnp.where(free, 1.0, stepped_weight(step, penalty.switch, penalty.weight))
    return penalty._replace(weight=weight.astype(jnp.float32))


def penalised_risk(found: DomainRisks, penalty: Penalty) -> Scalar:
    """The objective of a lane's method, with the weights of the published scripts, before weight decay.

    With S the sum of m risks and w the weight: ERM ``S``; group DRO ``m max_e R_e``; MM-REx ``m`` times `mm_rex` with
    ``lambda_min = (1 - w) / m``, for two domains ``S + w |R_1 - R_2|``; V-REx ``S + 4 w Var``, for two domains
    ``S + w (R_1 - R_2)^2``; IRMv1 ``S + w mean_e (slope_e)^2``.

    Args:
        found: risks and squared slopes.
        penalty: the lane's hyper, `at_step`.

    Returns:
        A scalar in nats, not divided by the weight.

    Source: Krueger et al. (2021), code of the coloured MNIST experiments; Arjovsky et al. (2019), the same.
    """
    count, weight, total = found.risks.shape[0], penalty.weight, erm(found.risks)
    each = (
        total,
        count * group_dro(found.risks),
        count * mm_rex(found.risks, (1 - weight) / count),
        v_rex(found.risks, 4 * weight),
        total + weight * found.slopes.mean(),
    )
    return jnp.stack(each)[penalty.method]


def penalised_loss(found: DomainRisks, params: Params, penalty: Penalty) -> Scalar:
    """What the scripts minimise: ``(penalised_risk + l ||theta||^2) / max(w, 1)``.

    Args:
        found: risks and squared slopes.
        params: all are decayed.
        penalty: the lane's hyper, `at_step`.

    Source: Arjovsky et al. (2019) and Krueger et al. (2021), code of the coloured MNIST experiments.
    """
    squares: Any = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params))
    return rescaled(penalised_risk(found, penalty) + penalty.weight_decay * squares, penalty.weight)
