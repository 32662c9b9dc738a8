"""Coloured digits: a shape that predicts the label, and a colour that predicts it better, but not everywhere."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.data.sampling import permuted_index
from mlrisk.errors import BadInput
from mlrisk.types import Examples, RandomKey, is_concrete

LABEL_NOISE = 0.25
CHANNELS = 2


class GreyDigits(NamedTuple):
    """What all domains and restarts share: flat ``pictures`` (n, pixels) and ``shapes`` (n,), 1 for digits 0 to 4.

    ``digits`` (n,) says which of the ten each is; None where it is not known.
    """

    pictures: Float[Array, "n pixels"]
    shapes: Int[Array, " n"]
    digits: Int[Array, " n"] | None = None


class Colouring(NamedTuple):
    """What a restart draws for each picture: its domain, its noisy label and its colour, each (n,) integers."""

    domains: Int[Array, " n"]
    labels: Int[Array, " n"]
    colours: Int[Array, " n"]


class ColouredBatch(NamedTuple):
    """All examples of a restart: the pictures that it shares with the others, and its own colouring."""

    pictures: Float[Array, "n pixels"]
    colouring: Colouring


def grey_digits(examples: Examples, stride: int = 2) -> GreyDigits:
    """Every second row and column of each picture, flat, and whether the digit is below 5.

    Args:
        examples: inputs (n, side, side, 1) in [0, 1], labels digits (n,).
        stride: keep every so many rows and columns; there is no averaging.

    Raises:
        BadInput: the pictures have another shape, there are none, or only digits of one class.

    Source: Arjovsky et al. (2019), code of the coloured MNIST experiment.
    """
    inputs, labels = np.asarray(examples.inputs), np.asarray(examples.labels)
    if inputs.ndim != 4 or inputs.shape[-1] != 1 or not len(inputs):
        raise BadInput(f"inputs: shape {inputs.shape} is not (n, side, side, 1) with at least one picture")
    shapes = (labels < 5).astype(np.int32)
    if len(np.unique(shapes)) < 2:
        raise BadInput("labels: all digits are of one class; some below 5 and some from 5 are needed")
    small = inputs[:, ::stride, ::stride, 0].reshape(len(inputs), -1)
    return GreyDigits(jnp.asarray(small, jnp.float32), jnp.asarray(shapes), jnp.asarray(labels, jnp.int32))


def random_domains(key: RandomKey, count: int, num_domains: int) -> Int[Array, " n"]:
    """Which domain each of ``count`` pictures is in: every so manieth of a random order, so sizes differ by 1 at most.

    Raises:
        BadInput: fewer than 1 domain, or fewer pictures than domains.
    """
    if not 1 <= num_domains <= count:
        raise BadInput(f"num_domains: {num_domains} is not from 1 to {count}, the number of pictures")
    return permuted_index(key, jnp.arange(count), count) % num_domains


def colour(
    key: RandomKey,
    shapes: Int[Array, " n"],
    colour_noise: Float[Array, "*n"] | float,
    label_noise: Float[Array, ""] | float = LABEL_NOISE,
) -> tuple[Int[Array, " n"], Int[Array, " n"]]:
    """Noisy labels ``y = shape xor Bernoulli(q)`` and colours ``c = y xor Bernoulli(e)``.

    Args:
        key: typed key.
        shapes: 0 or 1.
        colour_noise: e, one number or one for each picture; may be traced.
        label_noise: q.

    Returns:
        Labels and colours, integers (n,).

    Raises:
        BadInput: a concrete noise is outside [0, 1].

    Source: Arjovsky et al. (2019), section 5.2; Krueger et al. (2021), section 4.1 (thesis 5.4.1).
    """
    for name, noise in (("colour_noise", colour_noise), ("label_noise", label_noise)):
        require_probability(name, noise)
    label_key, colour_key = prng.streams(key, "label noise", "colour noise")
    labels = shapes ^ (jax.random.uniform(label_key, shapes.shape) < label_noise).astype(shapes.dtype)
    colours = labels ^ (jax.random.uniform(colour_key, shapes.shape) < colour_noise).astype(shapes.dtype)
    return labels, colours


def paint(
    pictures: Float[Array, "n pixels"], colours: Int[Array, " n"], channels: int = CHANNELS
) -> Float[Array, "n channels_pixels"]:
    """Pictures of several channels, flat and channel by channel: zeros but in the channel of the picture's colour."""
    each = [pictures * (colours == c)[:, None].astype(pictures.dtype) for c in range(channels)]
    return jnp.concatenate(each, axis=1)


def require_probability(name: str, value: Any) -> None:
    """Refuse concrete numbers outside [0, 1].

    Raises:
        BadInput: one is.
    """
    if is_concrete(value) and not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1)):
        raise BadInput(f"{name}: {value} is not in [0, 1]")


class DrawnColouring(NamedTuple):
    """The sampler of one lane: the same batch at every step, drawn before the first."""

    batch: ColouredBatch

    def __call__(self, key: RandomKey, step: Int[Array, ""], /) -> ColouredBatch:
        """What was drawn."""
        del key, step
        return self.batch


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["digits", "colour_noise", "label_noise"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class ColouredSampler:
    """The whole training set at each step, split into domains and coloured anew by each lane's key.

    The pictures are held once, however many lanes there are; a lane's own draws are three integers a picture.

    Args:
        digits: see `grey_digits`.
        colour_noise: (m,), one for each domain.
        label_noise: the same in all.

    Raises:
        BadInput: fewer than 2 domains, or a concrete noise is outside [0, 1].
    """

    digits: GreyDigits
    colour_noise: Float[Array, " m"]
    label_noise: Float[Array, ""] | float = LABEL_NOISE

    def __post_init__(self) -> None:
        noise: Any = self.colour_noise
        if isinstance(noise, (jax.Array, np.ndarray)) and is_concrete(noise):
            if noise.ndim != 1 or len(noise) < 2:
                raise BadInput(f"colour_noise: shape {noise.shape} is not (m,) with at least 2 domains")
            require_probability("colour_noise", noise)

    def for_lane(self, key: RandomKey, hyper: Any) -> DrawnColouring:
        """The sampler of the lane with this key."""
        del hyper
        return DrawnColouring(self(key, jnp.int32(0)))

    def __call__(self, key: RandomKey, step: Int[Array, ""], /) -> ColouredBatch:
        """The same batch at every step."""
        del step
        split, paints = prng.streams(key, "domains", "colouring")
        domains = random_domains(split, self.digits.shapes.shape[0], self.colour_noise.shape[0])
        labels, colours = colour(paints, self.digits.shapes, self.colour_noise[domains], self.label_noise)
        return ColouredBatch(self.digits.pictures, Colouring(domains, labels, colours))
