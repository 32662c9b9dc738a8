"""Lanes that train on different domains: all held once, padded to one size, and each lane's own taken out of them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mlrisk.errors import BadInput
from mlrisk.types import Examples, RandomKey


class PaddedDomains(NamedTuple):
    """Stacked domains: ``inputs`` (m, n, ...), ``labels`` (m, n), and which rows are ``used`` (m, n): the first."""

    inputs: Float[Array, "m n ..."]
    labels: Int[Array, "m n"]
    used: Bool[Array, "m n"]


class DomainBatch(NamedTuple):
    """The rows of a lane's domains, one below the other; rows that are not used have the number of no domain."""

    inputs: Float[Array, "n ..."]
    labels: Int[Array, " n"]
    domains: Int[Array, " n"]


class Chosen(NamedTuple):
    """A lane's part of its hyper: which domains (k,), and whether their labels are shuffled within each."""

    domains: Int[Array, "... k"]
    shuffled: Bool[Array, "..."]


def padded_domains(parts: Sequence[Examples]) -> PaddedDomains:
    """Domains of different sizes, stacked; short ones are filled up with zeros that are not used.

    Args:
        parts: examples of each domain, inputs of one shape.

    Raises:
        BadInput: no domains, an empty one, or inputs that differ in shape.
    """
    sizes = [len(part.labels) for part in parts]
    if not sizes or min(sizes) < 1 or len({part.inputs.shape[1:] for part in parts}) != 1:
        raise BadInput(f"parts: domains of {sizes} examples; each needs some, with inputs of one shape")
    most = max(sizes)

    def filled(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return np.concatenate([leaf, np.zeros((most - len(leaf), *leaf.shape[1:]), leaf.dtype)])

    inputs, labels = (np.stack([filled(leaf) for leaf in leaves]) for leaves in zip(*parts, strict=True))
    used = np.arange(most)[None] < np.asarray(sizes)[:, None]
    return PaddedDomains(jnp.asarray(inputs), jnp.asarray(labels), jnp.asarray(used))


def held_out_rows(
    draw: np.random.Generator, part: Examples, held_out: int, most: int | None = None
) -> tuple[Examples, Examples]:
    """A random split of a domain: rows to train on, at most ``most``, and ``held_out`` rows to select by.

    Raises:
        BadInput: fewer than ``most`` rows are left to train on, or none.
    """
    order = draw.permutation(len(part.labels))
    if (left := max(len(order) - held_out, 0)) < (least := most or 1):
        raise BadInput(f"held_out: {held_out} of {len(order)} rows leave {left} to train on, fewer than {least}")
    parts = order[held_out:][:most], order[:held_out]
    first, second = (Examples(part.inputs[rows], part.labels[rows]) for rows in parts)
    return first, second


def shuffled_labels(key: RandomKey, labels: Int[Array, " n"], used: Bool[Array, " n"]) -> Int[Array, " n"]:
    """The labels of a domain in random order, so that they say nothing of the inputs; rows not used keep theirs."""
    order = jnp.argsort(jnp.where(used, jax.random.uniform(key, used.shape), 2.0))
    return labels[order]


class _Fixed(NamedTuple):
    """The sampler of one lane: the same batch at every step."""

    batch: DomainBatch

    def __call__(self, key: RandomKey, step: Int[Array, ""], /) -> DomainBatch:
        del key, step
        return self.batch


@functools.partial(jax.tree_util.register_dataclass, data_fields=["rows"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class ChosenDomainsSampler:
    """All rows of the domains that a lane's hyper names, at every step; taken out once a lane.

    Args:
        rows: all domains.
    """

    rows: PaddedDomains

    def for_lane(self, key: RandomKey, hyper: Any) -> _Fixed:
        """The sampler of the lane with this key; ``hyper.chosen`` is a `Chosen`."""
        return _Fixed(self(key, jnp.int32(0), hyper))

    def __call__(self, key: RandomKey, step: Int[Array, ""], hyper: Any, /) -> DomainBatch:
        """The same batch at every step."""
        del step
        inputs, labels, used = jax.tree.map(lambda leaf: leaf[hyper.chosen.domains], self.rows)
        count, size = used.shape
        for domain in hyper.chosen.domains:  # lanes of one seed that differ in their domains draw different shuffles
            key = jax.random.fold_in(key, domain)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))
        labels = jnp.where(hyper.chosen.shuffled, jax.vmap(shuffled_labels)(keys, labels, used), labels)
        domains = jnp.where(used, jnp.arange(count)[:, None], count)
        return DomainBatch(*(leaf.reshape(count * size, *leaf.shape[2:]) for leaf in (inputs, labels, domains)))
