"""The penalties of `mlrisk.objectives.domains` in the other published convention: mean of risks, unbiased variance."""

from typing import Any

import jax
import jax.numpy as jnp

from mlrisk.objectives.domains import DomainRisks, Penalty
from mlrisk.objectives.penalty_schedules import rescaled
from mlrisk.objectives.risks import erm, group_dro, mm_rex, v_rex
from mlrisk.types import Params, Scalar


def penalised_mean(found: DomainRisks, penalty: Penalty) -> Scalar:
    """The objective of a lane's method with means over domains, before weight decay.

    With M the mean of m risks and w the weight: ERM ``M``; group DRO ``max_e R_e``; MM-REx ``M + w (max_e R_e - M)``,
    which is `mm_rex` with ``lambda_min = (1 - w) / m``; V-REx ``M + w Var`` with the unbiased variance; IRMv1
    ``M + w mean_e (slope_e)^2``.

    Args:
        found: risks and squared slopes.
        penalty: the lane's hyper, `mlrisk.objectives.domains.at_step`.

    Returns:
        A scalar in nats, not divided by the weight.

    Source: Krueger et al. (2021), code of the finance experiments (ERM, V-REx and IRMv1).
    """
    risks, weight, count = found.risks, penalty.weight, found.risks.shape[0]
    mean = erm(risks, reduction="mean")
    each = (
        mean,
        group_dro(risks),
        mm_rex(risks, (1 - weight) / count),
        v_rex(risks, weight, 1, reduction="mean"),
        mean + weight * found.slopes.mean(),
    )
    return jnp.stack(each)[penalty.method]


def penalised_mean_loss(found: DomainRisks, params: Params, penalty: Penalty) -> Scalar:
    """What the script minimises: ``(penalised_mean + l ||theta||^2) / max(w, 1)``.

    From the switch on w divides the risk and the decay, and the penalty itself has weight 1.

    Args:
        found: risks and squared slopes.
        params: all are decayed.
        penalty: the lane's hyper, `mlrisk.objectives.domains.at_step`.

    Source: Krueger et al. (2021), code of the finance experiments.
    """
    squares: Any = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params))
    return rescaled(penalised_mean(found, penalty) + penalty.weight_decay * squares, penalty.weight)
