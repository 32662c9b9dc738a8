"""Domains over a handful of inputs, where every risk is a finite sum: shifts of inputs, of labels, and both."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.types import is_concrete

TOLERANCE = 1e-5


class DiscreteDomains(NamedTuple):
    """``inputs`` (m, k): P(x) of each domain; ``targets`` (m, k): P(y = 1 | x) of each."""

    inputs: Float[Array, "m k"]
    targets: Float[Array, "m k"]


HETEROSKEDASTIC = DiscreteDomains(
    jnp.asarray([[0.4, 0.1, 0.5], [0.1, 0.4, 0.5], [0.1, 0.4, 0.5]]),
    jnp.asarray([[0.5, 0.75, 0.1], [0.5, 0.75, 0.1], [0.5, 0.75, 0.2]]),
)
"""Three domains and inputs: x = 0 is noise, x = 1 a stable cause, x = 2 unstable; P(x) moves between noise and cause.

Source: Krueger et al. (2021), code (toy heteroskedastic data).
"""


def require_domains(domains: DiscreteDomains) -> None:
    """Check the shapes, and that concrete numbers are probabilities.

    Raises:
        BadInput: fewer than 2 domains, P(x) that does not sum to 1, or an entry outside [0, 1].
    """
    inputs, targets = domains
    if inputs.ndim != 2 or inputs.shape[0] < 2 or targets.shape != inputs.shape:
        raise BadInput(f"inputs, targets: shapes {inputs.shape} and {targets.shape} are not both (m, k) with m >= 2")
    for name, values in domains._asdict().items():
        if is_concrete(values) and not ((np.asarray(values) >= 0) & (np.asarray(values) <= 1)).all():
            raise BadInput(f"{name}: some are outside [0, 1]")
    if is_concrete(inputs) and not np.allclose(np.asarray(inputs).sum(1), 1, atol=TOLERANCE):
        raise BadInput(f"inputs: rows sum to {np.asarray(inputs).sum(1).tolist()}, not to 1")


def expected_risks(logits: Float[Array, " k"], domains: DiscreteDomains) -> Float[Array, " m"]:
    """The expected binary cross-entropy of each domain: ``R_e = sum_x P_e(x) CE(P_e(y | x), sigmoid(z_x))``.

    Args:
        logits: of y = 1, one for each input.
        domains: see `DiscreteDomains`.

    Returns:
        (m,), in nats.

    Raises:
        BadInput: see `require_domains`.
    """
    require_domains(domains)
    return jnp.sum(domains.inputs * _losses(logits, domains.targets), axis=-1)


def hybrid_risks(logits: Float[Array, " k"], domains: DiscreteDomains) -> Float[Array, "m m"]:
    """Risks of hybrid domains: entry (i, j) has the inputs of domain i and the labels of domain j.

    Equalising the risks along j, for each i, penalises shifts of P(y | x) alone: REx-HD, which is not misled where the
    noise differs between inputs and P(x) shifts too.

    Args:
        logits: of y = 1, one for each input.
        domains: see `DiscreteDomains`.

    Returns:
        (m, m), in nats; the diagonal is `expected_risks`.

    Raises:
        BadInput: see `require_domains`.

    Source: Krueger et al. (2021), code (REx-HD, "hybrid domains").
    """
    require_domains(domains)
    return domains.inputs @ _losses(logits, domains.targets).T


def scale_slopes(logits: Float[Array, " k"], domains: DiscreteDomains) -> Float[Array, "m k"]:
    """Derivatives of each domain's risk in a scale of each logit, at 1: what IRMv1 squares.

    Args:
        logits: of y = 1, one for each input.
        domains: see `DiscreteDomains`.

    Returns:
        ``P_e(x) (sigmoid(z_x) - P_e(y | x)) z_x``.
    """
    return domains.inputs * (jax.nn.sigmoid(logits)[None] - domains.targets) * logits[None]


def affine_mixture(weights: Float[Array, " m"], joints: Float[Array, "m cells"]) -> Float[Array, " cells"]:
    """The combination ``sum_e w_e P_e`` of distributions, whose risk is the same combination of their risks.

    Args:
        weights: sum 1; negative ones extrapolate, and may give negative entries: a quasi-distribution.
        joints: each row a distribution over the cells (x, y).

    Returns:
        Entries that sum to 1.

    Raises:
        BadInput: concrete weights that do not sum to 1.

    Source: Krueger et al. (2021), section 3.1 and appendix C.1 (thesis 5.3 and 11.1.4).
    """
    if is_concrete(weights) and not np.isclose(float(np.sum(np.asarray(weights))), 1, atol=TOLERANCE):
        raise BadInput(f"weights: they sum to {float(np.sum(np.asarray(weights))):g}, not to 1")
    return weights @ joints


def six_dimensional_example(cells: Float[Array, "6"], shift: float) -> Float[Array, "3 6"]:
    """Three domains over x in {0, 1, 2} and y in {0, 1}: a base, a shift of P(y | x = 2), and one of P(x).

    With cells (a, b, c, d, e, f) of x = 0, 1, 2: ``(a, b, c, d, e - k, f + k)`` and
    ``(2a, 2b, s c, s d, e, f)`` with ``s = 1 - (a + b) / (c + d)``, which keeps the total and every P(y | x).

    Args:
        cells: P(x, y) of the base, sum 1.
        shift: k, at most e.

    Returns:
        The base and the two others, one a row.

    Raises:
        BadInput: the cells are no distribution, ``k`` is not in [-f, e], or ``a + b`` is above ``c + d``.

    Source: Krueger et al. (2021), appendix C.1 (thesis 11.1.4).
    """
    found = np.asarray(cells, np.float64)
    if found.shape != (6,) or (found < 0).any() or not np.isclose(found.sum(), 1, atol=TOLERANCE):
        raise BadInput(f"cells: {found.tolist()} is not a distribution over six cells")
    a, b, c, d, e, f = found
    if not -f <= shift <= e:
        raise BadInput(f"shift: {shift} is not in [{-f:g}, {e:g}], which keeps all cells at zero or more")
    if a + b > c + d:
        raise BadInput(
            f"cells: P(x = 0) = {a + b:g} is above P(x = 1) = {c + d:g}; it could not be doubled at its cost"
        )
    scale = 1 - (a + b) / (c + d)
    rows = [found, (a, b, c, d, e - shift, f + shift), (2 * a, 2 * b, scale * c, scale * d, e, f)]
    return jnp.asarray(np.asarray(rows), jnp.asarray(cells).dtype)


def _losses(logits: Float[Array, " k"], targets: Float[Array, "m k"]) -> Float[Array, "m k"]:
    return targets * jax.nn.softplus(-logits)[None] + (1 - targets) * jax.nn.softplus(logits)[None]
