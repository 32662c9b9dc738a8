"""Examples dealt out to domains, each cut into a part to train on and a part held out, and batches across domains."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mlrisk import prng
from mlrisk.data.sampling import permuted_index
from mlrisk.errors import BadInput
from mlrisk.types import Examples, RandomKey

HOLDOUT = 0.2


class Rows(NamedTuple):
    """The rows of one part of each domain, padded by repetition to the longest, and how many there really are."""

    index: Int[Array, "domains longest"]
    sizes: Int[Array, " domains"]


class DomainRows(NamedTuple):
    """Where each domain's examples are: ``inside`` to train on, ``outside`` held out, disjoint."""

    inside: Rows
    outside: Rows


class Trial(NamedTuple):
    """What one trial draws: rows of each domain, and for every example its label and what its look depends on."""

    rows: DomainRows
    labels: Int[Array, " n"]
    looks: Int[Array, " n"]


@runtime_checkable
class DomainSource(Protocol):
    """Pictures that are held once, and what makes domains of them in each trial."""

    @property
    def pictures(self) -> Array:
        """(n, ...), shared by all trials."""
        ...

    def draw(self, key: RandomKey) -> Trial:
        """The domains of the trial with this key."""
        ...

    def render(self, pictures: Array, looks: Array) -> Array:
        """Inputs of the network from pictures (b, ...) and their looks (b,)."""
        ...


def interleaved_domains(key: RandomKey, count: int, num_domains: int, holdout: float = HOLDOUT) -> DomainRows:
    """Domain i gets the positions ``i, i + D, i + 2 D, ...`` of one random order of all examples.

    Args:
        key: typed key.
        count: examples.
        num_domains: D.
        holdout: share of each domain that is held out, rounded down.

    Raises:
        BadInput: fewer than 2 domains, or a domain's part is empty.

    Source: Gulrajani and Lopez-Paz (2021), DomainBed, code of the two MNIST data sets and of the training script.
    """
    if num_domains < 2:
        raise BadInput(f"domains: {num_domains} domains; at least 2 are needed, one to test on and one to train on")
    order = permuted_index(key, jnp.arange(count), count)
    return _divided([order[first::num_domains] for first in range(num_domains)], holdout)


def grouped_domains(key: RandomKey, sizes: Sequence[int], holdout: float = HOLDOUT) -> DomainRows:
    """Domains that lie one behind the other, each in a random order.

    Args:
        key: typed key.
        sizes: examples of each domain.
        holdout: see `interleaved_domains`.

    Raises:
        BadInput: fewer than 2 domains, or a domain's part is empty.
    """
    if len(sizes) < 2:
        raise BadInput(f"domains: {len(sizes)} domains; at least 2 are needed, one to test on and one to train on")
    if empty := [number for number, size in enumerate(sizes) if size < 1]:
        raise BadInput(f"domains: domain {empty[0]} of {len(sizes)} is empty; each needs examples")
    firsts = np.cumsum([0, *sizes[:-1]])
    keys = [prng.step_key(key, number) for number in range(len(sizes))]
    parts = zip(keys, firsts, sizes, strict=True)
    return _divided([int(first) + permuted_index(k, jnp.arange(size), size) for k, first, size in parts], holdout)


def _divided(orders: list[Int[Array, " _"]], holdout: float) -> DomainRows:
    if not 0 < holdout < 1:
        raise BadInput(f"holdout: {holdout} is not above 0 and below 1")
    held = [int(holdout * len(order)) for order in orders]
    if any(not 0 < size < len(order) for size, order in zip(held, orders, strict=True)):
        sizes = ", ".join(str(len(order)) for order in orders)
        raise BadInput(f"domains: {sizes} examples leave a part empty with {holdout:g} held out; each part needs one")
    outside = [order[:size] for order, size in zip(orders, held, strict=True)]
    return DomainRows(_stacked([order[size:] for order, size in zip(orders, held, strict=True)]), _stacked(outside))


def _stacked(parts: list[Int[Array, " _"]]) -> Rows:
    longest = max(len(part) for part in parts)
    padded = [jnp.tile(part, -(-longest // len(part)))[:longest] for part in parts]
    return Rows(jnp.stack(padded), jnp.asarray([len(part) for part in parts], jnp.int32))


def domain_of(rows: DomainRows, count: int) -> Int[Array, " n"]:
    """The domain of each of ``count`` examples, all of which are in ``rows``."""
    found = jnp.zeros(count, jnp.int32)
    for part in rows:
        found = found.at[part.index].set(jnp.arange(part.index.shape[0], dtype=jnp.int32)[:, None])
    return found


def take(source: DomainSource, trial: Trial, rows: Int[Array, "*batch"]) -> Examples:
    """The examples of the given rows as inputs of the network, with the axes of the rows in front."""
    flat = rows.reshape(-1)
    inputs = source.render(source.pictures[flat], trial.looks[flat])
    return Examples(inputs.reshape(*rows.shape, *inputs.shape[1:]), trial.labels[rows])


class DrawnDomainSampler(NamedTuple):
    """The sampler of one lane, whose trial has been drawn."""

    source: Any
    trial: Trial
    batch_size: int

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Any, /) -> Examples:
        """Inputs (m, batch_size, ...) and labels (m, batch_size) of the domains ``hyper["domains"]`` (m,)."""
        inside, domains = self.trial.rows.inside, hyper["domains"]
        share = jax.random.uniform(prng.step_key(key, step), (domains.shape[0], self.batch_size))
        sizes = inside.sizes[domains][:, None]
        places = jnp.minimum((share * sizes.astype(share.dtype)).astype(jnp.int32), sizes - 1)
        return take(self.source, self.trial, inside.index[domains[:, None], places])


@functools.partial(jax.tree_util.register_dataclass, data_fields=["source"], meta_fields=["batch_size"])
@dataclasses.dataclass(frozen=True)
class DomainSampler:
    """A batch of ``batch_size`` from the training part of each training domain, drawn with replacement.

    Args:
        source: pictures, and what makes domains of them.
        batch_size: examples of a domain in a step, at least 2.

    Raises:
        BadInput: the batch is smaller.
    """

    source: Any
    batch_size: int

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise BadInput(f"batch_size: {self.batch_size} is not at least 2, which estimates of variances need")

    def for_lane(self, key: RandomKey, hyper: Any) -> DrawnDomainSampler:
        """The sampler of the lane whose stream ``"data"`` is this key."""
        del hyper
        return DrawnDomainSampler(self.source, self.source.draw(prng.stream(key, "trial")), self.batch_size)

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Any, /) -> Examples:
        """The same batch as the sampler of the lane gives, drawn from scratch."""
        return self.for_lane(key, hyper)(key, step, hyper)


def lane_trial(source: DomainSource, lane_key: RandomKey) -> Trial:
    """The trial of a lane from its own key (``state.key``), as its sampler has drawn it."""
    return source.draw(prng.stream(prng.stream(lane_key, "data"), "trial"))


def scale_bytes(pictures: Array) -> Float[Array, "..."]:
    """Pictures in [0, 1], from bytes where they are held so."""
    return pictures.astype(jnp.float32) / 255 if pictures.dtype == jnp.uint8 else pictures
