"""Coloured digits in the limit of infinite data and a perfect shape detector: a model of two numbers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from mlrisk.errors import BadInput
from mlrisk.objectives.risks import v_rex
from mlrisk.types import Scalar, is_concrete

Predictor = Float[Array, "2"]
"""Logits towards the shape's label: u where the colour agrees with the shape, v where it does not."""
LABEL_NOISE = 0.25


def population_risk(
    predictor: Predictor, colour_noise: Float[Array, ""] | float, label_noise: Float[Array, ""] | float = LABEL_NOISE
) -> Scalar:
    """The expected cross-entropy of a predictor that sees a shape bit and a colour bit.

    With label noise q, colour noise e and ``l(z) = log(1 + exp(-z))``:
    ``(1 - q)(1 - e) l(u) + q e l(-u) + (1 - q) e l(v) + q (1 - e) l(-v)``, which is linear in e.

    Args:
        predictor: (u, v), see `Predictor`.
        colour_noise: e, the probability that the colour differs from the label, in [0, 1].
        label_noise: q, the probability that the label differs from the shape's, in [0, 1].

    Returns:
        A scalar in nats.

    Raises:
        BadInput: a concrete probability is outside [0, 1].

    Source: the coloured MNIST of Arjovsky et al. (2019); Kamath et al. (2021), section 3, study the same two bits.
    """
    for name, value in (("colour_noise", colour_noise), ("label_noise", label_noise)):
        if is_concrete(value) and not 0 <= float(value) <= 1:
            raise BadInput(f"{name}: {value} is not a probability in [0, 1]")
    u, v = predictor
    noise = jnp.asarray(colour_noise, predictor.dtype)
    wrong = jnp.asarray(label_noise, predictor.dtype)
    right, lose = 1 - wrong, jax.nn.softplus
    agree = right * (1 - noise) * lose(-u) + wrong * noise * lose(u)
    return agree + right * noise * lose(-v) + wrong * (1 - noise) * lose(v)


def population_accuracy(
    predictor: Predictor, colour_noise: Float[Array, ""] | float, label_noise: Float[Array, ""] | float = LABEL_NOISE
) -> Scalar:
    """The expected accuracy of the same predictor; a logit of exactly 0 counts as half right.

    Args:
        predictor: (u, v), see `Predictor`.
        colour_noise: e, in [0, 1].
        label_noise: q, in [0, 1].

    Returns:
        A scalar in [0, 1].
    """
    noise = jnp.asarray(colour_noise, predictor.dtype)
    wrong = jnp.asarray(label_noise, predictor.dtype)
    towards = (1 + jnp.sign(predictor)) / 2
    right = jnp.stack([(1 - wrong) * (1 - noise), (1 - wrong) * noise])
    flipped = jnp.stack([wrong * noise, wrong * (1 - noise)])
    return jnp.sum(right * towards + flipped * (1 - towards))


def population_scale_slope(predictor: Predictor, colour_noise: Float[Array, ""] | float) -> Scalar:
    """The derivative of a domain's risk in the scale of the logits at 1, of which IRMv1 penalises the square."""
    return jax.grad(lambda scale: population_risk(scale * predictor, colour_noise))(jnp.ones((), predictor.dtype))


def population_optimum(weight: float, train_noise: Sequence[float] = (0.2, 0.1)) -> Predictor:
    """The predictor that V-REx learns in the limit: the minimum of ``sum_e R_e + 4 w Var(R)``.

    Args:
        weight: w, on the squared difference of two domains, as the published code has it; 0 is ERM.
        train_noise: colour noise of the training domains, at least 2.

    Raises:
        BadInput: the weight is negative, or a noise is outside [0, 1].
    """

    def loss(predictor: Predictor) -> Scalar:
        return v_rex(jnp.stack([population_risk(predictor, noise) for noise in train_noise]), 4 * weight)

    if not weight >= 0:
        raise BadInput(f"weight: {weight} is not zero or more")
    step = jax.jit(jax.value_and_grad(loss))
    found = minimize(lambda p: tuple(np.asarray(leaf, float) for leaf in step(jnp.asarray(p, jnp.float32))), (1.2, 1.0),
                     jac=True, method="BFGS")  # fmt: skip
    return jnp.asarray(found.x, jnp.float32)
