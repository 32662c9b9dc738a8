"""Invariant causal prediction: which predictors leave residuals that are alike in every domain."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import stats

from mlrisk.errors import BadInput

MOST = 16
"""Predictors, at most: all subsets are tested."""


class InvariantPrediction(NamedTuple):
    """What invariant causal prediction accepts.

    Attributes:
        parents: (k,), the predictors in every accepted set; none where no set is accepted.
        coefficients: (k,), least squares on the parents, zero elsewhere.
        p_values: (2^k,), of each set, Bonferroni-corrected over domains and cut at 1.
        subsets: (2^k, k), the sets, the empty one first.
    """

    parents: Bool[np.ndarray, " k"]
    coefficients: Float[np.ndarray, " k"]
    p_values: Float[np.ndarray, " subsets"]
    subsets: Bool[np.ndarray, "subsets k"]


class Moments(NamedTuple):
    """Means and second moments of a domain's rows ``[x, y]``, and their number; each with an axis of domains."""

    means: Float[Array, "m k1"]
    products: Float[Array, "m k1 k1"]
    count: int


def invariant_causal_prediction(
    inputs: Float[Array, "m n k"], targets: Float[Array, "m n"], *, alpha: float = 0.05, empty_set: bool = False
) -> InvariantPrediction:
    """The predictors that are in every set whose residuals have one mean and variance in all domains.

    For each set, least squares on the pooled data (no intercept); then for each domain, its residuals against those
    of the others: Welch's t-test of the means and a two-sided F-test of the variances. A set's p-value is twice the
    smaller of the two, the least over domains, times the number of domains. Sets above ``alpha`` are accepted.

    Args:
        inputs: of m domains, at least 2, with n examples each.
        targets: theirs.
        alpha: level of the tests, in (0, 1).
        empty_set: whether the empty set is tested too; if it is accepted, there are no parents.

    Returns:
        See `InvariantPrediction`.

    Raises:
        BadInput: fewer than 2 domains, too few examples, more than 16 predictors, values that are not finite, or
            ``alpha`` outside (0, 1).

    Source:
        Peters, Buehlmann and Meinshausen (2016), Causal inference by using invariant prediction, method II; the tests
        as in the code of Arjovsky et al. (2019), which leaves the empty set out.
    """
    _require(inputs, targets, alpha)
    subsets = _subsets(inputs.shape[2])
    moments = _moments(inputs, targets)
    means, variances = jax.jit(_statistics)(moments, jnp.asarray(subsets))
    p_values = _p_values(np.asarray(means, np.float64), np.asarray(variances, np.float64), inputs.shape[1])
    tested = slice(None) if empty_set else slice(1, None)
    accepted = subsets[tested][p_values[tested] > alpha]
    parents = np.asarray(accepted.all(0) if len(accepted) else np.zeros(inputs.shape[2], bool))
    pooled = np.asarray(_fit(moments, jnp.asarray(parents)))
    return InvariantPrediction(parents, pooled, p_values, subsets)


def _subsets(count: int) -> Bool[np.ndarray, "subsets k"]:
    return (np.arange(2**count)[:, None] >> np.arange(count)[None]) % 2 == 1


def _moments(inputs: Array, targets: Array) -> Moments:
    rows = jnp.concatenate([inputs, targets[..., None]], axis=-1)
    count = rows.shape[1]
    return Moments(rows.mean(1), jnp.einsum("mni,mnj->mij", rows, rows) / count, count)


def _fit(moments: Moments, chosen: Bool[Array, " k"]) -> Float[Array, " k"]:
    """Pooled least squares on the chosen predictors, zero elsewhere."""
    products = moments.products.mean(0)
    kept = chosen.astype(products.dtype)
    gram = products[:-1, :-1] * kept[:, None] * kept[None, :] + jnp.diag(1 - kept)
    return jnp.linalg.solve(gram, products[:-1, -1] * kept)


def _statistics(moments: Moments, subsets: Bool[Array, "subsets k"]) -> tuple[Array, Array]:
    """Mean and unbiased variance of the residuals, in each domain and in all others; each (subsets, 2, m)."""
    count = moments.count

    def one(chosen: Bool[Array, " k"]) -> tuple[Array, Array]:
        residual = jnp.concatenate([-_fit(moments, chosen), jnp.ones(1, moments.means.dtype)])
        means = moments.means @ residual
        squares = jnp.einsum("i,mij,j->m", residual, moments.products, residual)
        others = means.shape[0] - 1
        means = jnp.stack([means, (means.sum() - means) / others])
        squares = jnp.stack([squares, (squares.sum() - squares) / others])
        sizes = count * jnp.asarray([[1.0], [float(others)]], squares.dtype)
        return means, (squares - means**2) * sizes / (sizes - 1)

    return jax.lax.map(one, subsets, batch_size=64)


def _p_values(means: np.ndarray, variances: np.ndarray, count: int) -> Float[np.ndarray, " subsets"]:
    domains = means.shape[2]
    sizes = np.asarray([count, count * (domains - 1)])
    errors = variances / sizes[:, None]
    total = errors.sum(1)
    freedom = total**2 / (errors**2 / (sizes - 1)[:, None]).sum(1)
    of_means = 2 * stats.t.sf(np.abs(means[:, 0] - means[:, 1]) / np.sqrt(total), freedom)
    below = stats.f.cdf(variances[:, 0] / variances[:, 1], sizes[0] - 1, sizes[1] - 1)
    of_variances = 1 - np.abs(2 * below - 1)
    return np.minimum(1, domains * (2 * np.minimum(of_means, of_variances)).min(1))


def _require(inputs: Array, targets: Array, alpha: float) -> None:
    if inputs.ndim != 3 or inputs.shape[0] < 2 or targets.shape != inputs.shape[:2]:
        shapes = f"{inputs.shape} and {targets.shape}"
        raise BadInput(f"inputs, targets: shapes {shapes} are not (m, n, k) and (m, n) with at least 2 domains")
    if inputs.shape[2] > MOST or inputs.shape[1] <= inputs.shape[2] + 1:
        raise BadInput(
            f"inputs: {inputs.shape[2]} predictors and {inputs.shape[1]} examples a domain; at most {MOST} predictors, "
            "and more examples than these and 1"
        )
    if not (np.isfinite(np.asarray(inputs)).all() and np.isfinite(np.asarray(targets)).all()):
        raise BadInput("inputs, targets: some values are not finite")
    if not 0 < alpha < 1:
        raise BadInput(f"alpha: {alpha} is not in (0, 1)")
