"""Linear structural equation models in several domains: causes, effects and hidden confounders of a target."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mlrisk import prng
from mlrisk.errors import BadInput
from mlrisk.types import RandomKey


class LinearSEM(NamedTuple):
    """Weights of ``x = h A + noise``, ``y = x B + h C + noise``, ``z = y D + h E + noise``, observed as ``[x, z] S``.

    All but ``scramble`` (2d, 2d), an orthogonal matrix, are (d, d). The target is the sum of y's entries.
    """

    hidden_to_causes: Float[Array, "d d"]
    causes_to_target: Float[Array, "d d"]
    hidden_to_target: Float[Array, "d d"]
    target_to_effects: Float[Array, "d d"]
    hidden_to_effects: Float[Array, "d d"]
    scramble: Float[Array, "two_d two_d"]


class Table(NamedTuple):
    """Examples of one domain: ``inputs`` (n, k) and ``targets`` (n,)."""

    inputs: Float[Array, "n k"]
    targets: Float[Array, " n"]


def draw_sem(
    key: RandomKey, dim: int = 5, *, confounded: bool = False, scrambled: bool = False, unit_weights: bool = True
) -> LinearSEM:
    """The weights of one model.

    Args:
        key: typed key.
        dim: d, causes and effects each.
        confounded: whether the hidden variable acts on causes, target and effects (P), or on causes alone, each on its
            own with weight 1 (F, where everything that matters is observed).
        scrambled: whether inputs are a random rotation of causes and effects (S) or these themselves (U).
        unit_weights: cause i acts on the target's entry i with weight 1, and that on effect i; otherwise weights are
            normal with deviation 0.1, between all.

    Raises:
        BadInput: ``dim`` is not positive.

    Source:
        Arjovsky et al. (2019), section 5.1; Krueger et al. (2021), section 4.2 and code. Unit weights are the former's,
        drawn ones the default of the latter.
    """
    if dim < 1:
        raise BadInput(f"dim: {dim} is not a positive number of causes")
    names = ("hidden to causes", "causes to target", "hidden to target", "target to effects", "hidden to effects")
    keys = prng.streams(key, *names)
    drawn = {name: jax.random.normal(k, (dim, dim)) / 10 for name, k in zip(names, keys, strict=True)}
    eye = jnp.eye(dim)
    if not confounded:
        drawn |= {names[0]: eye, names[2]: jnp.zeros((dim, dim)), names[4]: jnp.zeros((dim, dim))}
    if unit_weights:
        drawn |= {names[1]: eye, names[3]: eye}
    normal = jax.random.normal(prng.stream(key, "scramble"), (2 * dim, 2 * dim))
    scramble = jnp.linalg.qr(normal)[0] if scrambled else jnp.eye(2 * dim)
    return LinearSEM(*[drawn[name] for name in names], scramble=scramble)


def sample_sem(
    key: RandomKey, sem: LinearSEM, count: int, scale: Float[Array, ""] | float, *, noisy_target: bool
) -> Table:
    """Examples of one domain: the hidden variable and the causes' own noise have deviation ``scale``.

    Args:
        key: typed key.
        sem: the weights.
        count: n.
        scale: e of the domain, positive.
        noisy_target: the target's noise has deviation ``scale`` and the effects' 1 (E, heteroskedastic); otherwise the
            target's 1 and the effects' ``scale`` (O).

    Raises:
        BadInput: ``count`` is not positive.

    Source: Arjovsky et al. (2019), section 5.1; Krueger et al. (2021), section 4.2.
    """
    if count < 1:
        raise BadInput(f"count: {count} is not a positive number of examples")
    dim = sem.causes_to_target.shape[0]
    noise = jax.random.normal(key, (4, count, dim))
    scale = jnp.asarray(scale, noise.dtype)
    target_scale, effect_scale = (scale, jnp.ones_like(scale)) if noisy_target else (jnp.ones_like(scale), scale)
    hidden = scale * noise[0]
    causes = hidden @ sem.hidden_to_causes + scale * noise[1]
    target = causes @ sem.causes_to_target + hidden @ sem.hidden_to_target + target_scale * noise[2]
    effects = target @ sem.target_to_effects + hidden @ sem.hidden_to_effects + effect_scale * noise[3]
    return Table(jnp.concatenate([causes, effects], axis=1) @ sem.scramble, target.sum(1))


def causal_weights(sem: LinearSEM) -> Float[Array, " two_d"]:
    """The weights of causes and effects, in this order and not scrambled, that cause the target: effects have 0."""
    weights = sem.causes_to_target.sum(1)
    return jnp.concatenate([weights, jnp.zeros_like(weights)])


def unscrambled(sem: LinearSEM, weights: Float[Array, " two_d"]) -> Float[Array, " two_d"]:
    """Weights of the observed inputs as weights of causes and effects: ``S w``."""
    return sem.scramble @ weights


class WeightErrors(NamedTuple):
    """Mean squared errors of the weights of causes and of effects."""

    causal: Float[Array, ""]
    noncausal: Float[Array, ""]


def weight_errors(sem: LinearSEM, weights: Float[Array, " two_d"]) -> WeightErrors:
    """How far estimated weights of the observed inputs are from the causal ones, after unscrambling.

    Source: Arjovsky et al. (2019), section 5.1.

    Differs:
        The code of Krueger et al. (2021) does not unscramble, so its errors in scrambled settings mean something else.
    """
    squares = jnp.square(unscrambled(sem, weights) - causal_weights(sem))
    half = squares.shape[0] // 2
    return WeightErrors(squares[:half].mean(), squares[half:].mean())
