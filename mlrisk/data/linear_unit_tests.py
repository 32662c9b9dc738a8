"""Six small linear problems that tell methods apart: invariant features, and spurious ones that a test shuffles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mlrisk import prng
from mlrisk.errors import BadInput, one_of
from mlrisk.types import RandomKey

EXAMPLES = ("1", "2", "3", "1s", "2s", "3s")
"""Causes and effects with heteroskedastic noise; cows and camels; a small invariant margin. With s: rotated inputs."""
SCALES = (0.1, 1.5, 2.0)
BACKGROUNDS = ((0.95, 0.3), (0.97, 0.5), (0.99, 0.7))
"""Of each domain: how often an animal is on its usual ground, and how often that ground's animal is a cow."""
NOISE = 0.1**0.5


class Tables(NamedTuple):
    """Examples of three domains: ``inputs`` (m, n, 2d), ``targets`` (m, n), numbers in example 1 and else 0 or 1."""

    inputs: Float[Array, "*stack m n k"]
    targets: Float[Array, "*stack m n"]


class UnitTest(NamedTuple):
    """One draw of a problem. In ``test`` and ``oracle`` the spurious features are shuffled within each domain."""

    train: Tables
    validation: Tables
    test: Tables
    oracle: Tables


class _Features(NamedTuple):
    invariant: Float[Array, "m n d"]
    spurious: Float[Array, "m n d"]
    targets: Float[Array, "m n"]


def is_regression(example: str) -> bool:
    """Whether errors are squared (example 1), not shares of wrong labels.

    Raises:
        BadInput: the example is none of `EXAMPLES`.
    """
    if example not in EXAMPLES:
        raise BadInput(one_of("example", example, EXAMPLES))
    return example[0] == "1"


def draw_unit_tests(key: RandomKey, count: int, dim: int = 5) -> UnitTest:
    """One draw of all six problems, from the same normal numbers; under vmap, repetitions.

    Args:
        key: typed key.
        count: n, examples of each of the three domains and of each split.
        dim: d, invariant features, and as many spurious ones.

    Returns:
        Tables with a leading axis of `EXAMPLES`.

    Raises:
        BadInput: a size is not positive.

    Source:
        Aubin et al. (2021), Linear unit-tests for invariance discovery, section 3, and its code for the weights of
        example 1 (normal, deviation 1 / d) and the noises.
    """
    if count < 2 or dim < 1:
        raise BadInput(f"count, dim: {count} and {dim} are not at least 2 and 1")
    normal = jax.random.normal(prng.stream(key, "weights"), (4 * dim + len(SCALES), 2 * dim))
    rotation = jnp.linalg.qr(normal[: 2 * dim])[0]
    weights = normal[2 * dim : 3 * dim, :dim] / dim, normal[3 * dim : 4 * dim, :dim] / dim

    def split(own: RandomKey, shuffled: Bool[Array, ""]) -> Tables:
        noise = jax.random.normal(own, (3, len(SCALES), count, dim))
        chance = jax.random.uniform(prng.stream(own, "chance"), (2, len(SCALES), count))
        found = (
            _heteroskedastic(noise, weights),
            _cows_and_camels(noise, chance[0]),
            _small_margin(noise, normal[4 * dim :, :dim]),
        )
        features: _Features = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
        order = jnp.where(shuffled, jnp.argsort(chance[1]), jnp.arange(count)[None])
        spurious = jnp.take_along_axis(features.spurious, order[None, :, :, None], axis=2)
        inputs = jnp.concatenate([features.invariant, spurious], axis=-1)
        return Tables(*(jnp.concatenate(pair) for pair in ((inputs, inputs @ rotation), (features.targets,) * 2)))

    keys, shuffled = jnp.stack(prng.streams(key, *UnitTest._fields)), jnp.asarray([False, False, True, True])
    each = jax.vmap(split)(keys, shuffled)
    parts = [Tables(each.inputs[place], each.targets[place]) for place in range(len(UnitTest._fields))]
    return UnitTest(*parts)


def _heteroskedastic(noise: Array, weights: tuple[Array, Array]) -> _Features:
    """``x ~ N(0, e^2)``, ``y ~ N(x W, e^2)``, ``z ~ N(y V, 1)``; the target is the sum of y."""
    scale = jnp.asarray(SCALES)[:, None, None]
    causes = scale * noise[0]
    target = causes @ weights[0] + scale * noise[1]
    return _Features(causes, target @ weights[1] + noise[2], target.sum(-1))


def _cows_and_camels(noise: Array, chance: Float[Array, "m n"]) -> _Features:
    """Animals at +-0.01 on grounds at +-1 that mostly go with them; the label is the sign of the animal's features."""
    usual, cows = jnp.asarray(BACKGROUNDS).T[:, :, None]
    # one uniform number decides both: below ``cows`` a cow, and within each part its ground
    animal = jnp.where(chance < cows, 1.0, -1.0)
    within = jnp.where(chance < cows, chance / cows, (chance - cows) / (1 - cows))
    ground = jnp.where(within < usual, animal, -animal)
    seen = (NOISE * noise[0] + animal[:, :, None]) / 100
    return _Features(seen, NOISE * noise[1] + ground[:, :, None], (seen.sum(-1) > 0).astype(seen.dtype))


def _small_margin(noise: Array, centres: Float[Array, "m d"]) -> _Features:
    """Classes at +-0.1, and at plus and minus a point of the domain's own, drawn from N(0, 1), all with noise 0.1."""
    labels = jnp.broadcast_to((jnp.arange(noise.shape[2]) % 2).astype(noise.dtype)[None], noise.shape[1:3])
    sign = 1 - 2 * labels[:, :, None]
    return _Features(0.1 * noise[0] + 0.1 * sign, 0.1 * noise[1] + sign * centres[:, None, :], labels)
