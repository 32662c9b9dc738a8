"""Coloured digits whose training domains differ in P(x) too: in classes, in digits, or in shades of the colours."""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.data.coloured import LABEL_NOISE, ColouredBatch, Colouring, DrawnColouring, GreyDigits, colour
from mlrisk.data.sampling import permuted_index
from mlrisk.errors import BadInput, one_of
from mlrisk.types import RandomKey

Kind = Literal["class", "digit", "color"]
KINDS: tuple[Kind, ...] = ("class", "digit", "color")
CHANNELS = {"class": 2, "digit": 2, "color": 4}
"""Colours of a picture: with shades, each of the two colours has two channels."""
NOWHERE = -1
"""The domain of pictures that are left out."""


def groups(digits: Int[Array | np.ndarray, " n"], kind: Kind) -> Int[np.ndarray, " n"]:
    """The group of each digit that a shift makes more or less frequent: 0 or 1, and -1 for what is left out.

    ``class``: 0 for digits 5 to 9, 1 for 0 to 4. ``digit``: 0 and 5 are left out, 1, 2, 6, 7 are in group 0, and 3, 4,
    8, 9 in 1. ``color``: all are in group 0.

    Raises:
        BadInput: the kind is unknown.

    Source: Krueger et al. (2021), code (covariate shifts).
    """
    digits = np.asarray(digits)
    if kind not in KINDS:
        raise BadInput(one_of("kind", kind, KINDS))
    if kind == "class":
        return (digits < 5).astype(np.int32)
    if kind == "color":
        return np.zeros(len(digits), np.int32)
    return np.where(digits % 5 == 0, -1, (digits % 5 > 2).astype(int)).astype(np.int32)


def kept_domains(
    key: RandomKey, group: Int[Array, " n"], shares: Float[Array, " m"]
) -> tuple[Int[Array, " n"], Int[Array, " n"]]:
    """Random domains, each of which keeps a share of either group: exactly ``floor(q n_0)`` and ``floor((1 - q) n_1)``.

    Args:
        key: typed key.
        group: 0, 1, or -1 for pictures that no domain keeps.
        shares: q of each domain, in [0, 1]; may be traced.

    Returns:
        The domain of each picture before anything is left out, and the same with `NOWHERE` for what is.

    Source: Krueger et al. (2021), code: the first of a random order are kept, and nothing is drawn in their place.
    """
    count, many = group.shape[0], shares.shape[0]
    place = permuted_index(key, jnp.arange(count), count)
    domains = place % many
    cell = jnp.where(group < 0, 2 * many, 2 * domains + group)
    order = jnp.argsort(place)
    member = jax.nn.one_hot(cell[order], 2 * many, dtype=jnp.int32)
    before = jnp.cumsum(member, axis=0)
    rank = jnp.zeros(count, jnp.int32).at[order].set((before * member).sum(1) - 1)
    share = jnp.stack([shares, 1 - shares], axis=1).reshape(-1)
    limits = jnp.floor(share * before[-1].astype(share.dtype) + 1e-4).astype(jnp.int32)
    kept = (group >= 0) & (rank < jnp.append(limits, 0)[cell])
    return domains, jnp.where(kept, domains, NOWHERE)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["digits", "group", "colour_noise", "label_noise", "fixed_share"],
    meta_fields=["kind"],
)
@dataclasses.dataclass(frozen=True)
class ImbalancedSampler:
    """All examples of coloured digits at each step, in two domains whose P(x) differs by the lane's share.

    Domain 1 has the share p of group 0 and 1 - p of group 1, domain 2 the other way round; with ``color`` the shares
    are those of the two shades of either colour, and nothing is left out. A share of 0.5 is no shift, 0 a disjoint one.

    Args:
        digits: see `mlrisk.data.coloured.grey_digits`; those that say which digit each is.
        group: from `groups`.
        kind: what differs.
        colour_noise: (m,), one for each domain.
        label_noise: the same in all.
        fixed_share: the share of every domain, for test domains; None takes ``hyper.share`` and its complement.

    Raises:
        BadInput: there are other than 2 domains where shares differ.
    """

    digits: GreyDigits
    group: Int[Array, " n"]
    kind: Kind
    colour_noise: Float[Array, " m"]
    label_noise: Float[Array, ""] | float = LABEL_NOISE
    fixed_share: Float[Array, ""] | float | None = None

    def for_lane(self, key: RandomKey, hyper: Any) -> DrawnColouring:
        """The sampler of the lane with this key and ``hyper.share``."""
        return DrawnColouring(self(key, jnp.int32(0), hyper))

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Any, /) -> ColouredBatch:
        """The same batch at every step; pictures that are left out are in the domain `NOWHERE`."""
        del step
        split, paints, shades = prng.streams(key, "domains", "colouring", "shades")
        shares = self._shares(hyper)
        whole, kept = kept_domains(split, self.group, shares)
        labels, colours = colour(paints, self.digits.shapes, self.colour_noise[whole], self.label_noise)
        if self.kind == "color":
            first = jax.random.uniform(shades, colours.shape) < jnp.where(
                colours == 0, shares[whole], 1 - shares[whole]
            )
            return ColouredBatch(
                self.digits.pictures, Colouring(whole, labels, 2 * colours + (~first).astype(colours.dtype))
            )
        return ColouredBatch(self.digits.pictures, Colouring(kept, labels, colours))

    def _shares(self, hyper: Any) -> Float[Array, " m"]:
        if self.fixed_share is not None:
            return jnp.full(self.colour_noise.shape, self.fixed_share, jnp.float32)
        if self.colour_noise.shape[0] != 2:
            raise BadInput(f"colour_noise: {self.colour_noise.shape[0]} domains; shares that differ need 2")
        return jnp.stack([hyper.share, 1 - hyper.share]).astype(jnp.float32)
