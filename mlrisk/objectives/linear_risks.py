"""Squared-error risks of linear predictors in several domains, from the second moments of each domain alone."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.objectives.risks import erm
from mlrisk.types import Scalar


class DomainMoments(NamedTuple):
    """All that a squared-error risk needs of m domains: ``x' x / n``, ``x' y / n``, ``y' y / n`` and the means.

    Stacks of problems have further axes in front; functions of one problem are then vmapped.
    """

    products: Float[Array, "*stack m k k"]
    cross: Float[Array, "*stack m k"]
    squares: Float[Array, "*stack m"]
    input_means: Float[Array, "*stack m k"]
    target_means: Float[Array, "*stack m"]


def domain_moments(inputs: Float[Array, "m n k"], targets: Float[Array, "m n"]) -> DomainMoments:
    """The moments of m domains with n examples each.

    Raises:
        BadInput: the shapes do not belong together, or there are no examples.
    """
    if inputs.ndim != 3 or not inputs.shape[1] or targets.shape != inputs.shape[:2]:
        raise BadInput(f"inputs, targets: shapes {inputs.shape} and {targets.shape} are not (m, n, k) and (m, n)")
    count = inputs.shape[1]
    products = jnp.einsum("mni,mnj->mij", inputs, inputs) / count
    cross = jnp.einsum("mni,mn->mi", inputs, targets) / count
    return DomainMoments(products, cross, jnp.square(targets).mean(1), inputs.mean(1), targets.mean(1))


def linear_risks(moments: DomainMoments, weights: Float[Array, " k"]) -> Float[Array, " m"]:
    """The mean squared error of ``x w`` in each domain: ``w' G w - 2 w' c + s``."""
    return (moments.products @ weights - 2 * moments.cross) @ weights + moments.squares


def corrected_risks(
    moments: DomainMoments,
    weights: Float[Array, " k"],
    target_variance: Float[Array, ""] | float,
    prediction_variance: Float[Array, ""] | float,
    count: int,
) -> Float[Array, " m"]:
    """Squared error less a baseline that differs from domain to domain: ``MSE + a Var(y) + b Var(x w)``.

    Args:
        moments: of m domains.
        weights: of the predictor.
        target_variance: a; 0 for the plain risk, -1 to take the domain's own noise and signal out.
        prediction_variance: b; -1 ("var", linear in the weights where means are 0) or 1 ("var_diff").
        count: n, for the unbiased variances.

    Source: Krueger et al. (2021), code of the toy structural models.
    """
    unbiased = count / (count - 1)
    second = moments.products @ weights @ weights
    of_target = unbiased * (moments.squares - jnp.square(moments.target_means))
    of_prediction = unbiased * (second - jnp.square(moments.input_means @ weights))
    error = second - 2 * moments.cross @ weights + moments.squares
    a, b = (jnp.asarray(value, error.dtype) for value in (target_variance, prediction_variance))
    return error + a * of_target + b * of_prediction


def representation_slopes(moments: DomainMoments, representation: Float[Array, "k k"]) -> Float[Array, "m k"]:
    """What a classifier on top would change: ``d R_e(P w) / d w`` at ``w = 1``, which is ``2 P' (G P 1 - c)``.

    The mean of its squares is the penalty of IRMv1 with a matrix P as representation and ones as fixed classifier.

    Source: Arjovsky et al. (2019), section 5.1 and code of the synthetic experiments.
    """
    return 2 * (moments.products @ representation.sum(1) - moments.cross) @ representation


def rex_loss(risks: Float[Array, "2"], reg: Float[Array, ""]) -> Scalar:
    """``reg (R_1 + R_2) + (1 - reg) (R_1 - R_2)^2``: V-REx of two domains, with the share of the risk as its weight.

    Source: Krueger et al. (2021), code of the toy structural models.
    """
    return reg * erm(risks) + (1 - reg) * jnp.square(risks[0] - risks[1])


def irm_loss(moments: DomainMoments, representation: Float[Array, "k k"], reg: Float[Array, ""]) -> Scalar:
    """``reg sum_e R_e + (1 - reg) sum_e mean_k slope_ek^2``, with `representation_slopes`.

    Source: Arjovsky et al. (2019), code of the synthetic experiments.
    """
    penalty = jnp.square(representation_slopes(moments, representation)).mean(1).sum()
    return reg * erm(linear_risks(moments, representation.sum(1))) + (1 - reg) * penalty
