"""One number to minimise from the risks of several domains: ERM, group DRO, risk extrapolation, quantiles."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk.errors import BadInput, one_of
from mlrisk.types import Scalar, is_concrete

Reduction = Literal["sum", "mean"]
REDUCTIONS = ("sum", "mean")
EDGE = 6.0
"""Bandwidths beyond the outermost risks within which any quantile lies (all but 1e-9 of the density)."""
Weight = Float[Array, ""] | float | int


def erm(risks: Float[Array, " m"], *, sizes: Float[Array, " m"] | None = None, reduction: Reduction = "sum") -> Scalar:
    """Empirical risk minimisation: ``sum_e n_e R_e``, with the sizes scaled to a mean of 1.

    Args:
        risks: mean loss of each domain, in any unit.
        sizes: examples of each domain, n_e; None for domains of one size.
        reduction: ``"sum"``, or ``"mean"``, which divides by the number of domains m.

    Returns:
        A scalar in the unit of the risks.

    Raises:
        BadInput: ``risks`` is not a vector, or the sizes are not one for each domain.

    Source: Krueger et al. (2021), equations 3 and 4 (thesis 5.3 and 5.4).
    """
    _require_domains(risks, least=1)
    if sizes is None:
        return _reduce(risks, reduction)
    if sizes.shape != risks.shape:
        raise BadInput(f"sizes: shape {sizes.shape} is not {risks.shape}, one for each domain")
    return _reduce(risks * (sizes / sizes.mean()).astype(risks.dtype), reduction)


def group_dro(risks: Float[Array, " m"]) -> Scalar:
    """Robust optimisation over mixtures of domains (risk interpolation): ``max_e R_e``.

    Args:
        risks: mean loss of each domain, at least 2.

    Raises:
        BadInput: ``risks`` is not a vector of at least 2.

    Source: Krueger et al. (2021), equation 5 (thesis 5.5).
    """
    _require_domains(risks)
    return jnp.max(risks)


def mm_rex(risks: Float[Array, " m"], lambda_min: Weight) -> Scalar:
    """Minimax risk extrapolation: the largest ``sum_e l_e R_e`` with ``sum_e l_e = 1`` and every ``l_e >= lambda_min``.

    In closed form ``(1 - m lambda_min) max_e R_e + lambda_min sum_e R_e``. ``lambda_min = 0`` is `group_dro`,
    ``1 / m`` the mean of the risks, and towards minus infinity all risks must be equal.

    Args:
        risks: mean loss of each domain, at least 2.
        lambda_min: the least weight of a domain, at most 1 / m; usually negative. May be traced.

    Raises:
        BadInput: ``risks`` is not a vector of at least 2, or a concrete ``lambda_min`` is above 1 / m.

    Source: Krueger et al. (2021), equations 6 and 7 (thesis 5.6 and 5.7).
    """
    count = _require_domains(risks)
    if is_concrete(lambda_min) and not float(lambda_min) <= 1 / count + 1e-6:
        raise BadInput(f"lambda_min: {lambda_min} is not at most 1 / {count}; the weights of {count} domains sum to 1")
    least = jnp.asarray(lambda_min, risks.dtype)
    return (1 - count * least) * jnp.max(risks) + least * jnp.sum(risks)


def v_rex(risks: Float[Array, " m"], beta: Weight, ddof: int = 0, *, reduction: Reduction = "sum") -> Scalar:
    """Variance risk extrapolation: ``beta Var(R_1 ... R_m) + sum_e R_e``; ``beta = 0`` is `erm`.

    Args:
        risks: mean loss of each domain, at least 2.
        beta: weight of the variance, not negative. May be traced.
        ddof: 0 for the population variance (division by m), 1 for the unbiased one (by m - 1).
        reduction: how the risks themselves are put together, see `erm`.

    Returns:
        A scalar. For two domains the variance is ``(R_1 - R_2)^2 / 4`` with ``ddof=0``, half of the square with 1: a
        weight w on the squared difference is ``beta = 4 w``, or ``2 w``.

    Raises:
        BadInput: ``risks`` is not a vector of at least 2, a concrete ``beta`` is negative, or ``ddof`` is not 0 or 1.

    Source: Krueger et al. (2021), equation 8 (thesis 5.8).
    """
    _require_domains(risks)
    if ddof not in (0, 1):
        raise BadInput(f"ddof: {ddof} is not 0 (population) or 1 (unbiased)")
    if is_concrete(beta) and not float(beta) >= 0:
        raise BadInput(f"beta: {beta} is not zero or more")
    return jnp.asarray(beta, risks.dtype) * jnp.var(risks, ddof=ddof) + _reduce(risks, reduction)


class Weighted(NamedTuple):
    """A weighted risk, and the weights for the next step."""

    loss: Scalar
    weights: Float[Array, " m"]


def online_group_dro(weights: Float[Array, " m"], risks: Float[Array, " m"], eta: Weight) -> Weighted:
    """Group DRO by exponentiated gradient: ``q_e <- q_e exp(eta R_e) / sum``, loss ``sum_e q_e R_e``.

    Args:
        weights: q of the step before, positive, sum 1; start with 1 / m.
        risks: mean loss of each domain on the batch.
        eta: step size of the weights, not negative. May be traced.

    Returns:
        The loss under the new weights, which carry no gradient, and these weights.

    Raises:
        BadInput: ``risks`` is not a vector of at least 2, or the weights are of another shape.

    Source: Sagawa et al. (2020), Distributionally robust neural networks for group shifts, algorithm 1.
    """
    _require_domains(risks)
    if weights.shape != risks.shape:
        raise BadInput(f"weights: shape {weights.shape} is not {risks.shape}, one for each domain")
    logits = jnp.log(weights) + jnp.asarray(eta, risks.dtype) * risks
    new = jax.lax.stop_gradient(jax.nn.softmax(logits))
    return Weighted(jnp.sum(new * risks), new)


def eqrm(risks: Float[Array, " m"], quantile: Weight, *, num_steps: int = 40) -> Scalar:
    """Quantile risk minimisation: the quantile of a Gaussian kernel density over the risks.

    The t with ``(1 / m) sum_e Phi((t - R_e) / h) = quantile`` and the bandwidth ``h = 1.06 s m^(-1/5)``, where s is
    the unbiased standard deviation of the risks.

    Args:
        risks: mean loss of each domain, at least 2.
        quantile: in (0, 1); towards 1 the worst domain counts. May be traced.
        num_steps: bisections; the bracket shrinks by half at each.

    Returns:
        A scalar in the unit of the risks, differentiable in them, the bandwidth included.

    Raises:
        BadInput: ``risks`` is not a vector of at least 2, or a concrete quantile is not in (0, 1).

    Source: Eastwood et al. (2022), Probable domain generalization via quantile risk minimization, section 4.
    """
    count = _require_domains(risks)
    if is_concrete(quantile) and not 0 < float(quantile) < 1:
        raise BadInput(f"quantile: {quantile} is not in (0, 1)")
    level = jnp.asarray(quantile, risks.dtype)
    bandwidth = 1.06 * count**-0.2 * _safe_std(risks)

    def excess(t: Scalar, centres: Array, width: Scalar) -> Scalar:
        return jnp.mean(jax.scipy.stats.norm.cdf((t - centres) / width)) - level

    fixed = jax.lax.stop_gradient((risks, bandwidth))
    edge = EDGE * fixed[1]

    def halve(_: Any, bracket: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
        low, high = bracket
        middle = (low + high) / 2
        below = excess(middle, *fixed) < 0
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, num_steps, halve, (fixed[0].min() - edge, fixed[0].max() + edge))
    root = jax.lax.stop_gradient((low + high) / 2)
    # one Newton step: it leaves the root where it is, and carries its derivative in the risks
    slope = jax.lax.stop_gradient(jax.grad(excess)(root, *fixed))
    return root - excess(root, risks, bandwidth) / jnp.maximum(slope, jnp.finfo(risks.dtype).tiny)


def _safe_std(risks: Array) -> Scalar:
    """The unbiased standard deviation, with a floor that keeps equal risks differentiable."""
    floor = jnp.finfo(risks.dtype).eps * (1 + jnp.mean(jnp.abs(risks)))
    return jnp.sqrt(jnp.var(risks, ddof=1) + jnp.square(floor))


def _reduce(values: Array, reduction: str) -> Scalar:
    if reduction not in REDUCTIONS:
        raise BadInput(one_of("reduction", reduction, REDUCTIONS))
    return values.sum() if reduction == "sum" else values.mean()


def _require_domains(risks: Any, least: int = 2) -> int:
    shape = jnp.shape(risks)
    if len(shape) != 1 or shape[0] < least:
        raise BadInput(f"risks: shape {shape} is not (m,) with m of at least {least}, one risk for each domain")
    return shape[0]
