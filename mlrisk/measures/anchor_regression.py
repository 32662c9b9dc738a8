"""Anchor regression: least squares whose residuals hardly depend on exogenous variables."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.types import is_concrete


def anchor_regression(
    inputs: Float[Array, "n k"],
    targets: Float[Array, " n"],
    anchors: Float[Array, "n q"],
    gamma: Float[Array, ""] | float,
) -> Float[Array, " k"]:
    """``argmin_b |(1 - P)(y - X b)|^2 + gamma |P (y - X b)|^2``, P the projection on the span of the anchors.

    ``gamma = 1`` is least squares, 0 partials the anchors out, and towards infinity it is two-stage least squares with
    the anchors as instruments.

    Args:
        inputs: X; centre it, there is no intercept.
        targets: y.
        anchors: exogenous variables, such as indicators of domains.
        gamma: not negative. May be traced.

    Returns:
        b (k,).

    Raises:
        BadInput: the rows do not belong together, or a concrete gamma is negative.

    Source: Rothenhaeusler, Meinshausen, Buehlmann and Peters (2021), Anchor regression, equation 3.
    """
    if not inputs.shape[0] == targets.shape[0] == anchors.shape[0]:
        rows = f"{inputs.shape[0]}, {targets.shape[0]}, {anchors.shape[0]}"
        raise BadInput(f"inputs, targets, anchors: {rows} rows; one of each for every example")
    if is_concrete(gamma) and not np.asarray(gamma) >= 0:
        raise BadInput(f"gamma: {gamma} is not zero or more")
    data = jnp.concatenate([inputs, targets[:, None]], axis=1)
    projected = anchors @ jnp.linalg.lstsq(anchors, data)[0]
    scale = 1 - jnp.sqrt(jnp.asarray(gamma, data.dtype))
    moved = data - scale * projected
    return jnp.linalg.lstsq(moved[:, :-1], moved[:, -1])[0]


def domain_indicators(domains: Float[Array, "m n k"]) -> Float[Array, "mn m"]:
    """Anchors that say which domain a row is from, for inputs (m, n, k) flattened to (m n, k)."""
    count, size = domains.shape[:2]
    return jnp.repeat(jnp.eye(count, dtype=domains.dtype), size, axis=0)
