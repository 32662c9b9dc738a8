"""A flow behind a fixed affine map, so that it starts from data of unit scale, and densities stay those of the data."""

from typing import Any, Literal, NamedTuple

import distrax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64
from scipy import linalg, stats

from mlrisk.bijectors import Flow
from mlrisk.errors import BadInput, one_of


class Whitening(NamedTuple):
    """``z = matrix (x - mean)`` with a lower triangular matrix."""

    mean: Float64[np.ndarray, " d"]
    matrix: Float64[np.ndarray, "d d"]


def fit_whitening(rows: Float[np.ndarray, "n d"], kind: Literal["scale", "cholesky"] = "scale") -> Whitening:
    """The map that gives rows mean zero, and unit deviations or (``cholesky``) the identity as covariance.

    With covariance ``C = L L^T``: ``z = L^-1 (x - mean)``; for ``scale`` the off-diagonal of C counts as zero.

    Args:
        rows: training rows; in double precision inside.
        kind: which of the two.

    Raises:
        BadInput: another kind, or a column that is constant or (``cholesky``) a combination of others.
    """
    if kind not in ("scale", "cholesky"):
        raise BadInput(one_of("kind", kind, ("scale", "cholesky")))
    covariance = np.atleast_2d(np.cov(rows, rowvar=False, dtype=np.float64))
    used = covariance if kind == "cholesky" else np.diag(np.diag(covariance))
    try:
        root = np.linalg.cholesky(used)
    except np.linalg.LinAlgError as error:
        raise BadInput("rows: a column is constant or a combination of others; drop it, or add noise") from error
    matrix = linalg.solve_triangular(root, np.eye(len(root)), lower=True)
    return Whitening(rows.mean(axis=0, dtype=np.float64), matrix)


def gaussian_log_density(whitening: Whitening, rows: Float[np.ndarray, "n d"]) -> Float64[np.ndarray, " n"]:
    """Log-densities in nats of the Gaussian that the whitening makes standard: ``log N(z; 0, I) + log|det matrix|``.

    Args:
        whitening: of kind ``cholesky``, for the full covariance.
        rows: (n, d).
    """
    z = (rows.astype(np.float64) - whitening.mean) @ whitening.matrix.T
    return stats.norm.logpdf(z).sum(axis=1) + np.log(np.diag(whitening.matrix)).sum()


def whitened(flow: Flow, whitening: Whitening) -> Flow:
    """The flow of ``x`` that sees ``z``: ``log p(x) = log p_flow(z) + log|det matrix|``; same parameters.

    Args:
        flow: of events (d,).
        whitening: fixed, from `fit_whitening`.
    """
    mean, matrix = (jnp.asarray(part, jnp.float32) for part in whitening)

    def bijector(params: Any, context: Any = None) -> distrax.Bijector:
        back = distrax.Inverse(distrax.TriangularLinear(matrix))
        return distrax.Chain([distrax.Block(distrax.Shift(mean), 1), back, flow.bijector(params, context)])

    return Flow(flow.init, bijector)


def standard_normal(size: int) -> distrax.Independent:
    """The usual base: ``z ~ N(0, I)`` on events (size,), float32."""
    return distrax.Independent(distrax.Normal(jnp.zeros(size), jnp.ones(size)), 1)
