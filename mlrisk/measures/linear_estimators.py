"""Linear predictors in closed form from the pooled examples of several domains, one method beside the other."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mlrisk.errors import BadInput
from mlrisk.measures.anchor_regression import anchor_regression, domain_indicators
from mlrisk.measures.invariant_prediction import invariant_causal_prediction

ESTIMATORS = ("ERM", "ICP", "anchor")


def pooled_estimates(
    inputs: Float[Array, "p m n k"], targets: Float[Array, "p m n"], *, alpha: float = 0.05, gamma: float = 10.0
) -> dict[str, Float[np.ndarray, "p k"]]:
    """Least squares, invariant causal prediction and anchor regression on domains, for a stack of problems.

    Args:
        inputs: of p problems with m domains of n examples each.
        targets: theirs.
        alpha: level of the tests of invariant causal prediction.
        gamma: weight that anchor regression gives to what the domains explain of the residuals. Its anchors are the
            domains' indicators, so it sees shifts of means alone: where all means are 0 it is least squares.

    Returns:
        Name -> weights, in the order of `ESTIMATORS`.

    Raises:
        BadInput: the shapes do not belong together, or see `invariant_causal_prediction`.

    Source:
        Peters et al. (2016) and Rothenhaeusler et al. (2021); see `invariant_causal_prediction`, `anchor_regression`.
    """
    if inputs.ndim != 4 or targets.shape != inputs.shape[:3]:
        raise BadInput(f"inputs, targets: shapes {inputs.shape}, {targets.shape} are not (p, m, n, k) and (p, m, n)")

    def anchored(inputs: Array, targets: Array, gamma: Array) -> Array:
        rows = inputs.reshape(-1, inputs.shape[2])
        return anchor_regression(rows, targets.reshape(-1), domain_indicators(inputs), gamma)

    def each(gamma: float) -> np.ndarray:
        every = jax.jit(lambda x, y, weight: jax.lax.map(lambda own: anchored(own[0], own[1], weight), (x, y)))
        return np.asarray(every(inputs, targets, jnp.float32(gamma)))

    pairs = zip(inputs, targets, strict=True)
    accepted = [invariant_causal_prediction(x, y, alpha=alpha).coefficients for x, y in pairs]
    return {"ERM": each(1.0), "ICP": np.stack(accepted), "anchor": each(gamma)}
