"""Coloured digits as a benchmark has them: pictures of two channels in domains of one colour noise each."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.data.coloured import CHANNELS, colour, require_probability
from mlrisk.data.domain_splits import HOLDOUT, Trial, domain_of, interleaved_domains, scale_bytes
from mlrisk.errors import BadInput
from mlrisk.types import RandomKey

COLOUR_NOISE = {"+90%": 0.1, "+80%": 0.2, "-90%": 0.9}
"""Domains by name: how colour and label go together, and the share of colours that disagree with their label."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["pictures", "shapes", "colour_noise"],
    meta_fields=["num_domains", "holdout"],
)
@dataclasses.dataclass(frozen=True)
class ColouredDomains:
    """Digits below 5 against the others, 25 % of the labels wrong, with colours. Make it with `coloured_domains`."""

    pictures: Float[Array, "n h w"]
    shapes: Int[Array, " n"]
    colour_noise: Float[Array, " domains"]
    num_domains: int
    holdout: float

    def draw(self, key: RandomKey) -> Trial:
        """Domains, noisy labels and colours."""
        split, paints = prng.streams(key, "domains", "colouring")
        count = self.shapes.shape[0]
        rows = interleaved_domains(split, count, self.num_domains, self.holdout)
        labels, colours = colour(paints, self.shapes, self.colour_noise[domain_of(rows, count)])
        return Trial(rows, labels, colours)

    def render(self, pictures: Array, looks: Array) -> Array:
        """Pictures of two channels, zero but in the channel of their colour."""
        channel = (looks[:, None] == jnp.arange(CHANNELS)[None, :]).astype(jnp.float32)
        return scale_bytes(pictures)[..., None] * channel[:, None, None, :]


def coloured_domains(
    pictures: Float[Array, "n h w"],
    digits: Int[Array, " n"],
    colour_noise: Sequence[float] = tuple(COLOUR_NOISE.values()),
    holdout: float = HOLDOUT,
) -> ColouredDomains:
    """Digits dealt out to one domain a colour noise.

    Args:
        pictures: in [0, 1].
        digits: from 0 to 9.
        colour_noise: share of colours that disagree with the label, at least 2 of them.
        holdout: see `mlrisk.data.domain_splits.interleaved_domains`.

    Raises:
        BadInput: fewer than 2 domains, a noise outside [0, 1], or digits of a single class.

    Source:
        Gulrajani and Lopez-Paz (2021), DomainBed, ColoredMNIST: 28 x 28, two classes, noise 0.1, 0.2 and 0.9.

    Differs:
        From Arjovsky et al. (2019), whose digits have 14 x 14 pixels and whose test domain has pictures of its own.
    """
    if len(colour_noise) < 2:
        raise BadInput(f"colour_noise: {len(colour_noise)} domains; at least 2 are needed")
    require_probability("colour_noise", np.asarray(colour_noise))
    shapes = (np.asarray(digits) < 5).astype(np.int32)
    if len(np.unique(shapes)) < 2:
        raise BadInput("digits: all are of a single class; some below 5 and some from 5 are needed")
    noise = jnp.asarray(colour_noise, jnp.float32)
    return ColouredDomains(pictures, jnp.asarray(shapes), noise, len(colour_noise), holdout)
