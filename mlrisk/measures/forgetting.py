"""What training forgets: when each example is first learned, and how often it is lost again."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlrisk.errors import BadInput


class Forgetting(NamedTuple):
    """Per example: forgetting events, whether it was ever right, and the look (from 1) at which it first was.

    An example that was never right has no events, and looks + 1 as the first.
    """

    events: Int[Array, "*axes n"]
    never_learned: Bool[Array, "*axes n"]
    first_learned: Int[Array, "*axes n"]


def forgetting_events(correct: Bool[Array | np.ndarray, "*axes looks n"]) -> Forgetting:
    """How often each example goes from right to wrong: ``sum_t [correct_t and not correct_{t+1}]``.

    Args:
        correct: whether each example is classified as its label says, at successive looks along training, such as
            the ends of epochs (*axes, looks, n).

    Returns:
        `Forgetting`, each (*axes, n).

    Raises:
        BadInput: there are no looks, or the entries are not booleans.

    Source: Toneva et al. 2019, An empirical study of example forgetting during deep neural network learning, section 3.
    Differs:
        The paper looks at an example when it is in a batch. All examples at the same moments, as here, are compared
        under the same parameters; events between two looks are not seen.
    """
    seen = jnp.asarray(correct)
    if seen.ndim < 2 or not seen.shape[-2]:
        raise BadInput(f"correct: shape {seen.shape} is not (*axes, looks, n) with at least 1 look")
    if seen.dtype != jnp.bool_:
        raise BadInput(f"correct: dtype {seen.dtype} is not bool")
    lost = seen[..., :-1, :] & ~seen[..., 1:, :]
    ever = jnp.any(seen, axis=-2)
    first = jnp.where(ever, jnp.argmax(seen, axis=-2), seen.shape[-2]) + 1
    return Forgetting(jnp.sum(lost, axis=-2, dtype=jnp.int32), ~ever, first.astype(jnp.int32))


def forgetting_score(correct: Bool[Array | np.ndarray, "*axes looks n"]) -> Float[Array, "*axes n"]:
    """Forgetting events as a score of difficulty, with examples that were never learned above all others.

    These get the number of looks, one more than the most events that there can be.

    Args:
        correct: see `forgetting_events`.

    Source: Toneva et al. 2019, section 3, where examples that are never learned count as forgotten infinitely often.
    """
    found = forgetting_events(correct)
    return jnp.where(found.never_learned, correct.shape[-2], found.events).astype(jnp.float32)


def cumulative_loss(losses: Float[Array | np.ndarray, "*axes looks n"]) -> Float[Array, "*axes n"]:
    """The loss of each example summed over training: ``sum_t l_t(x_i, y_i)``.

    Args:
        losses: at successive looks along training (*axes, looks, n).

    Raises:
        BadInput: there are no looks.

    Source: Ravikumar et al. 2024, Towards memorization estimation: fast, formal and free (cumulative sample loss).
    Differs: as `forgetting_events`, all examples are looked at under the same parameters.
    """
    if jnp.ndim(losses) < 2 or not losses.shape[-2]:
        raise BadInput(f"losses: shape {jnp.shape(losses)} is not (*axes, looks, n) with at least 1 look")
    return jnp.sum(jnp.asarray(losses), axis=-2)
